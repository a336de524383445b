//! Chain of epochs in a home, verified from the pin on each start.
//!
//! An epoch that is older, skips one, names another predecessor or lacks signatures is refused;
//! each refusal names its rule. Nothing is installed unless all epochs verify.

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

/// Error of a chain of epochs that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home holds no epoch.
    #[error("there is no register in `{}`; run `portcullis federation apply FILE`", .0.display())]
    None(PathBuf),
    /// An epoch or its content is refused.
    #[error("`{}` is refused: {}: {}; {}", path.display(), refusal.rule, refusal.detail, refusal.rule.remedy())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Rule that refuses, with details.
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

    /// Returns the rule that refuses, if there is one.
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
/// [`ChainError`] if there is no epoch or one is refused.
pub fn load_chain(home: &Home, pin: &Digest) -> Result<VerifiedRegister, ChainError> {
    newest(load_epochs(home, pin)?, home)
}

/// Loads every epoch in a node's home, ascending, each verified after the one before.
///
/// # Errors
///
/// [`ChainError`] if there is no epoch or one is refused.
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

/// Adds verified epochs to those that a home holds. An epoch that is there already with the same
/// content, octet for octet, is passed over.
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

/// Verifies epochs in files, the first one against the pin, and returns the newest. The files may
/// be named in any order.
///
/// # Errors
///
/// [`ChainError`] if an epoch is refused, or there is none.
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

/// Installs epochs in a home after the ones it holds, and returns the newest. An epoch that the
/// home holds already with the same content, octet for octet, is passed over; any other older epoch
/// is refused.
///
/// # Errors
///
/// [`ChainError`] if an epoch is refused or cannot be written. Nothing is installed if one is
/// refused.
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
    // Epochs are written in order. If the process is killed between two of them, the home still
    // holds a chain.
    append(home, held.get(before..).unwrap_or_default())?;
    held.pop().ok_or_else(|| ChainError::None(home.register()))
}

/// Returns the path at which a home keeps an epoch.
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

/// Reads the epochs of these files and sorts them by the number that each states.
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

/// Reads an epoch from a file. It verifies nothing.
///
/// # Errors
///
/// [`ChainError`] if the file cannot be read or holds no epoch.
pub fn read_epoch(path: &Path) -> Result<SignedRegister, ChainError> {
    SignedRegister::decode(&files::read(path)?)
        .map_err(|error: RegisterError| ChainError::refused(path, error.into()))
}
