//! A folder that is written beside its place and gets its name once it is whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use portcullis_protocol::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use portcullis_home::files::{self, FileError};

const LOCK_FILE: &str = ".lock";
const CHUNK: usize = 1 << 20;

/// An unfinished folder; it is removed unless it gets its name.
pub(super) struct Staging {
    target: PathBuf,
    folder: PathBuf,
    /// Lock on the folder, held while it is written.
    lock: File,
    is_placed: bool,
}

impl Staging {
    /// Begins a folder that will be `target`. Removes what an interrupted process left of one.
    pub(super) fn begin(target: &Path) -> Result<Self, BackupError> {
        let name = target
            .file_name()
            .ok_or_else(|| BackupError::Nameless(target.to_owned()))?
            .to_string_lossy();
        refuse_present(target)?;
        let folder = target.with_file_name(format!(".{name}.unfinished"));
        files::create_folder(&folder)?;
        let path = folder.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| FileError::system("write", &path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BackupError::UnderWay(target.to_owned()));
            }
            Err(TryLockError::Error(source)) => {
                return Err(FileError::system("lock", &path, source).into());
            }
        }
        clear(&folder)?;
        Ok(Self {
            target: target.to_owned(),
            folder,
            lock,
            is_placed: false,
        })
    }

    /// Returns the folder under its temporary name.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the place of a file in the folder, and makes the folders above it.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, FileError> {
        let place = self.folder.join(path);
        if let Some(parent) = place.parent() {
            files::create_folder(parent)?;
        }
        Ok(place)
    }

    /// Gives the folder its name.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let lock = self.folder.join(LOCK_FILE);
        fs::remove_file(&lock).map_err(|source| FileError::system("remove", &lock, source))?;
        sync_folders(&self.folder)?;
        refuse_present(&self.target)?;
        fs::rename(&self.folder, &self.target)
            .map_err(|source| FileError::system("write", &self.target, source))?;
        self.is_placed = true;
        Ok(files::sync_folder_of(&self.target)?)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_placed
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "an unfinished folder stays behind");
        }
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "a lock was not given back");
        }
    }
}

fn refuse_present(target: &Path) -> Result<(), BackupError> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(BackupError::Exists(target.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::system("look at", target, source).into()),
    }
}

/// Removes everything but the lock.
fn clear(folder: &Path) -> Result<(), FileError> {
    for path in files::list_all(folder)? {
        let removed = if path.ends_with(LOCK_FILE) {
            Ok(())
        } else if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|source| FileError::system("remove", &path, source))?;
    }
    Ok(())
}

/// Syncs a folder and all folders below, which makes the names in them durable.
fn sync_folders(folder: &Path) -> Result<(), FileError> {
    for path in files::list_all(folder)? {
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::system("sync", folder, source))
}

/// Copies a file into a new one and syncs it. Returns its size in bytes and its SHA-256.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    told: &mut dyn FnMut(u64),
) -> Result<(u64, Digest), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|source| FileError::system("write", to, source))?;
    let written = |source| FileError::system("write", to, source);
    let found = read(from, &mut |bytes| {
        told(bytes.len() as u64);
        file.write_all(bytes).map_err(written)
    })?;
    file.sync_all().map_err(written)?;
    Ok(found)
}

/// Returns the size of a file in bytes and its SHA-256.
pub(super) fn digest(path: &Path, told: &mut dyn FnMut(u64)) -> Result<(u64, Digest), FileError> {
    read(path, &mut |bytes| {
        told(bytes.len() as u64);
        Ok(())
    })
}

fn read(
    path: &Path,
    take: &mut dyn FnMut(&[u8]) -> Result<(), FileError>,
) -> Result<(u64, Digest), FileError> {
    let failed = |source| FileError::system("read", path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes: u64 = 0;
    loop {
        let count = file.read(&mut chunk).map_err(failed)?;
        let read = chunk.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok((bytes, Digest::from_bytes(hasher.finalize().into())));
        }
        hasher.update(read);
        take(read)?;
        bytes += read.len() as u64;
    }
}
