//! Secrets at rest: a passphrase, and files sealed under it.
//!
//! The key of a sealed file is derived from the passphrase with Argon2id (RFC 9106) and a salt of
//! the file's own. The content is encrypted with AES-256-GCM. The readable parts of the file (its
//! format, the description of its content, a public key) are authenticated with it.
//!
//! An empty passphrase, a file that others can read, and parameters beyond those that a node would
//! write are refused. A passphrase or a sealed content is never printed.

mod place;

use std::{fmt, path::PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use place::KeyPlace;

use crate::files::{self, FileError};

const FORMAT: &str = "portcullis sealed file v1";

/// RFC 9106 §4, second recommended choice: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// Upper limits on the work that a file may ask of the machine that opens it.
const MOST_MEMORY_KIB: u32 = 1_048_576;
const MOST_PASSES: u32 = 32;
const MOST_LANES: u32 = 16;

/// Fewest characters of a passphrase that a person chooses.
pub const SHORTEST_CHOSEN: usize = 12;

/// Source of the passphrase of a node's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file that holds the passphrase on its first line.
    PassphraseFile(PathBuf),
    /// A credential that systemd passes to the service (`LoadCredentialEncrypted=`), named by its
    /// name.
    SystemdCredential(String),
}

/// Error of a secret that cannot be obtained or sealed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file, credential or input that should hold the passphrase is empty.
    #[error("the passphrase in `{0}` is empty; put the passphrase on its first line")]
    Empty(String),
    /// A chosen passphrase is too short.
    #[error(
        "a passphrase of {0} characters is too short; choose {SHORTEST_CHOSEN} or more, for instance four words"
    )]
    Short(usize),
    /// The two passphrases typed differ.
    #[error("the two passphrases differ; type the same one twice")]
    Differ,
    /// There is no terminal at which to ask.
    #[error("cannot ask for the passphrase: {0}; name a file with `--passphrase-file`")]
    Terminal(std::io::Error),
    /// The process was not started by systemd with this credential.
    #[error(
        "systemd gave no credential `{0}`; add `LoadCredentialEncrypted={0}` to the service, or set `passphrase_file` in `[key]`"
    )]
    NoCredential(String),
    /// The file is not a sealed file of this version.
    #[error(
        "not a sealed file of this version: {0}; check that it is the right file, or restore it from a backup"
    )]
    Format(String),
    /// The sealed file holds something else.
    #[error("the file holds {found}, and {expected} was expected; name the right file")]
    OtherContent {
        /// Description of its content.
        found: String,
        /// Description of the expected content.
        expected: String,
    },
    /// The passphrase is not the right one, or the file was changed.
    #[error(
        "the passphrase does not open the {0}; give the passphrase they were made with, or restore the file if it was changed"
    )]
    WrongPassphrase(String),
    /// The machine cannot derive the key.
    #[error("the key cannot be derived: {0}; is there enough free memory (64 MiB)?")]
    Derivation(argon2::Error),
    /// The system's random numbers or the cipher failed.
    #[error("the operating system or the cipher failed; nothing was written")]
    System,
}

