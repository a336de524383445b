//! Checking a backup: every file against its manifest, and the databases themselves.

use std::path::Path;

use portcullis_protocol::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, Phase, Progress, Told,
    manifest::{FileEntry, Manifest, Part},
    staging,
};
use crate::{
    files::FileError,
    store::{self, KEYS_FILE, MAIN_FILE},
};

/// A backup that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The manifest of the data.
    pub data: Manifest,
    /// That of the keys, if they were looked at.
    pub keys: Option<Manifest>,
}

/// Checks the data of a backup, and its keys if they are named: every digest, the integrity of the
/// databases, and that both are of one backup.
///
/// # Errors
///
/// [`BackupError`] says what is wrong.
pub fn verify(from: &Path, keys: Option<&Path>, told: Told<'_>) -> Result<Checked, BackupError> {
    let checked = manifests(from, keys)?;
    digests(from, &checked.data, told)?;
    if let (Some(folder), Some(manifest)) = (keys, &checked.keys) {
        digests(folder, manifest, told)?;
    }
    told(Progress {
        phase: Phase::Checking,
        done: 0,
        of: 0,
    });
    let main = from.join("data").join(MAIN_FILE);
    let table = keys.map(|folder| folder.join("data").join(KEYS_FILE));
    let findings = store::examine(&main, table.as_deref())?;
    if findings.is_empty() {
        Ok(checked)
    } else {
        Err(BackupError::Damaged(findings))
    }
}

/// Reads both manifests; those of two backups are refused.
pub(super) fn manifests(from: &Path, keys: Option<&Path>) -> Result<Checked, BackupError> {
    let (data, _) = Manifest::read(from, Part::Data)?;
    let Some(folder) = keys else {
        return Ok(Checked { data, keys: None });
    };
    let (keys, bytes) = Manifest::read(folder, Part::Keys)?;
    let digest = Digest::from_bytes(Sha256::digest(&bytes).into()).to_string();
    if keys.backup != data.backup || data.keys_manifest.as_ref() != Some(&digest) {
        let (from, folder) = (from.to_owned(), folder.to_owned());
        return Err(BackupError::Mismatch(from, folder));
    }
    Ok(Checked {
        data,
        keys: Some(keys),
    })
}

/// Compares every file of a folder with its manifest.
pub(super) fn digests(
    folder: &Path,
    manifest: &Manifest,
    told: Told<'_>,
) -> Result<(), BackupError> {
    let of = manifest.bytes();
    let mut done = 0;
    let mut findings = Vec::new();
    for file in &manifest.files {
        let read = staging::digest(&folder.join(&file.path), &mut |read| {
            done += read;
            told(Progress {
                phase: Phase::Digesting,
                done,
                of,
            });
        });
        findings.extend(match read {
            Ok(found) => differs(file, found),
            Err(FileError::Missing { path }) => Some(format!("`{}` is not there", path.display())),
            Err(error) => return Err(error.into()),
        });
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(BackupError::Damaged(findings))
    }
}

/// How what was read of a file differs from what was written, in words.
pub(super) fn differs(file: &FileEntry, (bytes, sha256): (u64, Digest)) -> Option<String> {
    let path = &file.path;
    if bytes != file.bytes {
        return Some(format!(
            "`{path}` has {bytes} bytes, {} were written",
            file.bytes
        ));
    }
    (sha256.to_string() != file.sha256).then(|| format!("`{path}` is not what was written"))
}
