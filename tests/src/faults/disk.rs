//! A disk that is full, read-only, slow or failing, at the receiver and at the sender.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use portcullis_home::Home;

use super::{
    cast::{Actor, Cast},
    check,
    load::Load,
    process::PATIENCE,
    report::Row,
    shim::{EIO, ENOSPC, Field},
};
use crate::federation::accept_settings;

/// Records published while a disk misbehaves.
const RECORDS: usize = 20;

/// Bytes that a disk still accepts before it is full or broken. The limit falls within a
/// transaction.
const ROOM: i64 = 6_000;

/// A full disk refuses frames for now and loses nothing. No node has to be restarted.
pub async fn full(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    fill(cast.receiver());
    cast.load.publish(RECORDS).await.unwrap();
    meddled(cast.receiver()).await;
    cast.receiver().shim.heal();
    let first = cast.arrived().await;
    fill(&cast.sender);
    let refused = cast.load.publish(RECORDS).await;
    assert!(refused.is_err(), "published on a full disk");
    cast.sender.shim.heal();
    cast.load.publish(RECORDS).await.unwrap();
    let second = cast.arrived().await;
    Row::new("disk full", &[first, second], check::judge(cast).await)
}

fn fill(actor: &Actor) {
    actor.shim.write(Field::WriteLimit, ROOM);
    actor.shim.write(Field::WriteErrno, ENOSPC);
}

/// Waits until the shim has interfered with a call.
async fn meddled(actor: &Actor) {
    let begun = Instant::now();
    while actor.shim.read(Field::Faults) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the disk is not asked");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A slow disk delays receipts and has no other effect.
pub async fn slow(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    for actor in [&cast.sender, cast.receiver()] {
        actor.shim.write(Field::SyncDelayUs, 40_000);
    }
    for _ in 0..4 {
        cast.load.publish(RECORDS).await.unwrap();
    }
    let slow = cast.arrived().await;
    meddled(cast.receiver()).await;
    Row::new(
        "disk slow: 40 ms more for each sync",
        &[slow],
        check::judge(cast).await,
    )
}

/// A sync or a write that fails ends the process. After a restart it continues from what was
/// durable.
pub async fn failing(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let mut catch_up = Vec::new();
    for field in [Field::SyncErrno, Field::WriteErrno] {
        cast.receiver().shim.write(field, EIO);
        cast.load.publish(RECORDS).await.unwrap();
        catch_up.push(replaced(&mut cast, End::Receiver).await);
        cast.sender.shim.write(field, EIO);
        let published = cast.load.publish(RECORDS).await;
        assert!(published.is_err(), "acknowledged by a broken disk");
        catch_up.push(replaced(&mut cast, End::Sender).await);
    }
    Row::new(
        "disk fails: EIO at a sync, at a write",
        &catch_up,
        check::judge(cast).await,
    )
}

#[derive(Clone, Copy)]
enum End {
    Sender,
    Receiver,
}

/// Waits until the process with the broken disk has ended itself, repairs the disk and starts the
/// process again, as a supervisor would. Returns the time from the restart until everything has
/// arrived.
async fn replaced(cast: &mut Cast, end: End) -> Duration {
    let actor = match end {
        End::Sender => &mut cast.sender,
        End::Receiver => cast.receiver_mut(),
    };
    let status = actor.process.wait().await;
    assert!(!status.success(), "{status}");
    actor.shim.heal();
    let begun = Instant::now();
    actor.process.up().await;
    cast.arrived().await;
    begun.elapsed()
}

/// A file system of its own under a node's `data/`; mounting it takes root.
struct Mounted(PathBuf);

impl Mounted {
    /// Moves the contents of `data` onto a new file system of `kib` KiB.
    fn over(data: &Path, kib: u32) -> Self {
        let aside = data.with_extension("aside");
        std::fs::rename(data, &aside).unwrap();
        std::fs::create_dir(data).unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kib}k,mode=700"),
                "tmpfs",
            ],
            data,
        );
        for entry in std::fs::read_dir(&aside).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, data.join(from.file_name().unwrap())).unwrap();
        }
        Self(data.to_owned())
    }

    fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}")], &self.0);
    }

    /// Moves the contents back to where they were and removes the file system.
    fn back(self) {
        let aside = self.0.with_extension("aside");
        for entry in std::fs::read_dir(&self.0).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, aside.join(from.file_name().unwrap())).unwrap();
        }
        let data = self.0.clone();
        drop(self);
        std::fs::remove_dir(&data).unwrap();
        std::fs::rename(&aside, &data).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn run(program: &str, arguments: &[&str], last: &Path) {
    let done = Command::new(program).args(arguments).arg(last).status();
    assert!(done.unwrap().success(), "{program} {arguments:?}");
}

