//! No store at all: append and `fdatasync`, the upper limit set by the disk.

use super::Engine;
use crate::workload::{Commit, Key};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::path::Path;

/// One file that grows.
pub(crate) struct File(std::fs::File);

impl File {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let options = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(folder.join("log"))?;
        Ok(Self(options))
    }
}

impl Engine for File {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        for (position, row) in &commit.log {
            self.0.write_all(&super::key_of(*position))?;
            self.0.write_all(&u64::try_from(row.len())?.to_be_bytes())?;
            self.0.write_all(row)?;
        }
        Ok(self.0.sync_data()?)
    }

    fn row(&self, wanted: u64) -> Result<Option<Vec<u8>>> {
        let mut reader = std::io::BufReader::new(&self.0);
        let mut number = [0; 8];
        while reader.read_exact(&mut number).is_ok() {
            let position = super::position_of(&number)?;
            reader.read_exact(&mut number)?;
            let mut row = vec![0; usize::try_from(u64::from_be_bytes(number))?];
            reader.read_exact(&mut row)?;
            if position == wanted {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn position(&self, _which: usize, _key: &Key) -> Result<Option<u64>> {
        bail!("a plain file has no index")
    }
}
