//! Checks of a backup: every file against its manifest, and the databases themselves.

use std::path::Path;

use portcullis_protocol::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, Phase, Progress, Told,
    manifest::{FileEntry, Manifest, Part},
    signature::{Check, Signed},
    staging,
};
use portcullis_home::files::FileError;
use portcullis_store_sqlite::{KEYS_FILE, MAIN_FILE};

/// A backup that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Manifest of the data.
    pub data: Manifest,
    /// Manifest of the keys, if they were checked.
    pub keys: Option<Manifest>,
    /// The signature, and who vouches for its key.
    pub signed: Signed,
}

/// The backup to check, and what is known about it from elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    /// The folder of the data.
    pub from: &'a Path,
    /// The folder of the keys.
    pub keys: Option<&'a Path>,
    /// The digest of the first epoch of the federation's register.
    pub pin: Option<&'a Digest>,
}

/// Checks the data of a backup, and its keys if they are named. Checked are the signature, every
/// digest, the integrity of the databases, and that both folders are of one backup.
///
/// # Errors
///
/// [`BackupError`] with a description of what is wrong.
pub fn verify(which: Which<'_>, told: Told<'_>) -> Result<Checked, BackupError> {
    let checked = manifests(which)?;
    let Which { from, keys, pin: _ } = which;
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
    let findings = portcullis_store_sqlite::examine(&main, table.as_deref())?;
    if findings.is_empty() {
        Ok(checked)
    } else {
        Err(BackupError::Damaged(findings))
    }
}

/// Reads both manifests and checks the signature. Refuses the manifests of two different backups.
pub(super) fn manifests(which: Which<'_>) -> Result<Checked, BackupError> {
    let Which { from, keys, pin } = which;
    let (data, text) = Manifest::read(from, Part::Data)?;
    let keys = match keys {
        Some(folder) => Some(bound(&data, from, folder)?),
        None => None,
    };
    let signed = Check {
        from,
        manifest: (&data, &text),
        keys: keys.as_ref(),
        pin,
    }
    .run()?;
    Ok(Checked { data, keys, signed })
}

/// Returns the manifest of the keys, if it is the one that the manifest of the data names.
fn bound(data: &Manifest, from: &Path, folder: &Path) -> Result<Manifest, BackupError> {
    let (keys, text) = Manifest::read(folder, Part::Keys)?;
    let digest = Digest::from_bytes(Sha256::digest(&text).into()).to_string();
    if keys.backup == data.backup && data.keys_manifest.as_ref() == Some(&digest) {
        Ok(keys)
    } else {
        let (from, folder) = (from.to_owned(), folder.to_owned());
        Err(BackupError::Mismatch(from, folder))
    }
}

/// Compares every file of a folder with the digest in its manifest.
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

/// Describes the difference between a file as read and as written; `None` if there is none.
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
