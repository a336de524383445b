//! A federation for the tests: three governance keys of which two must sign, and its epochs.

use std::{collections::BTreeMap, fs, path::PathBuf};

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, SigningKey},
    register::{FreshnessKeys, Register, SignedRegister},
    time::Timestamp,
};

use crate::home::Home;

pub(crate) struct Governance {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keys: Vec<SigningKey>,
}

impl Governance {
    pub(crate) fn new() -> Self {
        let keys = [1, 2, 3].map(|seed| SigningKey::from_seed(KeyUse::Governance, [seed; 32]));
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: keys.into(),
        }
    }

    pub(crate) fn home(&self) -> Home {
        Home::new(self.folder.path().join("home"))
    }

    /// The epoch after `before`, with a time of issue that tells it from others.
    pub(crate) fn epoch(&self, before: Option<&SignedRegister>, issued_at: i64) -> Register {
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

    pub(crate) fn signed(&self, register: &Register, by: &[usize]) -> SignedRegister {
        let mut signed = SignedRegister::unsigned(register).unwrap();
        for key in by {
            signed.sign(&self.keys[*key]).unwrap();
        }
        signed
    }

    /// The next epoch, signed by two.
    pub(crate) fn next(&self, before: Option<&SignedRegister>) -> SignedRegister {
        self.signed(&self.epoch(before, 1_000), &[0, 1])
    }

    pub(crate) fn file(&self, name: &str, register: &SignedRegister) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, register.encode()).unwrap();
        path
    }

    /// Three epochs in files, and the pin.
    pub(crate) fn three(&self) -> ([PathBuf; 3], Digest) {
        let first = self.next(None);
        let second = self.next(Some(&first));
        let third = self.next(Some(&second));
        let pin = first.digest();
        let paths = [("1", &first), ("2", &second), ("3", &third)]
            .map(|(name, epoch)| self.file(name, epoch));
        (paths, pin)
    }
}