/// A passphrase. It is wiped from memory when it is dropped, and is never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// Takes these bytes as the passphrase, without the line ends after them.
    ///
    /// # Errors
    ///
    /// [`SecretError::Empty`], which names `origin`, if nothing is left.
    pub fn new(bytes: &[u8], origin: &str) -> Result<Self, SecretError> {
        let end = bytes
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
            .map_or(0, |last| last.saturating_add(1));
        match bytes.get(..end) {
            Some(kept) if !kept.is_empty() => Ok(Self(Zeroizing::new(kept.to_vec()))),
            Some(_) | None => Err(SecretError::Empty(origin.to_owned())),
        }
    }

    /// Reads the passphrase from a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the file cannot be read, others can read it, or it is empty.
    pub fn from_file(path: &std::path::Path) -> Result<Self, SecretError> {
        Self::new(&files::read_secret(path)?, &path.display().to_string())
    }

    /// Reads the passphrase from the file, or asks for it at the terminal if there is no file.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it cannot be read or is empty.
    pub fn given_or_asked(
        file: Option<&std::path::Path>,
        question: &str,
    ) -> Result<Self, SecretError> {
        match file {
            Some(path) => Self::from_file(path),
            None => ask(question),
        }
    }

    /// As [`Self::given_or_asked`], for a new passphrase: it is asked for twice and must not be too
    /// short.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it cannot be read, is empty or too short, or the two inputs differ.
    pub fn chosen(file: Option<&std::path::Path>, question: &str) -> Result<Self, SecretError> {
        let chosen = Self::given_or_asked(file, question)?.long_enough()?;
        if file.is_none() && ask("the same again")?.0 != chosen.0 {
            return Err(SecretError::Differ);
        }
        Ok(chosen)
    }

    /// Refuses a passphrase that is too short to protect a new key.
    ///
    /// # Errors
    ///
    /// [`SecretError::Short`].
    pub fn long_enough(self) -> Result<Self, SecretError> {
        let length = String::from_utf8_lossy(&self.0).chars().count();
        if length < SHORTEST_CHOSEN {
            return Err(SecretError::Short(length));
        }
        Ok(self)
    }

    /// Returns the bytes, for a derivation of another kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn ask(question: &str) -> Result<Passphrase, SecretError> {
    let typed = rpassword::prompt_password(format!("{question}: "))
        .map(Zeroizing::new)
        .map_err(SecretError::Terminal)?;
    Passphrase::new(typed.as_bytes(), "the terminal")
}

impl KeySource {
    /// Reads the passphrase.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the source cannot be read or is empty.
    pub fn read(&self) -> Result<Passphrase, SecretError> {
        match self {
            Self::PassphraseFile(path) => Passphrase::from_file(path),
            Self::SystemdCredential(name) => credential(&credentials(name)?, name),
        }
    }

    /// Reads the passphrase that is to protect new keys, which must not be too short.
    ///
    /// # Errors
    ///
    /// [`SecretError`] as for [`Self::read`], or if it is too short.
    pub fn chosen(&self) -> Result<Passphrase, SecretError> {
        self.read()?.long_enough()
    }

    /// Returns the file that holds the passphrase if the operator named one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::PassphraseFile(path) => Some(path.clone()),
            Self::SystemdCredential(_) => None,
        }
    }

    /// Returns the path from which the passphrase is read.
    fn path(&self) -> Result<PathBuf, SecretError> {
        match self {
            Self::PassphraseFile(path) => Ok(path.clone()),
            Self::SystemdCredential(name) => Ok(credentials(name)?.join(name)),
        }
    }
}

/// Returns the folder in which systemd passes credentials.
fn credentials(name: &str) -> Result<PathBuf, SecretError> {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from)
        .ok_or_else(|| SecretError::NoCredential(name.to_owned()))
}

