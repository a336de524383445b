//! Folder of a demo, which is removed when the demo ends unless its nodes go on running.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_protocol::seal::Entropy as _;

use portcullis_home::{
    clock::SystemEntropy,
    files::{self, FileError},
};

/// A folder that is removed when it is dropped, unless it is kept.
pub(super) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// Makes a new folder below the system's folder for temporary files. Its name is short because
    /// the path of a socket has 108 bytes at most.
    pub(super) fn make() -> Result<Self, FileError> {
        let mut random = [0; 4];
        SystemEntropy::default().fill(&mut random);
        let name = format!(
            "portcullis-demo-{}",
            data_encoding::HEXLOWER.encode(&random)
        );
        let path = std::env::temp_dir().join(name);
        files::create_folder(&path)?;
        Ok(Self { path, kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder when this value is dropped.
    pub(super) const fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the demo's folder stays behind");
        }
    }
}
