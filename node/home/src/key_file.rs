//! Key files of persons and of the governance, each opened with its owner's passphrase.
//!
//! The public half lies beside `NAME` in `NAME.pub` and can be handed on. A file of another use is
//! refused: a governance key cannot sign an act of a person, nor the other way round.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use portcullis_protocol::keys::{KeyError, KeyUse, PublicKey, SigningKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    files::{self, Access, FileError},
    secret::{self, Passphrase, SecretError},
};

const PUBLIC_FORMAT: &str = "portcullis public key v1";

/// Error of a key file that cannot be used. It is the owner's to correct.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sealed part cannot be opened or made.
    #[error("`{}`: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Underlying error.
        source: SecretError,
    },
    /// The file holds no key, or one of another use.
    #[error("`{}` holds no {usage} key: {reason}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Use of the key that was expected.
        usage: KeyUse,
        /// Description of the fault.
        reason: String,
    },
    /// The system's random numbers failed.
    #[error("the operating system gave no random numbers; nothing was written")]
    Random,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicFile {
    format: String,
    r#use: String,
    public: String,
    id: String,
}

/// Makes a key and writes it to `path`, sealed under its owner's passphrase. The public half is
/// written to the file beside it.
///
/// # Errors
///
/// [`KeyFileError`]; an existing file is never overwritten.
pub fn create(
    path: &Path,
    usage: KeyUse,
    passphrase: &Passphrase,
) -> Result<PublicKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyFileError::Random)?;
    keep(path, usage, &seed, passphrase)
}

/// Writes the key of this seed to `path`, as [`create`] does with one that it makes.
///
/// # Errors
///
/// [`KeyFileError`]; an existing file is never overwritten.
pub fn keep(
    path: &Path,
    usage: KeyUse,
    seed: &[u8; 32],
    passphrase: &Passphrase,
) -> Result<PublicKey, KeyFileError> {
    let public = SigningKey::from_seed(usage, *seed).public();
    let open = HEXLOWER.encode(&public.to_bytes());
    let text = secret::seal(passphrase, &holds(usage), Some(&open), seed)
        .map_err(|source| wrong(path, source))?;
    files::create(path, text.as_bytes(), Access::Owner)?;
    files::create(
        &public_path(path),
        public_text(&public)?.as_bytes(),
        Access::Everyone,
    )?;
    Ok(public)
}

/// Opens the key in `path`.
///
/// # Errors
///
/// [`KeyFileError`] if the file does not hold a key of this use, or the passphrase does not open
/// it.
pub fn open(
    path: &Path,
    usage: KeyUse,
    passphrase: &Passphrase,
) -> Result<SigningKey, KeyFileError> {
    let sealed = files::read_secret(path)?;
    let text = String::from_utf8_lossy(&sealed);
    let seed =
        secret::open(passphrase, &holds(usage), &text).map_err(|source| wrong(path, source))?;
    let seed = seed.as_slice().try_into().map(Zeroizing::new);
    let seed: Zeroizing<[u8; 32]> = seed.map_err(|_| no_key(path, usage, "it is damaged"))?;
    Ok(SigningKey::from_seed(usage, *seed))
}

/// File of a sealed key that was read and not opened. Faults of the file are told before anybody is
/// asked for a passphrase, and a wrong passphrase before a new one is chosen.
#[derive(Debug)]
pub struct SealedKey {
    path: PathBuf,
    text: Zeroizing<Vec<u8>>,
}

