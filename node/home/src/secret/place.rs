//! Place of the node's passphrase in relation to the data that it protects, for `doctor`.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, path::PathBuf};

use super::{KeySource, SecretError};
use crate::files::FileError;

/// Place of the passphrase in relation to a folder that it protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the folder or below it: a copy of the folder includes both.
    Beside,
    /// On the same file system: a thief of the disk has both.
    SameDisk,
    /// On another file system, as a systemd credential is.
    Elsewhere,
}

impl KeySource {
    /// Returns the place of the passphrase in relation to `folder`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if one of the two paths cannot be inspected.
    pub fn place(&self, folder: &Path) -> Result<KeyPlace, SecretError> {
        let (key, folder) = (self.path()?, folder.to_owned());
        let seen = |path: &PathBuf| {
            fs::canonicalize(path)
                .and_then(|path| Ok((fs::metadata(&path)?.dev(), path)))
                .map_err(|source| not_seen(path, source))
        };
        let (key_disk, key) = seen(&key)?;
        let (disk, folder) = seen(&folder)?;
        Ok(match key.starts_with(&folder) {
            true => KeyPlace::Beside,
            false if key_disk == disk => KeyPlace::SameDisk,
            false => KeyPlace::Elsewhere,
        })
    }
}

fn not_seen(path: &Path, source: io::Error) -> SecretError {
    FileError::system("look at", path, source).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase_in(folder: &Path) -> KeySource {
        let path = folder.join("passphrase");
        fs::write(&path, "correct horse battery").unwrap();
        KeySource::PassphraseFile(path)
    }

    #[test]
    fn a_key_beside_the_store_is_told_from_one_elsewhere() {
        let store = tempfile::tempdir().unwrap();
        let below = store.path().join("etc");
        fs::create_dir(&below).unwrap();
        let place = |key: &KeySource| key.place(store.path()).unwrap();
        assert_eq!(place(&passphrase_in(&below)), KeyPlace::Beside);
        let other = tempfile::tempdir().unwrap();
        assert_eq!(place(&passphrase_in(other.path())), KeyPlace::SameDisk);
        let linked = other.path().join("link");
        std::os::unix::fs::symlink(below.join("passphrase"), &linked).unwrap();
        assert_eq!(place(&KeySource::PassphraseFile(linked)), KeyPlace::Beside);
        let proc = KeySource::PassphraseFile("/proc/self/status".into());
        assert_eq!(place(&proc), KeyPlace::Elsewhere);
    }

    #[test]
    fn a_key_that_is_not_there_is_an_error() {
        let store = tempfile::tempdir().unwrap();
        let missing = KeySource::PassphraseFile(store.path().join("none"));
        assert!(missing.place(store.path()).is_err());
    }
}