/// Returns whether a file system can be mounted here: that takes root and a kernel that permits it.
#[must_use]
pub fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let tried = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    let mounted = tried.is_ok_and(|status| status.success());
    drop(mounted.then(|| Mounted(folder.path().to_owned())));
    mounted
}

/// A real file system: first full because of another file, then read-only at the start of the node.
pub async fn real(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let actor = cast.receiver_mut();
    let data = actor.process.home.data();
    actor.process.stop().await;
    reserve(&actor.process.home, "1 MiB");
    let mounted = Mounted::over(&data, 12 << 10);
    actor.process.up().await;
    let filler = data.join("filler");
    std::fs::write(&filler, vec![0; 64 << 20]).unwrap_err();
    cast.load.publish(200).await.unwrap();
    refused_for_now(&cast).await;
    std::fs::remove_file(&filler).unwrap();
    let full = cast.arrived().await;

    let actor = cast.receiver_mut();
    actor.process.stop().await;
    mounted.remount("ro");
    actor.process.start();
    let status = actor.process.wait().await;
    assert_eq!(status.code(), Some(1), "{}", actor.process.log());
    cast.load.publish(RECORDS).await.unwrap();
    mounted.remount("rw");
    let begun = Instant::now();
    cast.receiver_mut().process.up().await;
    cast.arrived().await;
    let read_only = begun.elapsed();

    cast.receiver_mut().process.stop().await;
    mounted.back();
    cast.receiver_mut().process.up().await;
    let verdict = check::judge(cast).await;
    Row::new(
        "a real disk: filled by another file; read-only at the start",
        &[full, read_only],
        verdict,
    )
}

/// Sets the reserve of the disk in a node's configuration, and accepts it.
fn reserve(home: &Home, size: &str) {
    let config = home.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let line = "# reserve = \"512 MiB\"";
    assert!(text.contains(line), "the configuration has another default");
    let set = text.replace(line, &format!("reserve = \"{size}\""));
    std::fs::write(config, set).unwrap();
    accept_settings(home);
}

/// A disk with less room than its reserve: bulk waits at its sender, while alerts, acts and the log
/// go on. After space is freed everything arrives without a restart.
pub async fn short(binary: &Path) -> Row {
    let mut cast = Cast::start(binary, 2).await;
    let actor = cast.receiver_mut();
    let data = actor.process.home.data();
    actor.process.stop().await;
    reserve(&actor.process.home, "24 MiB");
    let mounted = Mounted::over(&data, 96 << 10);
    actor.process.up().await;
    cast.warm().await;
    let filler = data.join("filler");
    std::fs::write(&filler, vec![0; 80 << 20]).unwrap();
    cast.load.publish(RECORDS).await.unwrap();
    refused_for_now(&cast).await;
    let before = cast.ledger().await.delivered;
    cast.load.alert().await.unwrap();
    let begun = Instant::now();
    while cast.ledger().await.delivered == before {
        assert!(begun.elapsed() < PATIENCE, "the alert does not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let alert = begun.elapsed();
    assert!(cast.ledger().await.open > 0, "bulk went on");
    // Acts are logged and carried out.
    let client = cast.receiver().process.client.clone();
    let mut persons = Load::enrol("antwerp", client).await;
    persons.alert().await.unwrap();
    std::fs::remove_file(&filler).unwrap();
    let freed = cast.arrived().await;

    cast.receiver_mut().process.stop().await;
    mounted.back();
    cast.receiver_mut().process.up().await;
    let verdict = check::judge(cast).await;
    Row::new(
        "a real disk short of space: an alert meanwhile, and bulk once it is freed",
        &[alert, freed],
        verdict,
    )
}

/// Waits until the sender has logged that its frame was refused for now (EX-15).
async fn refused_for_now(cast: &Cast) {
    let begun = Instant::now();
    while !cast.sender.process.log().contains("EX-15") {
        assert!(begun.elapsed() < PATIENCE, "{}", cast.sender.process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ledger = cast.ledger().await;
    assert!(ledger.open > 0, "nothing is open: {ledger:?}");
}
