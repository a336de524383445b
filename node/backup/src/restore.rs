//! Restoration: makes a node's home from a backup.
//!
//! The store is marked as restored. At the first start, the node begins a new generation before it
//! signs or sends anything. It then believes its peers once, where they know more of its state than
//! it does itself.

use std::path::{Path, PathBuf};

use portcullis_protocol::digest::Digest;

use super::{
    BackupError, Phase, Progress, Told,
    check::{Checked, Which, differs, digests, manifests},
    manifest::Manifest,
    staging::{self, Links, Staging},
};
use portcullis_home::{Home, files};

/// The backup to restore, and the home to make.
#[derive(Debug, Clone)]
pub struct Restoring {
    /// The folder of the data.
    pub from: PathBuf,
    /// The folder of the keys.
    pub keys: PathBuf,
    /// Digest of the first epoch of the federation's register, if it is known from elsewhere.
    pub pin: Option<Digest>,
    /// The home, which must not exist yet.
    pub home: Home,
}

/// Makes a home from a backup.
///
/// # Errors
///
/// [`BackupError`]; there is no home then.
pub fn restore(order: &Restoring, told: Told<'_>) -> Result<Checked, BackupError> {
    let Restoring {
        from,
        keys,
        pin,
        home,
    } = order;
    let target = std::path::absolute(home.folder())
        .map_err(|source| files::FileError::system("find", home.folder(), source))?;
    let staging = Staging::begin(staging::settled(&target)?)?;
    let checked = manifests(Which {
        from,
        keys: Some(keys),
        pin: pin.as_ref(),
    })?;
    let key_manifest = checked
        .keys
        .as_ref()
        .ok_or_else(|| BackupError::Mismatch(from.clone(), keys.clone()))?;
    // Every file is checked before any is put in place.
    digests(from, &checked.data, told)?;
    digests(keys, key_manifest, told)?;
    place(from, &checked.data, &staging, told)?;
    place(keys, key_manifest, &staging, told)?;
    let made = Home::new(staging.folder());
    for folder in [
        made.revocation_lists(),
        made.register(),
        made.policy(),
        made.data(),
    ] {
        files::create_folder(&folder)?;
    }
    let made_at = checked.data.made_at().ok_or_else(|| {
        BackupError::Damaged(vec!["the time of the backup cannot be read".to_owned()])
    })?;
    portcullis_store_sqlite::mark_restored(&made.data(), made_at)?;
    staging.finish()?;
    Ok(checked)
}

/// Copies the files of a folder. Refuses a file that has changed since it was checked.
fn place(
    folder: &Path,
    manifest: &Manifest,
    staging: &Staging,
    told: Told<'_>,
) -> Result<(), BackupError> {
    let of = manifest.bytes();
    let mut done = 0;
    for file in &manifest.files {
        let to = staging.place(&file.path)?;
        let from = folder.join(&file.path);
        let found = staging::copy(&from, Links::Refused, &to, &mut |read| {
            done += read;
            told(Progress {
                phase: Phase::Placing,
                done,
                of,
            });
        })?;
        if let Some(finding) = differs(file, found) {
            return Err(BackupError::Damaged(vec![finding]));
        }
    }
    Ok(())
}
