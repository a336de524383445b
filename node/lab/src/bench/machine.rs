//! The machine on which the figures are measured, and the resources that a process has used, both
//! as `/proc` shows them.
//!
//! A value that cannot be read is reported as unknown, zero or absent. It is never guessed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Clock ticks per second of the times in `/proc/…/stat`: 100 on every Linux, as programs see it.
const TICKS: f64 = 100.0;

/// Bytes of one block in which the kernel counts the space of files.
const BLOCK: u64 = 512;

/// Resources that a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in seconds, in user mode and in the kernel.
    pub cpu_s: f64,
    /// Peak resident memory since the process began or since [`forget_peak`], in kB.
    pub peak_rss_kb: u64,
    /// Space that the store occupies on disk, in bytes.
    pub store_bytes: u64,
}

impl Usage {
    /// Returns what this process has used. Its store is in the folder `store`.
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

/// Has the kernel restart the measurement of this process's peak memory.
///
/// # Errors
///
/// An I/O error if the kernel refuses.
pub fn forget_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// Returns user and system time in seconds. They are the 14th and 15th field; the second field is a
/// name in brackets, which may itself hold brackets and spaces.
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

/// Returns the space that the files below a folder occupy, in bytes. A file that is removed
/// meanwhile counts as zero.
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

/// Returns the bytes that the loopback interface has carried so far, or `None` if they cannot be
/// read.
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

/// Description of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Number of processors that this process may use.
    pub cores: usize,
    /// Model of the processor.
    pub cpu: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Folder of the homes.
    pub folder: PathBuf,
    /// Type of the file system that the folder is on.
    pub file_system: String,
}

impl Machine {
    /// Returns a description of this machine, with homes in `folder`.
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

    /// Returns true if the homes lie in memory.
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

/// Returns the type of the file system that a folder is on.
fn file_system(folder: &Path) -> Option<String> {
    let whole = fs::canonicalize(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_of(&whole, &mounts)
}

/// Returns the type of the mount with the longest mount point that leads to `path`, and of the last
/// one if there are several. By proc(5) the mount point is the fifth field, and the type the first
/// field after the lone hyphen.
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
