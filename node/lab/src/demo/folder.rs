//! Folder of a demo, which is removed when the demo ends unless its nodes go on running.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_protocol::seal::Entropy as _;

use portcullis_home::{
    clock::SystemEntropy,
    files::{self, Access, FileError},
};

/// Beginning of the name of every demo's folder.
pub(super) const PREFIX: &str = "portcullis-demo-";

/// Random bytes of a folder's name.
const RANDOM: usize = 6;

/// File of a demo's folder that holds the folder's name: what has none was not made by a demo.
pub(super) const MARK: &str = "demo";

/// File with the id of the process whose demo is under way in the folder.
pub(super) const AT_WORK: &str = "at-work";

/// A folder that is removed when it is dropped, unless it is kept.
pub(super) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// Makes a new folder below the system's folder for temporary files. Its name is short because
    /// the path of a socket has 107 bytes at most. Until it is kept, it says whose process works in it.
    pub(super) fn make() -> Result<Self, FileError> {
        let mut random = [0; RANDOM];
        SystemEntropy::default().fill(&mut random);
        let name = format!("{PREFIX}{}", data_encoding::HEXLOWER.encode(&random));
        let path = std::env::temp_dir().join(&name);
        files::create_folder(&path)?;
        files::create(&path.join(MARK), name.as_bytes(), Access::Owner)?;
        let made = Self { path, kept: false };
        let process = std::process::id().to_string();
        files::create(&made.path.join(AT_WORK), process.as_bytes(), Access::Owner)?;
        Ok(made)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder when this value is dropped.
    pub(super) fn keep(&mut self) -> Result<(), FileError> {
        let mark = self.path.join(AT_WORK);
        fs::remove_file(&mark).map_err(|source| FileError::system("remove", &mark, source))?;
        self.kept = true;
        Ok(())
    }
}

/// Returns whether a demo made the folder, or would have made one that is gone: its name is a demo's, and its
/// mark says the same name.
pub(super) fn is_made_by_a_demo(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    let random = name.and_then(|name| name.strip_prefix(PREFIX));
    let is_number = |random: &str| {
        random.len() == 2 * RANDOM
            && random
                .bytes()
                .all(|one| matches!(one, b'0'..=b'9' | b'a'..=b'f'))
    };
    let marked = || fs::read_to_string(folder.join(MARK)).ok();
    random.is_some_and(is_number) && (!folder.exists() || marked().as_deref() == name)
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
