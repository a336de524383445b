//! A wall clock that jumps forward and back, at the sender and at the receiver.

use std::path::Path;

use portcullis_admin_api::v1::status::StatusView;

use super::{cast::Cast, check, report::Row, shim::Field};

/// Ten minutes.
const JUMP_MS: i64 = 600_000;

/// Records published after each jump.
const RECORDS: usize = 5;

/// Jumps of ten minutes. At the sender nothing is published until an administrator confirms the
/// clock; records on their way still arrive, and so do those published afterwards.
pub async fn jumps(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let mut catch_up = Vec::new();
    for jump in [JUMP_MS, 0, -JUMP_MS, 0] {
        cast.sender.shim.write(Field::ClockMs, jump);
        cast.load.clock_ms = jump;
        let refused = cast.load.publish(1).await.unwrap_err().to_string();
        assert!(refused.contains("the clock was set"), "{refused}");
        cast.load.confirm_clock().await;
        cast.load.publish(RECORDS).await.unwrap();
        catch_up.push(cast.arrived().await);
    }
    // A record made by a clock that is behind is merely old. A record made by a clock that is ahead
    // waits for the tolerance at most, so the receiver's clock goes back by less than that. Nobody
    // confirms the receiver's clock: receipt goes on without it.
    for jump in [JUMP_MS, 0, -JUMP_MS + 60_000, 0] {
        cast.receiver().shim.write(Field::ClockMs, jump);
        cast.load.publish(RECORDS).await.unwrap();
        catch_up.push(cast.arrived().await);
    }
    Row::new(
        "clock jumps by 10 minutes",
        &catch_up,
        check::judge(cast).await,
    )
}

/// A clock that was ahead while a peer was away and is then put right. Retries do not wait until
/// the clock reaches the earlier, later time again.
pub async fn put_right(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    cast.sender.shim.write(Field::ClockMs, JUMP_MS);
    cast.load.clock_ms = JUMP_MS;
    cast.load.confirm_clock().await;
    let proxy = &cast.receiver().proxy;
    proxy.set(|rules| rules.open = false);
    proxy.cut();
    cast.load.publish(RECORDS).await.unwrap();
    failed(&cast).await;
    cast.sender.shim.write(Field::ClockMs, 0);
    cast.load.clock_ms = 0;
    cast.receiver().proxy.heal();
    let arrived = cast.arrived().await;
    Row::new(
        "clock put right while a peer is away",
        &[arrived],
        check::judge(cast).await,
    )
}

/// Steps of the sender's clock both ways, each confirmed. After each a new epoch of the register,
/// which the receiver puts in force, reaches the sender within a bounded real time. (An epoch from
/// more than ten minutes ahead is refused, so the clock goes back by less.)
pub async fn epochs(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let mut took = Vec::new();
    for jump in [6 * JUMP_MS, 0, -JUMP_MS + 60_000, 0] {
        cast.sender.shim.write(Field::ClockMs, jump);
        cast.load.clock_ms = jump;
        cast.load.confirm_clock().await;
        // The first is learnt under the step, the second after whatever was planned by it.
        for _ in 0..2 {
            let epoch = cast.next_epoch().await;
            took.push(learned(&cast, epoch).await);
        }
    }
    cast.load.publish(1).await.unwrap();
    took.push(cast.arrived().await);
    Row::new(
        "epochs after steps of the clock",
        &took,
        check::judge(cast).await,
    )
}

/// Waits until the sender has an epoch in force, and returns how long that took.
async fn learned(cast: &Cast, epoch: u64) -> std::time::Duration {
    let begun = std::time::Instant::now();
    loop {
        let client = &cast.sender.process.client;
        let status: StatusView = client.get("/v1/status").await.unwrap();
        if status.register_epoch == epoch {
            return begun.elapsed();
        }
        assert!(
            begun.elapsed() < super::process::PATIENCE,
            "epoch {epoch} does not arrive: {}",
            cast.sender.process.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until the sender has failed to deliver.
async fn failed(cast: &Cast) {
    let begun = std::time::Instant::now();
    while !cast.sender.process.log().contains("was not receipted") {
        assert!(begun.elapsed() < super::process::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
