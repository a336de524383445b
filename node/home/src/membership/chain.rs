//! The chain of epochs in a home, verified from the pin on each start.
//!
//! Refuses an epoch that is older, skips one, names another predecessor or lacks signatures; each
//! refusal names its rule. Nothing is installed unless all of it verifies.

use std::path::{Path, PathBuf};

use portcullis_protocol::{
    digest::Digest,
    register::{RegisterError, SignedRegister, VerifiedRegister},
    rules::Rule,
    verify::Refusal,
};

use crate::{
    Home,
    files::{self, Access, FileError},
};

const EXTENSION: &str = "register";

/// Why a chain of epochs is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home holds no epoch.
    #[error("there is no register in `{}`; run `portcullis federation apply FILE`", .0.display())]
    None(PathBuf),
    /// An epoch is refused.
    #[error("`{}` is refused: {}: {}; {}", path.display(), refusal.rule, refusal.detail, refusal.rule.remedy())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule and what about it.
        refusal: Refusal,
    },
}

impl ChainError {
    fn refused(path: &Path, refusal: Refusal) -> Self {
        Self::Refused {
            path: path.to_owned(),
            refusal,
        }
    }

    /// The rule that refuses, if one does.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.rule),
            Self::File(_) | Self::None(_) => None,
        }
    }
}

/// Loads the register of a node: every epoch in its home, from the pinned one to the newest.
///
/// # Errors
///
/// [`ChainError`] if there is none or one is refused.
pub fn load_chain(home: &Home, pin: &Digest) -> Result<VerifiedRegister, ChainError> {
    newest(load_epochs(home, pin)?, home)
}

/// Loads every epoch in a node's home, ascending, each verified after the one before.
///
/// # Errors
///
/// [`ChainError`] if there is none or one is refused.
pub fn load_epochs(home: &Home, pin: &Digest) -> Result<Vec<VerifiedRegister>, ChainError> {
    let paths = files::list(&home.register(), EXTENSION)?;
    if paths.is_empty() {
        return Err(ChainError::None(home.register()));
    }
    verified(&paths, pin)
}

fn newest(mut epochs: Vec<VerifiedRegister>, home: &Home) -> Result<VerifiedRegister, ChainError> {
    epochs
        .pop()
        .ok_or_else(|| ChainError::None(home.register()))
}

/// Adds epochs that were verified to those that a home holds. One that is there already, octet
/// for octet the same content, is passed over.
///
/// # Errors
///
/// [`ChainError`] if a file cannot be written, or another epoch has its number.
pub fn append(home: &Home, epochs: &[VerifiedRegister]) -> Result<(), ChainError> {
    files::create_folder(&home.register())?;
    for verified in epochs {
        let path = epoch_path(home, verified.register().epoch);
        match files::create(&path, &verified.signed().encode(), Access::Everyone) {
            Ok(()) => {}
            Err(error @ FileError::Exists { .. }) => {
                if read_epoch(&path)?.digest() != verified.digest() {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Verifies epochs that lie in files, the first against the pin, and gives the newest. The files
/// may be named in any order.
///
/// # Errors
///
/// [`ChainError`] if one is refused, or there is none.
pub fn verify_files(paths: &[PathBuf], pin: &Digest) -> Result<VerifiedRegister, ChainError> {
    verified(paths, pin)?
        .pop()
        .ok_or_else(|| ChainError::None(PathBuf::from("the files named")))
}

fn verified(paths: &[PathBuf], pin: &Digest) -> Result<Vec<VerifiedRegister>, ChainError> {
    let mut epochs: Vec<VerifiedRegister> = Vec::new();
    for (path, epoch) in in_order(paths)? {
        let verified = match epochs.last() {
            None => VerifiedRegister::first(epoch, pin),
            Some(present) => present.next(epoch),
        };
        epochs.push(verified.map_err(|refusal| ChainError::refused(&path, refusal))?);
    }
    Ok(epochs)
}

/// Installs epochs in a home after the ones it holds, and gives the newest. An epoch that the home
/// holds already, octet for octet the same content, is passed over; nothing else older is.
///
/// # Errors
///
/// [`ChainError`] if one is refused; nothing is installed then.
pub fn install(
    home: &Home,
    pin: &Digest,
    paths: &[PathBuf],
) -> Result<VerifiedRegister, ChainError> {
    let mut held = held_epochs(home, pin)?;
    let before = held.len();
    for (path, epoch) in in_order(paths)? {
        let digest = epoch.digest();
        if held.iter().any(|verified| verified.digest() == digest) {
            continue;
        }
        let verified = match held.last() {
            None => VerifiedRegister::first(epoch, pin),
            Some(newest) => newest.next(epoch),
        };
        held.push(verified.map_err(|refusal| ChainError::refused(&path, refusal))?);
    }
    // In their order: if the process is killed between two, what is there is still a chain.
    append(home, held.get(before..).unwrap_or_default())?;
    held.pop().ok_or_else(|| ChainError::None(home.register()))
}

/// Where a home keeps an epoch.
#[must_use]
pub fn epoch_path(home: &Home, epoch: u64) -> PathBuf {
    home.register().join(format!("{epoch:08}.{EXTENSION}"))
}

fn held_epochs(home: &Home, pin: &Digest) -> Result<Vec<VerifiedRegister>, ChainError> {
    let mut held: Vec<VerifiedRegister> = Vec::new();
    for path in files::list(&home.register(), EXTENSION)? {
        let epoch = read_epoch(&path)?;
        let verified = match held.last() {
            None => VerifiedRegister::first(epoch, pin),
            Some(newest) => newest.next(epoch),
        };
        held.push(verified.map_err(|refusal| ChainError::refused(&path, refusal))?);
    }
    Ok(held)
}

/// The epochs of these files, by the number each says it has.
fn in_order(paths: &[PathBuf]) -> Result<Vec<(PathBuf, SignedRegister)>, ChainError> {
    let mut epochs = Vec::with_capacity(paths.len());
    for path in paths {
        let epoch = read_epoch(path)?;
        let number = epoch
            .unverified()
            .map_err(|error| ChainError::refused(path, error.into()))?
            .epoch;
        epochs.push((number, path.clone(), epoch));
    }
    epochs.sort_by_key(|(number, ..)| *number);
    Ok(epochs
        .into_iter()
        .map(|(_, path, epoch)| (path, epoch))
        .collect())
}

/// Reads an epoch from a file; nothing is verified.
///
/// # Errors
///
/// [`ChainError`] if it is none.
pub fn read_epoch(path: &Path) -> Result<SignedRegister, ChainError> {
    SignedRegister::decode(&files::read(path)?)
        .map_err(|error: RegisterError| ChainError::refused(path, error.into()))
}
