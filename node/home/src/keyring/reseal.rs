//! The folder of keys, sealed under another passphrase.
//!
//! A second folder is made beside the first, with every file sealed anew, and both exchange their
//! names in one step. A process that is killed leaves the old keys under the old passphrase or the
//! new ones under the new, and at most the other folder beside them, which the next change clears.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::kinds::KeyringError;
use crate::{
    files::{self, Access, FileError},
    secret::{self, Passphrase},
};

/// Seals every `*.keys` of a folder under `next` and keeps its other files.
pub(super) fn folder(
    keys: &Path,
    present: &Passphrase,
    next: &Passphrase,
) -> Result<(), KeyringError> {
    let beside = beside(keys);
    clear(&beside)?;
    files::create_folder(&beside)?;
    for path in files::list_all(keys)? {
        let copy = beside.join(path.file_name().unwrap_or_default());
        if path
            .extension()
            .is_some_and(|extension| extension == "keys")
        {
            let sealed = files::read_secret(&path)?;
            let text = String::from_utf8_lossy(&sealed);
            let again = secret::reseal(present, next, &text)?;
            files::create(&copy, again.as_bytes(), Access::Owner)?;
        } else {
            fs::hard_link(&path, &copy)
                .map_err(|source| FileError::system("keep", &path, source))?;
        }
    }
    files::sync_folder_of(&beside.join("."))?;
    renameat_with(CWD, &beside, CWD, keys, RenameFlags::EXCHANGE)
        .map_err(|error| FileError::system("exchange the folder", keys, error.into()))?;
    files::sync_folder_of(keys)?;
    Ok(clear(&beside)?)
}

fn beside(keys: &Path) -> PathBuf {
    let mut name = keys.file_name().unwrap_or_default().to_owned();
    name.push("-other-passphrase");
    keys.with_file_name(name)
}

fn clear(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::system("remove", folder, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
