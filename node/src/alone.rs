//! One process at a home.
//!
//! Two nodes of one home would each seal by sums that the other changes, wrap keys that the other no
//! longer opens, and take up what the other was told. So whoever opens the store for more than a look
//! locks the folder of the home first, and holds it as long as the store is open. The system gives the
//! lock back when the process ends, however it ends.
//!
//! The folder itself is locked (flock(2)): a file for it would belong to whoever was first, and root's
//! `doctor --full` would keep the node's own user out.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

use portcullis_home::{Home, files::FileError};

/// Lock of a home, held until it is dropped.
#[derive(Debug)]
pub struct Alone {
    _locked: File,
}

/// Reason for which a home is not locked.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Another process holds it.
    #[error(
        "another process uses `{}`: a node, or a check of its store; stop it first, or give this one a home of its own",
        .0.display()
    )]
    Taken(PathBuf),
    /// The folder cannot be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Alone {
    /// Locks a home for this process.
    ///
    /// # Errors
    ///
    /// [`AloneError`] if another process holds it, or the folder cannot be locked.
    pub fn at(home: &Home) -> Result<Self, AloneError> {
        let path = home.folder();
        let failed = |what, source| FileError::system(what, path, source);
        let folder = File::open(path).map_err(|source| failed("open", source))?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { _locked: folder }),
            Err(TryLockError::WouldBlock) => Err(AloneError::Taken(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", source).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_locked_by_one_and_free_when_that_one_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let first = Alone::at(&home).unwrap();
        assert!(matches!(Alone::at(&home), Err(AloneError::Taken(_))));
        drop(first);
        Alone::at(&home).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
