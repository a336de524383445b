//! Faults of the link between nodes: delay, dropped connections, a partition, half-open
//! connections, and a peer that is frozen.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{cast::Cast, check, process::PATIENCE, report::Row};

/// Records published at once.
const RECORDS: usize = 20;

/// Every piece of at most 16 KiB arrives late.
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

/// One piece in six ends its connection, during handshakes as well.
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

/// For a while no connection gets through; then the partition is healed.
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

/// A connection that is dead and reports nothing, as after a firewall has forgotten it. The next
/// unanswered ping detects it, half a minute later at most.
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

/// A frozen peer does not delay the others, and receives what it missed once it is thawed.
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

/// Waits until exactly `expected` decisions are without an answer: those for the peer that is away.
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
