//! The shim between a node's process and its disk and clock: a library that intercepts calls to
//! libc.
//!
//! Built from `shim.c` by the system's C compiler, which the product's build needs as well. A
//! control file, which the process maps into its memory, determines the shim's behaviour and can be
//! changed at any moment.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Fields of the control file in their order, a 64-bit number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Milliseconds added to the wall clock.
    ClockMs,
    /// Microseconds by which each sync is prolonged.
    SyncDelayUs,
    /// `errno` of every sync; 0: syncs succeed.
    SyncErrno,
    /// `errno` of every write once [`Field::WriteLimit`] is used up; 0: writes succeed.
    WriteErrno,
    /// Bytes that can still be written before writes fail.
    WriteLimit,
    /// Syncs that the process called for.
    Syncs,
    /// Writes that the process called for.
    Writes,
    /// Calls with which the shim interfered.
    Faults,
}

/// Number of fields.
const FIELDS: u64 = 8;

/// No space left on the device.
pub const ENOSPC: i64 = 28;
/// An error of the device.
pub const EIO: i64 = 5;
/// A file system that is read-only.
pub const EROFS: i64 = 30;

/// The shim of one process.
#[derive(Debug, Clone)]
pub struct Control {
    library: PathBuf,
    file: PathBuf,
}

impl Control {
    /// Builds the library in `folder` and makes a control file that changes nothing.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let source = folder.join("shim.c");
        let library = folder.join("shim.so");
        if !library.exists() {
            std::fs::write(&source, include_str!("shim.c")).unwrap();
            let built = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .args([&library, &source])
                .arg("-ldl")
                .status();
            assert!(built.unwrap().success(), "the shim does not compile");
        }
        let file = folder.join(format!("{name}.control"));
        let bytes = usize::try_from(FIELDS * 8).unwrap();
        std::fs::write(&file, vec![0; bytes]).unwrap();
        Self { library, file }
    }

    /// Loads the shim into the process that `command` starts.
    pub(super) fn set(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("PORTCULLIS_TEST_SHIM", &self.file);
    }

    /// Sets a field of the control file.
    pub fn write(&self, field: Field, value: i64) {
        let file = File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(&value.to_ne_bytes(), field as u64 * 8)
            .unwrap();
    }

    /// Reads a field of the control file.
    #[must_use]
    pub fn read(&self, field: Field) -> i64 {
        let file = File::open(&self.file).unwrap();
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, field as u64 * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// Stops all interference; the counters keep their values.
    pub fn heal(&self) {
        for field in [
            Field::ClockMs,
            Field::SyncDelayUs,
            Field::SyncErrno,
            Field::WriteErrno,
            Field::WriteLimit,
        ] {
            self.write(field, 0);
        }
    }
}
