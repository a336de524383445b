//! Files that are written as a whole or not at all.
//!
//! A file is written beside its place, synced, and put in its place in one step; then the folder is
//! synced. A process that is killed leaves the old file or the new one, never a partial one.
//! Reading a secret that others than its owner can read is refused.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
        PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The largest file that is read whole; a register of 10,000 members stays below it.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Permission to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only its owner (mode 0600).
    Owner,
    /// Everyone (mode 0644).
    Everyone,
}

impl Access {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o644,
        }
    }
}

/// Error of a file that was not read or written. It is the operator's fault, or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file does not exist.
    #[error("`{}` is not there; check the path", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file exists and must not.
    #[error("`{}` is there already and is not overwritten; name another file, or move this one away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Something else lies where a file should.
    #[error("`{}` is a {kind}, not a file; name a file", path.display())]
    NotFile {
        /// The path.
        path: PathBuf,
        /// Word for what lies there.
        kind: &'static str,
    },
    /// A secret can be read by others than its owner.
    #[error("`{}` can be read by others (mode {mode:04o}); run `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Permissions of the file.
        mode: u32,
    },
    /// The folder is something else, or somebody else's.
    #[error("`{}` is not a folder of this user alone; remove it, or name another place", path.display())]
    NotOwn {
        /// The folder.
        path: PathBuf,
    },
    /// The file is larger than any that is read as a whole.
    #[error("`{}` has {size} bytes, more than {LARGEST}; check that it is the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Size in bytes.
        size: u64,
    },
    /// The file is not text in UTF-8.
    #[error("`{}` is not text in UTF-8; check that it is the right file", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} `{}`: {source}", path.display())]
    System {
        /// Operation that was tried, as a verb.
        what: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// Underlying I/O error.
        source: io::Error,
    },
}

impl FileError {
    /// Makes an error that names the file and the operation that was tried on it.
    pub fn system(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let kind = source.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else if kind == io::ErrorKind::AlreadyExists {
            Self::Exists { path }
        } else {
            Self::System { what, path, source }
        }
    }
}

/// Reads a whole file.
///
/// # Errors
///
/// [`FileError`] if the file does not exist, is too large, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::system("read", path, source);
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(not_file(path, "folder"));
    }
    let size = found.len();
    if size > LARGEST {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path, size });
    }
    fs::read(path).map_err(failed)
}

fn not_file(path: &Path, kind: &'static str) -> FileError {
    let path = path.to_owned();
    FileError::NotFile { path, kind }
}

/// Reads a whole text file.
///
/// # Errors
///
/// [`FileError`] as for [`read`], or if the file is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read(path)?).map_err(|_| FileError::NotText {
        path: path.to_owned(),
    })
}

/// Reads a file that holds a secret. A file that others than its owner can read is refused. The kind
/// comes first: nobody is to change the mode of a folder or a device.
///
/// # Errors
///
/// [`FileError`] as for [`read`], or if others can read the file.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let found = fs::metadata(path).map_err(|source| FileError::system("read", path, source))?;
    let kind = found.file_type();
    if kind.is_dir() {
        return Err(not_file(path, "folder"));
    }
    if kind.is_char_device() || kind.is_block_device() {
        return Err(not_file(path, "device"));
    }
    if kind.is_socket() {
        return Err(not_file(path, "socket"));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(FileError::Open { path, mode });
    }
    read(path).map(Zeroizing::new)
}

/// Returns the permissions of a file.
///
/// # Errors
///
/// [`FileError`] if they cannot be read.
pub fn mode(path: &Path) -> Result<u32, FileError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::system("read", path, source))?;
    Ok(metadata.mode() & 0o7777)
}

/// Creates a file that does not exist yet.
///
/// # Errors
///
/// [`FileError::Exists`] if it does, and any refusal of the system.
pub fn create(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let failed = |source| FileError::system("write", path, source);
    let beside = write_beside(path, content, access)?;
    // A hard link fails if the file exists, and a rename would overwrite it.
    let placed = fs::hard_link(&beside, path).map_err(failed);
    fs::remove_file(&beside).map_err(failed)?;
    placed?;
    sync_folder_of(path)
}

/// Puts a file in place of the present one, if there is one.
///
/// # Errors
///
/// [`FileError`] if the file cannot be written.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let beside = write_beside(path, content, access)?;
    fs::rename(&beside, path).map_err(|source| FileError::system("write", path, source))?;
    sync_folder_of(path)
}

/// Makes a folder that only its owner can enter, and the folders above it. An existing folder is
/// left as it is.
///
/// # Errors
///
/// [`FileError`] if the folder cannot be made.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::system("make the folder", path, source))
}

