//! A folder that is written beside its place and gets its name once it is whole.
//!
//! Others may be able to write to the folder around it. It is therefore made under a random name,
//! which must be new, in a folder whose path has no link left. It is known by its inode: whatever
//! stands at its path later is not taken for it, not written to, and not removed. What an
//! interrupted process left is not removed either, because nobody can tell who gave it its name.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use portcullis_protocol::{digest::Digest, seal::Entropy as _};
use rustix::{
    fs::{CWD, OFlags, RenameFlags, renameat_with},
    io::Errno,
    process::geteuid,
};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use portcullis_home::{
    clock::SystemEntropy,
    files::{self, FileError},
};

const CHUNK: usize = 1 << 20;

/// An unfinished folder; it is removed unless it gets its name.
pub(super) struct Staging {
    target: PathBuf,
    folder: PathBuf,
    /// Identity of the folder that was made.
    made: Identity,
    is_placed: bool,
}

/// Device and inode of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// Returns the path under which a folder is made: its parent exists and has no link, its own name
/// is the last one.
///
/// # Errors
///
/// [`BackupError::Nameless`] if the path does not end in a name; [`BackupError::File`] if the folder
/// around it cannot be made or found.
pub(super) fn settled(target: &Path) -> Result<PathBuf, BackupError> {
    let (Some(name), Some(around)) = (target.file_name(), target.parent()) else {
        return Err(BackupError::Nameless(target.to_owned()));
    };
    files::create_folder(around)?;
    let around =
        fs::canonicalize(around).map_err(|source| FileError::system("find", around, source))?;
    Ok(around.join(name))
}

impl Staging {
    /// Begins a folder that will be `target`, a path that is [`settled`].
    pub(super) fn begin(target: PathBuf) -> Result<Self, BackupError> {
        refuse_present(&target)?;
        let folder = target.with_file_name(temporary_name(&target));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|source| FileError::system("make the folder", &folder, source))?;
        let found = own_folder(&folder)?.ok_or_else(|| BackupError::Replaced(folder.clone()))?;
        Ok(Self {
            target,
            folder,
            made: Identity::of(&found),
            is_placed: false,
        })
    }

    /// Returns the folder under its temporary name.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the place of a file in the folder, and makes the folders above it.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, BackupError> {
        self.stands_at(&self.folder)?;
        let place = self.folder.join(path);
        if let Some(parent) = place.parent() {
            files::create_folder(parent)?;
        }
        Ok(place)
    }

    /// Gives the folder its name.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        self.stands_at(&self.folder)?;
        sync_folders(&self.folder)?;
        self.rename()?;
        self.is_placed = true;
        self.stands_at(&self.target)?;
        Ok(files::sync_folder_of(&self.target)?)
    }

    /// Renames the folder to a name that nothing has.
    fn rename(&self) -> Result<(), BackupError> {
        let (from, to) = (&self.folder, &self.target);
        let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that cannot refuse by itself: the name is looked at first.
            Err(Errno::INVAL | Errno::NOSYS) => {
                refuse_present(to)?;
                fs::rename(from, to)
            }
            other => other.map_err(io::Error::from),
        };
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Exists(to.clone()))
            }
            other => Ok(other.map_err(|source| FileError::system("write", to, source))?),
        }
    }

    /// Refuses to go on if something else stands at the folder's path.
    fn stands_at(&self, path: &Path) -> Result<(), BackupError> {
        match own_folder(path)? {
            Some(found) if Identity::of(&found) == self.made => Ok(()),
            Some(_) | None => Err(BackupError::Replaced(path.to_owned())),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        let removed = self.stands_at(&self.folder).and_then(|()| {
            fs::remove_dir_all(&self.folder)
                .map_err(|source| FileError::system("remove", &self.folder, source).into())
        });
        if let Err(error) = removed {
            tracing::warn!(%error, folder = %self.folder.display(), "an unfinished folder stays behind");
        }
    }
}

/// Returns a name that nobody foresees.
fn temporary_name(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut drawn = [0; 16];
    SystemEntropy::default().fill(&mut drawn);
    format!(
        ".{name}.{}.unfinished",
        data_encoding::HEXLOWER.encode(&drawn)
    )
}

/// Returns what is at the path if it is a folder of this process's user; a link is none.
fn own_folder(path: &Path) -> Result<Option<Metadata>, FileError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::system("look at", path, source)),
    };
    let is_own = found.is_dir() && found.uid() == geteuid().as_raw();
    Ok(is_own.then_some(found))
}

fn refuse_present(target: &Path) -> Result<(), BackupError> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(BackupError::Exists(target.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::system("look at", target, source).into()),
    }
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

/// Links at the end of a path that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They are followed: the file lies in the node's own home.
    Followed,
    /// They are refused: others may have put the file there.
    Refused,
}

/// Copies a file into a new one and syncs it. Returns its size in bytes and its SHA-256.
pub(super) fn copy(
    from: &Path,
    links: Links,
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
    let found = read(from, links, &mut |bytes| {
        told(bytes.len() as u64);
        file.write_all(bytes).map_err(written)
    })?;
    file.sync_all().map_err(written)?;
    Ok(found)
}

/// Returns the size of a file in bytes and its SHA-256.
pub(super) fn digest(path: &Path, told: &mut dyn FnMut(u64)) -> Result<(u64, Digest), FileError> {
    read(path, Links::Refused, &mut |bytes| {
        told(bytes.len() as u64);
        Ok(())
    })
}

fn read(
    path: &Path,
    links: Links,
    take: &mut dyn FnMut(&[u8]) -> Result<(), FileError>,
) -> Result<(u64, Digest), FileError> {
    let failed = |source| FileError::system("read", path, source);
    let mut file = open(path, links).map_err(failed)?;
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

/// Opens a file to be read. Anything that is no file is refused, and a pipe is not waited for.
fn open(path: &Path, links: Links) -> io::Result<File> {
    let flags = match links {
        Links::Followed => OFlags::NONBLOCK,
        Links::Refused => OFlags::NONBLOCK | OFlags::NOFOLLOW,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}
