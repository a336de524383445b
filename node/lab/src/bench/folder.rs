//! Folder of a bench run, which is removed when the run ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_protocol::seal::Entropy as _;

use portcullis_home::{
    clock::SystemEntropy,
    files::{self, FileError},
};

/// A folder that is removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a new folder. Its name is short because the path of a socket has 108 bytes at most.
    pub(super) fn make_in(parent: &Path) -> Result<Self, FileError> {
        let mut random = [0; 4];
        SystemEntropy::default().fill(&mut random);
        let name = format!("bench-{}", data_encoding::HEXLOWER.encode(&random));
        let path = parent.join(name);
        files::create_folder(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the bench's folder stays behind");
        }
    }
}