impl SealedKey {
    /// Reads the file, whatever the use of its key.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self {
            path: path.to_owned(),
            text: files::read_secret(path)?,
        })
    }

    /// Checks that the passphrase opens the key.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] if the file is no sealed key, or the passphrase does not open it.
    pub fn check(&self, present: &Passphrase) -> Result<(), KeyFileError> {
        secret::check(present, &self.text()).map_err(|source| wrong(&self.path, source))
    }

    /// Seals the key under another passphrase, in one step on the disk.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] as for [`Self::check`]. Nothing is changed then.
    pub fn change_passphrase(
        &self,
        present: &Passphrase,
        next: &Passphrase,
    ) -> Result<(), KeyFileError> {
        let again = secret::reseal(present, next, &self.text())
            .map_err(|source| wrong(&self.path, source))?;
        Ok(files::replace(&self.path, again.as_bytes(), Access::Owner)?)
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

/// Reads the public half of a key, from the file that holds the key or from the one beside it.
///
/// # Errors
///
/// [`KeyFileError`] if the file does not hold a key of this use.
pub fn public(path: &Path, usage: KeyUse) -> Result<PublicKey, KeyFileError> {
    let text = files::read_text(path)?;
    let hex = match serde_json::from_str::<PublicFile>(&text) {
        Ok(file) if file.format == PUBLIC_FORMAT && file.r#use == usage.name() => file.public,
        Ok(file) => {
            let reason = format!("it is a {} of a {} key", file.format, file.r#use);
            return Err(no_key(path, usage, &reason));
        }
        Err(_) => secret::public_part(&holds(usage), &text)
            .map_err(|source| wrong(path, source))?
            .unwrap_or_default(),
    };
    let bytes = HEXLOWER
        .decode(hex.as_bytes())
        .map_err(|_| no_key(path, usage, "its public key is not hexadecimal"))?;
    PublicKey::from_slice(usage, &bytes)
        .map_err(|error: KeyError| no_key(path, usage, &error.to_string()))
}

/// Returns the path of the public half of the key in `path`.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn public_text(public: &PublicKey) -> Result<String, KeyFileError> {
    let file = PublicFile {
        format: PUBLIC_FORMAT.to_owned(),
        r#use: public.usage().name().to_owned(),
        public: HEXLOWER.encode(&public.to_bytes()),
        id: public.id().to_string(),
    };
    serde_json::to_string_pretty(&file)
        .map(|text| format!("{text}\n"))
        .map_err(|_| KeyFileError::Random)
}

fn holds(usage: KeyUse) -> String {
    format!("{usage} key")
}

fn wrong(path: &Path, source: SecretError) -> KeyFileError {
    KeyFileError::Secret {
        path: path.to_owned(),
        source,
    }
}

fn no_key(path: &Path, usage: KeyUse, reason: &str) -> KeyFileError {
    KeyFileError::NoKey {
        path: path.to_owned(),
        usage,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase() -> Passphrase {
        Passphrase::new(b"four words in a row", "a test").unwrap()
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_both_files_say_its_public_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.key");
        let public_key = create(&path, KeyUse::Person, &passphrase()).unwrap();
        let key = open(&path, KeyUse::Person, &passphrase()).unwrap();
        assert_eq!(key.public(), public_key);
        assert_eq!(public(&path, KeyUse::Person).unwrap(), public_key);
        let beside = folder.path().join("anna.key.pub");
        assert_eq!(public(&beside, KeyUse::Person).unwrap(), public_key);
        assert_eq!(files::mode(&path).unwrap(), 0o600);
    }

    #[test]
    fn a_key_of_another_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gov.key");
        create(&path, KeyUse::Governance, &passphrase()).unwrap();
        assert!(open(&path, KeyUse::Person, &passphrase()).is_err());
        assert!(public(&path, KeyUse::Person).is_err());
        let refused = public(&public_path(&path), KeyUse::Person).unwrap_err();
        assert!(refused.to_string().contains("of a governance key"));
    }

    #[test]
    fn a_wrong_passphrase_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gov.key");
        create(&path, KeyUse::Governance, &passphrase()).unwrap();
        let other = Passphrase::new(b"another passphrase", "a test").unwrap();
        let refused = open(&path, KeyUse::Governance, &other).unwrap_err();
        assert!(refused.to_string().contains("gov.key"), "{refused}");
        assert!(refused.to_string().contains("does not open"), "{refused}");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gov.key");
        let first = create(&path, KeyUse::Governance, &passphrase()).unwrap();
        assert!(create(&path, KeyUse::Governance, &passphrase()).is_err());
        assert_eq!(public(&path, KeyUse::Governance).unwrap(), first);
    }
}
