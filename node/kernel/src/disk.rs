//! Free space on the disk of the store, and the writer's way back after it was full.
//!
//! Space below the reserve is a problem of health. Bulk of peers is refused for now then, while
//! alerts, acts and the log still have the reserve, so that somebody can act in time. Once nothing can be written, the writer is tried again and again by an event,
//! so that health turns good by itself when there is space again.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use portcullis_protocol::frame::Lane;
use tokio_util::sync::CancellationToken;

use crate::Kernel;
use portcullis_store::{NodeEvent, Write, writer::Priority};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// The disk of the store.
#[derive(Debug, Clone)]
pub struct Disk {
    /// A folder on it.
    pub folder: PathBuf,
    /// Free space in bytes below which bulk is refused for now.
    pub reserve: u64,
}

/// Free space on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user can still write.
    pub free: u64,
    /// Bytes that should be free.
    pub reserve: u64,
}

impl Disk {
    /// Returns the bytes that the files of the folder take.
    ///
    /// # Errors
    ///
    /// An I/O error if the folder cannot be read. A file that goes meanwhile counts nothing.
    pub fn used(&self) -> io::Result<u64> {
        let mut bytes = 0_u64;
        for entry in std::fs::read_dir(&self.folder)? {
            match entry?.metadata() {
                Ok(found) if found.is_file() => bytes = bytes.saturating_add(found.len()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Returns the free space.
    ///
    /// # Errors
    ///
    /// An I/O error if the system does not tell.
    pub fn space(&self) -> io::Result<Space> {
        let found = rustix::fs::statvfs(&self.folder)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            reserve: self.reserve,
        })
    }
}

impl Space {
    /// Returns true if there is room for what comes in this lane. The last quarter of the reserve is
    /// for this authority's own acts and the log.
    #[must_use]
    pub const fn takes(self, lane: Lane) -> bool {
        match lane {
            Lane::Bulk => !self.is_short(),
            Lane::Urgent => self.free >= self.reserve / 4,
        }
    }

    /// Returns true if less is free than should be.
    #[must_use]
    pub const fn is_short(self) -> bool {
        self.free < self.reserve
    }

    /// Describes too little free space; `None` if there is enough.
    #[must_use]
    pub fn shortage(self) -> Option<String> {
        self.is_short().then(|| {
            format!(
                "{} MiB are free on the disk of the store, less than the reserve of {} MiB; bulk is refused for now",
                self.free >> 20,
                self.reserve >> 20
            )
        })
    }
}

/// Looks at the disk, and tries a writer that cannot write, until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    loop {
        look(&kernel).await;
        if kernel.writer().fault().is_some() {
            try_writer(&kernel).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(kernel: &Kernel) {
    let looking = kernel.disk().clone();
    match portcullis_store::apart::spawn(move || looking.space()).await {
        Ok(Ok(space)) => {
            let was_short = kernel.space().is_some_and(Space::is_short);
            kernel.note_space(space);
            match (was_short, space.shortage()) {
                (false, Some(shortage)) => {
                    tracing::error!(what = shortage, "the disk runs full");
                    note(kernel, "disk-low", shortage).await;
                }
                (true, None) => {
                    tracing::info!("there is free space again");
                    note(
                        kernel,
                        "disk-recovered",
                        "there is free space again".to_owned(),
                    )
                    .await;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(Err(error)) => tracing::warn!(%error, "the free space of the disk is not known"),
        Err(error) => tracing::error!(%error, "the look at the disk was cut short"),
    }
}

async fn note(kernel: &Kernel, kind: &str, detail: String) {
    kernel.note(event(kernel, kind, detail)).await;
}

/// Writes an event. If that succeeds, the writer's fault is over.
async fn try_writer(kernel: &Kernel) {
    let detail = "the store could not be written to for a time".to_owned();
    let again = Write::Event(event(kernel, "store-writes-again", detail));
    match kernel.commit(Priority::Urgent, vec![again]).await {
        Ok(_) => tracing::info!("the store can be written to again"),
        Err(error) => tracing::debug!(%error, "the store still cannot be written to"),
    }
}

fn event(kernel: &Kernel, kind: &str, detail: String) -> NodeEvent {
    NodeEvent {
        at: kernel.now(),
        kind: kind.to_owned(),
        peer: None,
        detail,
    }
}

/// Waits until the writer has gone, which it does only when the node stops or its thread died.
pub async fn writer_ends(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = kernel.writer().gone() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack H4: free space below the reserve is a problem before the disk is full.
    #[test]
    fn space_below_the_reserve_is_a_problem_that_names_both() {
        let space = |free: u64| Space {
            free: free << 20,
            reserve: 512 << 20,
        };
        assert_eq!(space(512).shortage(), None);
        let shortage = space(511).shortage().unwrap();
        assert!(
            shortage.contains("511 MiB") && shortage.contains("512 MiB"),
            "{shortage}"
        );
    }

    /// Attack H4: bulk gives way first, alerts then, and acts and the log go on.
    #[test]
    fn the_reserve_is_for_alerts_and_its_last_quarter_for_acts_and_the_log() {
        let takes = |free| {
            let space = Space { free, reserve: 400 };
            [Lane::Bulk, Lane::Urgent].map(|lane| space.takes(lane))
        };
        assert_eq!(takes(400), [true, true]);
        assert_eq!(takes(399), [false, true]);
        assert_eq!(takes(100), [false, true]);
        assert_eq!(takes(99), [false, false]);
    }

    #[test]
    fn the_system_tells_the_space_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = |reserve| Disk {
            folder: folder.path().to_owned(),
            reserve,
        };
        assert!(disk(u64::MAX).space().unwrap().is_short());
        assert!(!disk(0).space().unwrap().is_short());
    }
}
