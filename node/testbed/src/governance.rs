//! A federation for the tests: three governance keys, two of which must sign, and its epochs.

use std::{collections::BTreeMap, fs, path::PathBuf};

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, SigningKey},
    register::{FreshnessKeys, Register, SignedRegister},
    time::Timestamp,
};

/// Governance keys, of which two of three must sign, and a folder for files.
#[derive(Debug)]
pub struct Governance {
    /// The folder of the files.
    pub folder: tempfile::TempDir,
    /// The governance keys.
    pub keys: Vec<SigningKey>,
}

impl Default for Governance {
    fn default() -> Self {
        Self::new()
    }
}

impl Governance {
    /// Makes the keys, from fixed seeds, and an empty folder.
    #[must_use]
    pub fn new() -> Self {
        let keys = [1, 2, 3].map(|seed| SigningKey::from_seed(KeyUse::Governance, [seed; 32]));
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: keys.into(),
        }
    }

    /// The folder of a node's home among the federation's files.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Returns the epoch after `before`; `issued_at` tells it from other epochs.
    #[must_use]
    pub fn epoch(&self, before: Option<&SignedRegister>, issued_at: i64) -> Register {
        Register {
            federation: "eu-ports".parse().unwrap(),
            epoch: before.map_or(1, |before| before.unverified().unwrap().epoch + 1),
            previous: before.map(SignedRegister::digest),
            development: false,
            threshold: 2,
            governance: self.keys.iter().map(SigningKey::public).collect(),
            freshness: FreshnessKeys::default(),
            authorities: BTreeMap::new(),
            issued_at: Timestamp::from_millis(issued_at),
            former: BTreeMap::new(),
        }
    }

    /// Signs a register with the keys of these indexes.
    #[must_use]
    pub fn signed(&self, register: &Register, by: &[usize]) -> SignedRegister {
        let mut signed = SignedRegister::unsigned(register).unwrap();
        for key in by {
            signed.sign(&self.keys[*key]).unwrap();
        }
        signed
    }

    /// Returns the next epoch, signed by two keys.
    #[must_use]
    pub fn next(&self, before: Option<&SignedRegister>) -> SignedRegister {
        self.signed(&self.epoch(before, 1_000), &[0, 1])
    }

    /// Writes a register to a file of this name, and gives its path.
    #[must_use]
    pub fn file(&self, name: &str, register: &SignedRegister) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, register.encode()).unwrap();
        path
    }

    /// Returns three epochs in files, and the pin.
    #[must_use]
    pub fn three(&self) -> ([PathBuf; 3], Digest) {
        let first = self.next(None);
        let second = self.next(Some(&first));
        let third = self.next(Some(&second));
        let pin = first.digest();
        let paths = [("1", &first), ("2", &second), ("3", &third)]
            .map(|(name, epoch)| self.file(name, epoch));
        (paths, pin)
    }
}