/// Reads a credential. Modes of the files are not checked, because systemd guards this folder
/// itself.
fn credential(folder: &std::path::Path, name: &str) -> Result<Passphrase, SecretError> {
    match files::read(&folder.join(name)) {
        Ok(bytes) => Passphrase::new(&Zeroizing::new(bytes), &format!("credential {name}")),
        Err(FileError::Missing { .. }) => Err(SecretError::NoCredential(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedFile {
    format: String,
    holds: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    argon2id: Costs,
    salt: String,
    nonce: String,
    sealed: String,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Seals `secret` and returns the text of its file.
///
/// `holds` describes the content in a few words; `public` is readable without the passphrase.
///
/// # Errors
///
/// [`SecretError`] if the system fails.
pub fn seal(
    passphrase: &Passphrase,
    holds: &str,
    public: Option<&str>,
    secret: &[u8],
) -> Result<String, SecretError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| SecretError::System)?;
    let costs = Costs {
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
    };
    let mut file = SealedFile {
        format: FORMAT.to_owned(),
        holds: holds.to_owned(),
        public: public.map(str::to_owned),
        argon2id: costs,
        salt: HEXLOWER.encode(&salt),
        nonce: String::new(),
        sealed: String::new(),
    };
    let mut content = Zeroizing::new(secret.to_vec());
    let nonce = cipher(passphrase, &file)?
        .seal_in_place_append_tag(Aad::from(open_part(&file)), &mut *content)
        .map_err(|_| SecretError::System)?;
    file.nonce = HEXLOWER.encode(nonce.as_ref());
    file.sealed = BASE64.encode(&content);
    let text = serde_json::to_string_pretty(&file).map_err(|_| SecretError::System)?;
    Ok(format!("{text}\n"))
}

/// Opens the text of a sealed file whose description must be `holds`.
///
/// # Errors
///
/// [`SecretError`] if it is not such a file, or the passphrase does not open it.
pub fn open(
    passphrase: &Passphrase,
    holds: &str,
    text: &str,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let file = parse(holds, text)?;
    let wrong = || SecretError::WrongPassphrase(holds.to_owned());
    let nonce = HEXLOWER
        .decode(file.nonce.as_bytes())
        .ok()
        .and_then(|bytes| Nonce::try_assume_unique_for_key(&bytes).ok())
        .ok_or_else(|| SecretError::Format("its nonce is malformed".into()))?;
    let mut content = BASE64
        .decode(file.sealed.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| SecretError::Format("its content is not base 64".into()))?;
    let opened = cipher(passphrase, &file)?
        .open_in_place(nonce, Aad::from(open_part(&file)), &mut content)
        .map_err(|_| wrong())?
        .len();
    content.truncate(opened);
    Ok(content)
}

/// Checks that the passphrase opens the text of a sealed file, whatever it holds.
///
/// # Errors
///
/// [`SecretError`] as for [`open`].
pub fn check(present: &Passphrase, text: &str) -> Result<(), SecretError> {
    let file: SealedFile =
        serde_json::from_str(text).map_err(|error| SecretError::Format(error.to_string()))?;
    open(present, &file.holds, text).map(drop)
}

/// Opens the text of a sealed file, whatever it holds, and seals its content under another
/// passphrase.
///
/// # Errors
///
/// [`SecretError`] as for [`open`].
pub fn reseal(present: &Passphrase, next: &Passphrase, text: &str) -> Result<String, SecretError> {
    let file: SealedFile =
        serde_json::from_str(text).map_err(|error| SecretError::Format(error.to_string()))?;
    let content = open(present, &file.holds, text)?;
    seal(next, &file.holds, file.public.as_deref(), &content)
}

/// Returns the public part of a sealed file, read without its passphrase and not authenticated.
///
/// # Errors
///
/// [`SecretError`] if it is not a sealed file whose description is `holds`.
pub fn public_part(holds: &str, text: &str) -> Result<Option<String>, SecretError> {
    Ok(parse(holds, text)?.public)
}

fn parse(holds: &str, text: &str) -> Result<SealedFile, SecretError> {
    let file: SealedFile =
        serde_json::from_str(text).map_err(|error| SecretError::Format(error.to_string()))?;
    if file.format != FORMAT {
        return Err(SecretError::Format(format!(
            "its format is `{}`, not `{FORMAT}`",
            file.format
        )));
    }
    if file.holds != holds {
        return Err(SecretError::OtherContent {
            found: file.holds,
            expected: holds.to_owned(),
        });
    }
    Ok(file)
}

/// Returns the authenticated bytes of the readable parts. Lengths come first, so that two parts
/// cannot run together.
fn open_part(file: &SealedFile) -> Vec<u8> {
    let public = file.public.as_deref().unwrap_or_default();
    format!(
        "{FORMAT}\n{} {} {}\n{}{public}",
        file.holds.len(),
        public.len(),
        file.salt,
        file.holds
    )
    .into_bytes()
}

fn cipher(passphrase: &Passphrase, file: &SealedFile) -> Result<RandomizedNonceKey, SecretError> {
    let Costs {
        memory_kib,
        passes,
        lanes,
    } = file.argon2id;
    if memory_kib > MOST_MEMORY_KIB || passes > MOST_PASSES || lanes > MOST_LANES {
        return Err(SecretError::Format(
            "it asks for more work than any node would".into(),
        ));
    }
    let salt = HEXLOWER
        .decode(file.salt.as_bytes())
        .map_err(|_| SecretError::Format("its salt is malformed".into()))?;
    let params =
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(SecretError::Derivation)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(&passphrase.0, &salt, key.as_mut())
        .map_err(SecretError::Derivation)?;
    RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| SecretError::System)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes(), "a test").unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_passphrase_alone() {
        let text = seal(&passphrase("right"), "node keys", None, b"secret").unwrap();
        assert!(!text.contains(&BASE64.encode(b"secret")));
        let opened = open(&passphrase("right"), "node keys", &text).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
        let refused = open(&passphrase("wrong"), "node keys", &text).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the passphrase does not open the node keys; give the passphrase they were made with, or restore the file if it was changed"
        );
    }

    #[test]
    fn a_public_part_that_was_changed_does_not_open() {
        let text = seal(&passphrase("right"), "person key", Some("aabb"), b"secret").unwrap();
        assert_eq!(
            public_part("person key", &text).unwrap().as_deref(),
            Some("aabb")
        );
        let changed = text.replace("aabb", "aabc");
        let refused = open(&passphrase("right"), "person key", &changed);
        assert!(matches!(refused, Err(SecretError::WrongPassphrase(_))));
    }

    #[test]
    fn any_changed_character_of_the_content_is_noticed() {
        let text = seal(&passphrase("right"), "node keys", None, b"secret").unwrap();
        let file: SealedFile = serde_json::from_str(&text).unwrap();
        let mut sealed = BASE64.decode(file.sealed.as_bytes()).unwrap();
        sealed[0] ^= 1;
        let changed = text.replace(&file.sealed, &BASE64.encode(&sealed));
        let refused = open(&passphrase("right"), "node keys", &changed);
        assert!(matches!(refused, Err(SecretError::WrongPassphrase(_))));
    }

    #[test]
    fn a_file_that_asks_for_endless_work_is_refused() {
        let text = seal(&passphrase("right"), "node keys", None, b"secret").unwrap();
        let greedy = text.replace("65536", "4000000000");
        let refused = open(&passphrase("right"), "node keys", &greedy);
        assert!(matches!(refused, Err(SecretError::Format(_))));
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let text = seal(&passphrase("right"), "person key", None, b"secret").unwrap();
        let refused = open(&passphrase("right"), "governance key", &text).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the file holds person key, and governance key was expected; name the right file"
        );
    }

    #[test]
    fn an_empty_passphrase_is_refused_and_ends_of_line_do_not_count() {
        assert!(matches!(
            Passphrase::new(b"\r\n", "p"),
            Err(SecretError::Empty(_))
        ));
        assert_eq!(passphrase("four words\r\n").as_bytes(), b"four words");
    }

    #[test]
    fn a_credential_is_read_from_the_folder_systemd_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("portcullis"), b"from systemd\n").unwrap();
        let given = credential(folder.path(), "portcullis").unwrap();
        assert_eq!(given.as_bytes(), b"from systemd");
        assert!(matches!(
            credential(folder.path(), "other"),
            Err(SecretError::NoCredential(_))
        ));
    }

    #[test]
    fn a_passphrase_is_not_printed() {
        assert_eq!(format!("{:?}", passphrase("hunter2")), "Passphrase(..)");
    }
}
