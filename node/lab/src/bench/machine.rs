//! The machine under the figures, and what a process has used of it, as `/proc` tells.
//!
//! What cannot be read is reported as nothing rather than guessed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Clock ticks of `/proc/…/stat` in a second: 100 on every Linux that shows them to programs.
const TICKS: f64 = 100.0;

/// Bytes of a block in which files are accounted.
const BLOCK: u64 = 512;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of processor time, its own and the system's for it.
    pub cpu_s: f64,
    /// The most memory it held since it began or since [`forget_peak`], in kB.
    pub peak_rss_kb: u64,
    /// What its store occupies on disk.
    pub store_bytes: u64,
}

impl Usage {
    /// What this process has used, its store being in this folder.
    ///
    /// # Errors
    ///
    /// An I/O error if `/proc` or the folder cannot be read.
    pub fn of_this_process(store: &Path) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Self {
            cpu_s: cpu_seconds(&stat).unwrap_or(0.0),
            peak_rss_kb: peak_kb(&status).unwrap_or(0),
            store_bytes: bytes_below(store)?,
        })
    }
}

/// Has the kernel count this process's peak of memory from now.
///
/// # Errors
///
/// An I/O error if the kernel does not.
pub fn forget_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// User and system time: the 14th and 15th field, of which the second is a name in brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

fn peak_kb(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// What the files below a folder occupy. A file that goes meanwhile counts as nothing.
pub(super) fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            bytes_below(&entry.path())?
        } else {
            metadata.blocks() * BLOCK
        };
    }
    Ok(bytes)
}

/// Bytes that the loopback interface has carried.
#[must_use]
pub fn loopback_bytes() -> Option<u64> {
    let table = fs::read_to_string("/proc/net/dev").ok()?;
    received_by("lo", &table)
}

fn received_by(interface: &str, table: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let (name, counters) = line.split_once(':')?;
        let received = counters.split_ascii_whitespace().next()?;
        (name.trim() == interface).then(|| received.parse().ok())?
    })
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Their model.
    pub cpu: String,
    /// The kernel's version.
    pub kernel: String,
    /// The folder of the homes.
    pub folder: PathBuf,
    /// Its file system.
    pub file_system: String,
}

impl Machine {
    /// This one, with homes in this folder.
    #[must_use]
    pub fn here(folder: &Path) -> Self {
        let line = |path: &str| fs::read_to_string(path).ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: line("/proc/cpuinfo")
                .and_then(|text| model(&text))
                .unwrap_or_else(unknown),
            kernel: line("/proc/sys/kernel/osrelease")
                .map_or_else(unknown, |text| text.trim().to_owned()),
            file_system: file_system(folder).unwrap_or_else(unknown),
            folder: folder.to_owned(),
        }
    }

    /// Whether the homes lie in memory.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn model(cpuinfo: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    })
}

/// The type of the file system that a folder is on.
fn file_system(folder: &Path) -> Option<String> {
    let whole = fs::canonicalize(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_of(&whole, &mounts)
}

/// The type of the last mount at the longest path that leads to `path` (proc(5): the mount point is
/// the fifth field, the type the first after the lone hyphen).
fn mount_of(path: &Path, mounts: &str) -> Option<String> {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((mount, source)) = line.split_once(" - ") else {
            continue;
        };
        let point = mount.split(' ').nth(4).map(Path::new);
        let kind = source.split(' ').next();
        if let (Some(point), Some(kind)) = (point, kind)
            && path.starts_with(point)
            && found.is_none_or(|(length, _)| length <= point.as_os_str().len())
        {
            found = Some((point.as_os_str().len(), kind));
        }
    }
    found.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_brackets() {
        let stat = "42 (a) (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 9";
        assert_eq!(cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn the_peak_of_memory_is_read_in_kilobytes() {
        let status = "Name:\tnode\nVmPeak:\t  9 kB\nVmHWM:\t   123456 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_kb(status), Some(123_456));
        let usage = Usage::of_this_process(Path::new("/proc/self/task")).unwrap();
        assert!(usage.peak_rss_kb > 100, "{usage:?}");
    }

    #[test]
    fn the_nearest_mount_tells_the_file_system_and_the_last_one_covers_the_others() {
        let mounts = "\
            21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            22 21 0:20 / /tmp rw - ext4 /dev/vdb rw\n\
            23 21 0:21 / /tmp rw,nosuid shared:2 - tmpfs tmpfs rw\n";
        let kind = |path: &str| mount_of(Path::new(path), mounts).unwrap();
        assert_eq!(kind("/tmp/bench"), "tmpfs");
        assert_eq!(kind("/tmpfoo"), "ext4");
        assert_eq!(kind("/srv"), "ext4");
    }

    #[test]
    fn the_loopback_interface_is_told_from_others() {
        let table = "Inter-|   Receive\n face |bytes\n  eth0: 7 1\n    lo: 4096 3 0\n";
        assert_eq!(received_by("lo", table), Some(4096));
    }
}
