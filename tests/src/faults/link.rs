//! What happens between nodes: delay, connections that fall, a partition, half-open connections,
//! and a peer that is frozen.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{cast::Cast, check, process::PATIENCE, report::Row};

/// Records published at once.
const RECORDS: usize = 20;

/// Every piece of 16 KiB or less comes late.
pub async fn slow(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let delay = Duration::from_millis(80);
    cast.receiver().proxy.set(|rules| rules.delay = delay);
    for _ in 0..4 {
        cast.load.publish(RECORDS).await.unwrap();
    }
    let arrived = cast.arrived().await;
    Row::new(
        "link slow: 80 ms a piece",
        &[arrived],
        check::judge(cast).await,
    )
}

/// Connections fall at one piece in six, handshakes too.
pub async fn falling(binary: &Path, rounds: usize) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let before = cast.receiver().proxy.connections();
    cast.receiver().proxy.set(|rules| rules.cut_one_in = 6);
    for _ in 0..rounds {
        cast.load.publish(RECORDS).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cast.receiver().proxy.heal();
    let arrived = cast.arrived().await;
    assert!(cast.receiver().proxy.connections() > before, "nothing fell");
    Row::new(
        "link loses connections: one piece in six",
        &[arrived],
        check::judge(cast).await,
    )
}

/// Nobody gets through for a while, then everybody.
pub async fn partition(binary: &Path, rounds: usize) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let mut catch_up = Vec::new();
    for _ in 0..rounds {
        let proxy = &cast.receiver().proxy;
        proxy.set(|rules| rules.open = false);
        proxy.cut();
        cast.load.publish(RECORDS).await.unwrap();
        still_open(&cast, RECORDS).await;
        cast.receiver().proxy.heal();
        catch_up.push(cast.arrived().await);
    }
    Row::new("partition, healed", &catch_up, check::judge(cast).await)
}

/// A connection that is dead and does not say so, as after a firewall forgot it: the next ping
/// that is not answered finds out, half a minute later at most.
pub async fn half_open(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    cast.receiver().proxy.forget();
    cast.load.publish(RECORDS).await.unwrap();
    let arrived = cast.arrived().await;
    Row::new(
        "half-open connections",
        &[arrived],
        check::judge(cast).await,
    )
}

/// A frozen peer delays nobody else, and gets what it missed.
pub async fn frozen(binary: &Path, rounds: usize) -> Row {
    let mut cast = Cast::start(binary, 3).await;
    let mut catch_up = Vec::new();
    for _ in 0..rounds {
        cast.receiver().process.freeze();
        cast.load.publish(RECORDS).await.unwrap();
        // The other receiver has everything, and the frozen one nothing.
        still_open(&cast, RECORDS).await;
        cast.receiver().process.thaw();
        catch_up.push(cast.arrived().await);
    }
    Row::new(
        "peer frozen by SIGSTOP",
        &catch_up,
        check::judge(cast).await,
    )
}

/// Waits until exactly so many decisions are without an answer: those of the peer that is away.
async fn still_open(cast: &Cast, expected: usize) {
    let begun = Instant::now();
    loop {
        let ledger = cast.ledger().await;
        let decided = ledger.own * cast.receivers.len() as u64;
        if ledger.open == expected as u64 && ledger.rows == decided {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{ledger:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
