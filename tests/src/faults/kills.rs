//! `kill -9` while a frame is on its way, at chosen moments and at arbitrary ones.
//!
//! A moment is brought about, not hoped for: the proxy holds back the bytes that would end it, so
//! that the state in which a process dies is known.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use portcullis_admin_api::v1::act::PublishedView;

use super::{cast::Cast, check, process::PATIENCE, proxy::Flow, report::Row, shim::Field};

/// Progress of a frame at the time of the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The connection is being made.
    Connecting,
    /// A part of the frame has arrived.
    FrameCut,
    /// The whole frame has arrived at the receiver's host, and nothing of it is committed.
    FrameSent,
    /// The receiver has committed it; its receipt is on the way.
    Committed,
    /// The receipt has arrived at the sender's host.
    Receipted,
    /// Any state; the kill comes this many milliseconds after publishing began.
    After(u64),
}

/// The process that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The node that sends the frame.
    Sender,
    /// The node that receives it.
    Receiver,
}

/// Records in the frame of a kill.
const RECORDS: usize = 6;

/// Lower bound of the size of a sealed record, in bytes.
const LEAST_BYTES: u64 = 400;

/// Kills a process `kills` times, alternating between sender and receiver and cycling through the
/// moments.
pub async fn run(binary: &Path, members: usize, kills: usize) -> Row {
    let mut cast = Cast::start(binary, members).await;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    let mut catch_up = Vec::with_capacity(kills);
    for n in 0..kills {
        let victim = [Victim::Sender, Victim::Receiver][n % 2];
        let moment = moment(n);
        kill(&mut cast, moment, victim).await;
        catch_up.push(recover(&mut cast, victim).await);
        *states.entry(label(moment, victim)).or_default() += 1;
        cast.warm().await;
    }
    let verdict = check::judge(cast).await;
    Row {
        states,
        ..Row::new("kill -9, a frame unreceipted", &catch_up, verdict)
    }
}

/// Kills the sender `kills` times while it carries out an act, at moments spread over the commits of
/// a slow disk, and sends the same act again. Whatever was done of it before, its records are there
/// once.
pub async fn acts(binary: &Path, kills: usize) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let mut catch_up = Vec::with_capacity(kills);
    let mut done_before = 0;
    for n in 0..kills {
        let (statement, body) = cast.load.signed(RECORDS);
        let (began, end) = (Instant::now(), cast.sender.log_end().await);
        cast.sender.shim.write(Field::SyncDelayUs, 30_000);
        let dies = Duration::from_millis((n as u64 * 29) % 290);
        let client = cast.sender.process.client.clone();
        tokio::select! {
            _ = client.act::<PublishedView>(&statement, body.clone()) => {
                tokio::time::sleep(dies.saturating_sub(began.elapsed())).await;
            }
            () = tokio::time::sleep(dies) => {}
        }
        cast.sender.process.kill();
        cast.sender.shim.write(Field::SyncDelayUs, 0);
        let begun = Instant::now();
        cast.sender.process.up().await;
        done_before += usize::from(cast.sender.log_end().await > end);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = client.act::<PublishedView>(&statement, body.clone()).await;
            answers.push(answer.unwrap().records);
        }
        assert_eq!(answers[0], answers[1]);
        cast.load.acknowledged.extend(answers.remove(0));
        cast.arrived().await;
        let ledger = cast.ledger().await;
        assert_eq!(ledger.own, cast.load.acknowledged.len() as u64, "{n}");
        catch_up.push(begun.elapsed());
    }
    let verdict = check::judge(cast).await;
    let states = [
        ("the act was done when the sender died", done_before),
        ("nothing of the act was done", kills - done_before),
    ];
    Row {
        states: states.map(|(state, n)| (state.to_owned(), n)).into(),
        ..Row::new(
            "kill -9 while an act is carried out, sent again",
            &catch_up,
            verdict,
        )
    }
}

/// Returns the moment of the `n`th kill. Kills of the kind [`Moment::After`] are spread over 60 ms.
fn moment(n: usize) -> Moment {
    let turn = n / 2;
    match turn % 6 {
        0 => Moment::Committed,
        1 => Moment::FrameSent,
        2 => Moment::Receipted,
        3 => Moment::After((turn as u64 / 6 * 7) % 60),
        4 => Moment::FrameCut,
        _ => Moment::Connecting,
    }
}