/// Makes a folder its owner's alone. One that exists must be a folder, of this process's user.
///
/// # Errors
///
/// [`FileError`] if it is something else, somebody else's, or cannot be changed.
pub fn own_folder(path: &Path) -> Result<(), FileError> {
    create_folder(path)?;
    let found =
        fs::symlink_metadata(path).map_err(|source| FileError::system("read", path, source))?;
    let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !own {
        return Err(FileError::NotOwn {
            path: path.to_owned(),
        });
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(|source| FileError::system("change the mode of", path, source))
}

/// Returns the folder and those above it whose entries others can exchange, each with its mode: a
/// folder that others can write, and any above it that everybody can write and that is not sticky.
#[must_use]
pub fn exchangeable(folder: &Path) -> Vec<(PathBuf, u32)> {
    let full = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    full.ancestors()
        .filter_map(|path| Some((path.to_owned(), mode(path).ok()?)))
        .filter(|(path, mode)| {
            let others = if *path == full { 0o022 } else { 0o002 };
            mode & others != 0 && (*path == full || mode & 0o1000 == 0)
        })
        .collect()
}

/// Returns the files of a folder with this extension, by name; none if the folder does not exist.
///
/// # Errors
///
/// [`FileError`] if the folder cannot be listed.
pub fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = list_all(folder)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    Ok(paths)
}

/// Returns the names in a folder that are not of this extension, and so are not read, by name; none
/// if the folder does not exist.
///
/// # Errors
///
/// [`FileError`] if the folder cannot be listed.
pub fn unread(folder: &Path, extension: &str) -> Result<Vec<String>, FileError> {
    let mut paths = list_all(folder)?;
    paths.retain(|path| path.extension().is_none_or(|found| found != extension));
    let name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().escape_debug().to_string()
    };
    Ok(paths.iter().map(name).collect())
}

/// Returns the entries of a folder, by name; none if the folder does not exist.
///
/// # Errors
///
/// [`FileError`] if the folder cannot be listed.
pub fn list_all(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |source| FileError::system("list", folder, source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn write_beside(path: &Path, content: &[u8], access: Access) -> Result<PathBuf, FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let failed = |source| FileError::system("write", &beside, source);
    // A file may be left by a killed process that had the same process id.
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(&beside)
        .map_err(|source| FileError::system("write", path, source))?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(beside)
}

/// Syncs the folder of `path`, which makes the names in it durable.
pub fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::system("sync", folder, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack L3: a home of mode 0777 stayed so, and somebody moved `keys/` away.
    #[test]
    fn a_folder_that_others_can_write_is_seen_and_made_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (above, home) = (
            folder.path().join("above"),
            folder.path().join("above/home"),
        );
        fs::create_dir_all(&home).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        set(&above, 0o755).unwrap();
        for (mode, seen) in [(0o777, 1), (0o770, 1), (0o1777, 1), (0o755, 0), (0o750, 0)] {
            set(&home, mode).unwrap();
            assert_eq!(exchangeable(&home).len(), seen, "{mode:o}");
        }
        for (mode, seen) in [(0o777, 1), (0o1777, 0), (0o775, 0)] {
            set(&above, mode).unwrap();
            assert_eq!(exchangeable(&home).len(), seen, "{mode:o}");
        }
        set(&home, 0o777).unwrap();
        own_folder(&home).unwrap();
        assert_eq!(mode(&home).unwrap(), 0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&home, &link).unwrap();
        assert!(matches!(own_folder(&link), Err(FileError::NotOwn { .. })));
    }

    /// Newcomer A13: `--key /etc` was answered with `chmod 600 /etc`.
    #[test]
    fn a_folder_or_a_device_is_told_of_before_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        for (path, kind) in [
            (folder.path(), "folder"),
            (Path::new("/"), "folder"),
            (Path::new("/dev/null"), "device"),
        ] {
            let refused = read_secret(path).unwrap_err().to_string();
            assert!(refused.contains(kind), "{refused}");
            assert!(!refused.contains("chmod"), "{refused}");
        }
        let refused = read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("is a folder"), "{refused}");
    }

    /// Newcomer A14: `own.ceder` was passed over without a word.
    #[test]
    fn what_is_not_read_in_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["own.cedar", "own.ceder", "more.CEDAR", "README"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let named = unread(folder.path(), "cedar").unwrap();
        assert_eq!(named, ["README", "more.CEDAR", "own.ceder"]);
        let nowhere = folder.path().join("nowhere");
        assert_eq!(unread(&nowhere, "cedar").unwrap(), Vec::<String>::new());
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_there_is_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        create(&path, b"first", Access::Owner).unwrap();
        let again = create(&path, b"second", Access::Owner);
        assert!(matches!(again, Err(FileError::Exists { .. })), "{again:?}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn replacing_leaves_one_file_with_the_new_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"first", Access::Everyone).unwrap();
        replace(&path, b"second", Access::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(mode(&path).unwrap(), 0o600);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"secret", Access::Owner).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"secret");
        for open in [0o640, 0o604, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let refused = read_secret(&path).unwrap_err();
            assert!(matches!(refused, FileError::Open { mode, .. } if mode == open));
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/at-all")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/nowhere/at-all` is not there; check the path"
        );
    }

    #[test]
    fn a_remnant_of_a_killed_process_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let remnant = folder.path().join(format!(".a.{}.new", std::process::id()));
        fs::write(remnant, b"half").unwrap();
        create(&folder.path().join("a"), b"whole", Access::Owner).unwrap();
        assert_eq!(names(folder.path()), ["a"]);
    }
}