fn label(moment: Moment, victim: Victim) -> String {
    let state = match moment {
        Moment::Connecting => "connecting",
        Moment::FrameCut => "frame cut in the middle",
        Moment::FrameSent => "frame sent, not committed",
        Moment::Committed => "committed, receipt not delivered",
        Moment::Receipted => "receipt delivered",
        Moment::After(_) => "any moment within 60 ms of publishing",
    };
    let who = match victim {
        Victim::Sender => "sender",
        Victim::Receiver => "receiver",
    };
    format!("{state}, {who} killed")
}

async fn kill(cast: &mut Cast, moment: Moment, victim: Victim) {
    match moment {
        Moment::Connecting => connecting(cast).await,
        Moment::FrameCut => frame_cut(cast).await,
        Moment::FrameSent => frame_sent(cast).await,
        Moment::Committed => committed(cast).await,
        Moment::Receipted => receipted(cast).await,
        Moment::After(ms) => {
            let dies = tokio::time::sleep(Duration::from_millis(ms));
            tokio::select! {
                // After publishing ends, the remaining time belongs to the frame.
                published = cast.load.publish(RECORDS) => published.unwrap(),
                () = dies => {}
            }
        }
    }
    if matches!(moment, Moment::FrameSent | Moment::Committed) {
        let ledger = cast.ledger().await;
        assert!(ledger.open >= RECORDS as u64, "nothing is open: {ledger:?}");
    }
    match victim {
        Victim::Sender => {
            cast.sender.process.kill();
            if moment == Moment::FrameSent {
                cast.receiver().process.thaw();
            }
        }
        Victim::Receiver => cast.receiver_mut().process.kill(),
    }
}

/// Heals the network, starts the killed process again and returns the time until everything was
/// receipted.
async fn recover(cast: &mut Cast, victim: Victim) -> Duration {
    cast.receiver().proxy.heal();
    let begun = Instant::now();
    match victim {
        Victim::Sender => cast.sender.process.up().await,
        Victim::Receiver => cast.receiver_mut().process.up().await,
    }
    cast.arrived().await;
    begun.elapsed()
}

async fn connecting(cast: &mut Cast) {
    let proxy = &cast.receiver().proxy;
    let seen = proxy.connections();
    proxy.set(|rules| rules.up = Flow::Hold);
    proxy.cut();
    cast.load.publish(RECORDS).await.unwrap();
    let proxy = &cast.receiver().proxy;
    until(|| proxy.connections() > seen && proxy.came_up() > proxy.went_up()).await;
}

async fn frame_cut(cast: &mut Cast) {
    let proxy = &cast.receiver().proxy;
    let stop = proxy.went_up() + LEAST_BYTES;
    proxy.set(|rules| rules.up = Flow::Until(stop));
    cast.load.publish(RECORDS).await.unwrap();
    let proxy = &cast.receiver().proxy;
    until(|| proxy.went_up() >= stop && proxy.came_up() > stop).await;
}

async fn frame_sent(cast: &mut Cast) {
    let receiver = cast.receiver();
    receiver.process.freeze();
    let whole = receiver.proxy.went_up() + LEAST_BYTES * RECORDS as u64;
    cast.load.publish(RECORDS).await.unwrap();
    until(|| cast.receiver().proxy.went_up() >= whole).await;
}

async fn committed(cast: &mut Cast) {
    let before = cast.receiver().log_end().await;
    cast.receiver().proxy.set(|rules| rules.down = Flow::Hold);
    cast.load.publish(RECORDS).await.unwrap();
    let begun = Instant::now();
    while cast.receiver().log_end().await < before + RECORDS as u64 {
        assert!(begun.elapsed() < PATIENCE, "nothing is committed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn receipted(cast: &mut Cast) {
    let before = cast.receiver().proxy.went_down();
    committed(cast).await;
    let proxy = &cast.receiver().proxy;
    until(|| proxy.came_down() > before).await;
    proxy.heal();
    until(|| proxy.went_down() > before).await;
}

async fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "the moment does not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
