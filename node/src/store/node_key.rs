//! The node's key, and what lies under it: the store's key and the node's other secrets.
//!
//! ```text
//! passphrase file ──argon2id(salt, costs in `store.key`)──┐
//!                                                         ├─▶ node's key ──▶ store's key (in `store.key`)
//! systemd credential ──HKDF────────────────────────────────┘             └─▶ secrets of the keyring
//! ```
//!
//! The node's key is never written. Refuses a passphrase that is too short to protect anything,
//! a file of a newer version, and cost parameters that would exhaust the machine.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{StoreError, crypt::derived};

/// The file beside the database that holds the wrapped store key.
pub const KEY_FILE: &str = "store.key";
/// The shortest passphrase that is taken, in characters.
pub const MIN_PASSPHRASE: usize = 12;
/// The fewest bytes of a credential.
pub const MIN_CREDENTIAL: usize = 32;

const VERSION: u32 = 1;
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;
const STORE_KEY_LABEL: &str = "store key";

/// Why the node's key, or something under it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// A file cannot be read or written.
    #[error("`{path}` cannot be used: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// systemd gave no credentials to this process.
    #[error(
        "`$CREDENTIALS_DIRECTORY` is not set; start the node by systemd with `LoadCredential=`, or name a passphrase file"
    )]
    NoCredentials,
    /// The passphrase is too short.
    #[error(
        "the passphrase in `{0}` has fewer than {MIN_PASSPHRASE} characters; choose a longer one"
    )]
    ShortPassphrase(String),
    /// The credential is too short.
    #[error(
        "the credential `{0}` has fewer than {MIN_CREDENTIAL} bytes; make one with `head -c 32 /dev/urandom`"
    )]
    ShortCredential(String),
    /// The key file is not one.
    #[error("`{path}` is no store key: {why}; restore it from a backup")]
    Unreadable {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key file was written by a newer version.
    #[error("`{path}` has version {found}, this version reads {VERSION}; update portcullis")]
    Newer {
        /// Which file.
        path: String,
        /// Its version.
        found: u32,
    },
    /// The passphrase or credential is another one, or what it sealed was changed.
    #[error("the passphrase or credential does not open `{0}`; give the one it was made with")]
    Wrong(String),
    /// The cryptographic library refused what must always succeed.
    #[error(transparent)]
    Cryptography(#[from] StoreError),
}

/// Where the node's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file whose first line is a passphrase.
    PassphraseFile(PathBuf),
    /// A systemd credential of this name: random bytes in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Where the node's key lies, as far as a thief of the database is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the store's own folder or below: who copies the folder has both.
    BesideStore,
    /// On the same file system: who takes the disk has both.
    SameDisk,
    /// Elsewhere.
    Elsewhere,
}

impl KeySource {
    /// The file it is read from.
    ///
    /// # Errors
    ///
    /// [`NodeKeyError::NoCredentials`] if systemd gave none.
    pub fn path(&self) -> Result<PathBuf, NodeKeyError> {
        match self {
            Self::PassphraseFile(path) => Ok(path.clone()),
            Self::Credential(name) => env::var_os("CREDENTIALS_DIRECTORY")
                .map(|folder| Path::new(&folder).join(name))
                .ok_or(NodeKeyError::NoCredentials),
        }
    }

    /// Where it lies in relation to the store in `dir`.
    ///
    /// # Errors
    ///
    /// [`NodeKeyError`] if either cannot be looked at.
    pub fn place(&self, dir: &Path) -> Result<KeyPlace, NodeKeyError> {
        let path = self.path()?;
        let key = fs::canonicalize(&path).map_err(|source| file_error(&path, source))?;
        let store = fs::canonicalize(dir).map_err(|source| file_error(dir, source))?;
        let disk = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        if key.starts_with(&store) {
            return Ok(KeyPlace::BesideStore);
        }
        let key_disk = disk(&key).map_err(|source| file_error(&key, source))?;
        let store_disk = disk(&store).map_err(|source| file_error(&store, source))?;
        if key_disk == store_disk {
            Ok(KeyPlace::SameDisk)
        } else {
            Ok(KeyPlace::Elsewhere)
        }
    }
}

/// What a passphrase costs to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    /// RFC 9106 §4, the second recommended option.
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 4,
        }
    }
}

/// The key above all others of a node. It is wiped when dropped, never printed, never written.
pub struct NodeKey(Zeroizing<[u8; 32]>);

impl NodeKey {
    /// Takes 32 bytes that nobody can guess.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey")
    }
}

/// The key of a store. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// Takes 32 bytes that nobody can guess.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws one at random.
    ///
    /// # Errors
    ///
    /// [`StoreError::Cryptography`] if there is no randomness to be had.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut()).map_err(|_| StoreError::Cryptography("the random source"))?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey")
    }
}

/// The two keys that a node holds while it runs.
#[derive(Debug)]
pub struct Unlocked {
    /// The node's key, for the secrets of its keyring.
    pub node: NodeKey,
    /// The store's key.
    pub store: StoreKey,
}

/// The file `store.key`: how the node's key is made, and the store's key under it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    derivation: Derivation,
    sealed: String,
}

/// How the node's key is made of its source.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
enum Derivation {
    /// Of a passphrase, by argon2id.
    Argon2id {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: String,
    },
    /// Of random bytes, by HKDF.
    Hkdf,
}

/// Makes a store key, wraps it under the node's key and writes `store.key` into `dir`.
///
/// # Errors
///
/// [`NodeKeyError`]; a key file that is there already is never overwritten.
pub fn create(dir: &Path, source: &KeySource, cost: Cost) -> Result<Unlocked, NodeKeyError> {
    let path = dir.join(KEY_FILE);
    let secret = Secret::read(source)?;
    let derivation = secret.fresh_derivation(cost)?;
    let node = secret.node_key(&derivation, &path)?;
    let store = StoreKey::random()?;
    let sealed = seal_secret(&node, STORE_KEY_LABEL, store.bytes())?;
    let file = KeyFile {
        version: VERSION,
        derivation,
        sealed: data_encoding::BASE64.encode(&sealed),
    };
    write_new(&path, &file).map_err(|source| file_error(&path, source))?;
    Ok(Unlocked { node, store })
}

/// Makes the node's key again and opens the store's key in `dir` with it.
///
/// # Errors
///
/// [`NodeKeyError`] says whether the source, the file or the passphrase is at fault.
pub fn unlock(dir: &Path, source: &KeySource) -> Result<Unlocked, NodeKeyError> {
    let path = dir.join(KEY_FILE);
    let text = fs::read_to_string(&path).map_err(|source| file_error(&path, source))?;
    let file = read_key_file(&path, &text)?;
    let node = Secret::read(source)?.node_key(&file.derivation, &path)?;
    let wrong = || NodeKeyError::Wrong(path.display().to_string());
    let sealed = data_encoding::BASE64
        .decode(file.sealed.as_bytes())
        .map_err(|_| unreadable(&path, "`sealed` is not base64"))?;
    let store = open_secret(&node, STORE_KEY_LABEL, &sealed).ok_or_else(wrong)?;
    let store = store.as_slice().try_into().map_err(|_| wrong())?;
    Ok(Unlocked {
        node,
        store: StoreKey::from_bytes(store),
    })
}

/// Seals a small secret of the node, such as the seed of a signing key, under the node's key.
/// `label` says what it is and must be the same when it is opened.
///
/// # Errors
///
/// [`StoreError::Cryptography`] if the cryptographic library fails.
pub fn seal_secret(key: &NodeKey, label: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
    let failed = |_| StoreError::Cryptography("sealing a secret");
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(failed)?;
    let mut sealed = secret.to_vec();
    secret_cipher(key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(secret_label(label)),
            &mut sealed,
        )
        .map_err(failed)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Opens what [`seal_secret`] made; `None` if key, label or bytes are not those.
#[must_use]
pub fn open_secret(key: &NodeKey, label: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = secret_cipher(key)
        .ok()?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(secret_label(label)),
            &mut buffer,
        )
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

fn secret_label(label: &str) -> Vec<u8> {
    format!("portcullis secret v1\0{label}").into_bytes()
}

fn secret_cipher(key: &NodeKey) -> Result<LessSafeKey, StoreError> {
    let key = derived(&key.0, "secrets v1")?;
    UnboundKey::new(&AES_256_GCM, key.as_ref())
        .map(LessSafeKey::new)
        .map_err(|_| StoreError::Cryptography("AES-256-GCM"))
}

/// What was read from a source.
enum Secret {
    Passphrase(Zeroizing<String>),
    Credential(Zeroizing<Vec<u8>>),
}

impl Secret {
    fn read(source: &KeySource) -> Result<Self, NodeKeyError> {
        let path = source.path()?;
        let bytes = fs::read(&path).map_err(|source| file_error(&path, source))?;
        let bytes = Zeroizing::new(bytes);
        match source {
            KeySource::PassphraseFile(_) => passphrase(&path, &bytes),
            KeySource::Credential(name) if bytes.len() < MIN_CREDENTIAL => {
                Err(NodeKeyError::ShortCredential(name.clone()))
            }
            KeySource::Credential(_) => Ok(Self::Credential(bytes)),
        }
    }

    fn fresh_derivation(&self, cost: Cost) -> Result<Derivation, NodeKeyError> {
        match self {
            Self::Passphrase(_) => {
                let mut salt = [0; 16];
                rand::fill(&mut salt).map_err(|_| StoreError::Cryptography("the random source"))?;
                Ok(Derivation::Argon2id {
                    memory_kib: cost.memory_kib,
                    passes: cost.passes,
                    lanes: cost.lanes,
                    salt: data_encoding::BASE64.encode(&salt),
                })
            }
            Self::Credential(_) => Ok(Derivation::Hkdf),
        }
    }

    fn node_key(&self, derivation: &Derivation, path: &Path) -> Result<NodeKey, NodeKeyError> {
        match (self, derivation) {
            (
                Self::Passphrase(passphrase),
                Derivation::Argon2id {
                    memory_kib,
                    passes,
                    lanes,
                    salt,
                },
            ) => {
                let cost = Cost {
                    memory_kib: *memory_kib,
                    passes: *passes,
                    lanes: *lanes,
                };
                stretched(passphrase, cost, salt).map_err(|why| unreadable(path, &why))
            }
            (Self::Credential(bytes), Derivation::Hkdf) => {
                let digest = <sha2::Sha256 as sha2::Digest>::digest(bytes.as_slice()).into();
                Ok(NodeKey(derived(&digest, "node key of a credential v1")?))
            }
            (Self::Passphrase(_), Derivation::Hkdf)
            | (Self::Credential(_), Derivation::Argon2id { .. }) => {
                Err(NodeKeyError::Wrong(path.display().to_string()))
            }
        }
    }
}

/// The first line of a passphrase file.
fn passphrase(path: &Path, bytes: &[u8]) -> Result<Secret, NodeKeyError> {
    let short = || NodeKeyError::ShortPassphrase(path.display().to_string());
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable(path, "it is not UTF-8"))?;
    let line = text.lines().next().ok_or_else(short)?;
    if line.chars().count() < MIN_PASSPHRASE {
        return Err(short());
    }
    Ok(Secret::Passphrase(Zeroizing::new(line.to_owned())))
}

fn stretched(passphrase: &str, cost: Cost, salt: &str) -> Result<NodeKey, String> {
    if cost.memory_kib > MAX_MEMORY_KIB || cost.passes > MAX_PASSES || cost.lanes > MAX_LANES {
        return Err("its costs are higher than this version allows".to_owned());
    }
    let salt = data_encoding::BASE64
        .decode(salt.as_bytes())
        .map_err(|_| "`salt` is not base64".to_owned())?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|error| error.to_string())?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &salt, key.as_mut())
        .map_err(|error| error.to_string())?;
    Ok(NodeKey(key))
}

fn read_key_file(path: &Path, text: &str) -> Result<KeyFile, NodeKeyError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } =
        serde_json::from_str(text).map_err(|error| unreadable(path, &error.to_string()))?;
    if version != VERSION {
        return Err(NodeKeyError::Newer {
            path: path.display().to_string(),
            found: version,
        });
    }
    serde_json::from_str(text).map_err(|error| unreadable(path, &error.to_string()))
}

/// Writes a file that must not be there yet, for its owner alone, and makes it durable.
fn write_new(path: &Path, file: &KeyFile) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(file)?;
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn file_error(path: &Path, source: std::io::Error) -> NodeKeyError {
    NodeKeyError::File {
        path: path.display().to_string(),
        source,
    }
}

fn unreadable(path: &Path, why: &str) -> NodeKeyError {
    NodeKeyError::Unreadable {
        path: path.display().to_string(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn passphrase_in(dir: &Path, text: &str) -> KeySource {
        let path = dir.join("passphrase");
        fs::write(&path, text).unwrap();
        KeySource::PassphraseFile(path)
    }

    fn edited(dir: &Path, from: &str, to: &str) {
        let path = dir.join(KEY_FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    #[test]
    fn the_same_passphrase_opens_the_same_store_key() {
        let dir = tempfile::tempdir().unwrap();
        let source = passphrase_in(dir.path(), "correct horse battery\nsecond line\n");
        let made = create(dir.path(), &source, CHEAP).unwrap();
        let opened = unlock(dir.path(), &source).unwrap();
        assert_eq!(made.store.bytes(), opened.store.bytes());
        assert_eq!(*made.node.0, *opened.node.0);
    }

    #[test]
    fn another_passphrase_is_wrong_and_a_short_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let source = passphrase_in(dir.path(), "correct horse battery");
        create(dir.path(), &source, CHEAP).unwrap();
        let other = passphrase_in(dir.path(), "correct horse batterz");
        assert!(matches!(
            unlock(dir.path(), &other),
            Err(NodeKeyError::Wrong(_))
        ));
        for short in ["", "\n", "elevenchars\nbut a long second line"] {
            let source = passphrase_in(dir.path(), short);
            let refused = create(dir.path(), &source, CHEAP);
            assert!(
                matches!(refused, Err(NodeKeyError::ShortPassphrase(_))),
                "{short:?}"
            );
        }
    }

    #[test]
    fn a_key_file_is_never_overwritten_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let source = passphrase_in(dir.path(), "correct horse battery");
        create(dir.path(), &source, CHEAP).unwrap();
        let before = fs::read(dir.path().join(KEY_FILE)).unwrap();
        assert!(create(dir.path(), &source, CHEAP).is_err());
        assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), before);
        let mode = fs::metadata(dir.path().join(KEY_FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_newer_or_changed_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let source = passphrase_in(dir.path(), "correct horse battery");
        create(dir.path(), &source, CHEAP).unwrap();
        let unlocked = || unlock(dir.path(), &source);
        edited(dir.path(), "\"passes\": 1", "\"passes\": 2");
        assert!(matches!(unlocked(), Err(NodeKeyError::Wrong(_))));
        edited(
            dir.path(),
            "\"memory_kib\": 64",
            "\"memory_kib\": 4000000000",
        );
        assert!(matches!(unlocked(), Err(NodeKeyError::Unreadable { .. })));
        edited(dir.path(), "\"sealed\"", "\"seeled\"");
        assert!(matches!(unlocked(), Err(NodeKeyError::Unreadable { .. })));
        edited(dir.path(), "\"version\": 1", "\"version\": 2");
        assert!(matches!(
            unlocked(),
            Err(NodeKeyError::Newer { found: 2, .. })
        ));
        fs::write(dir.path().join(KEY_FILE), "").unwrap();
        assert!(matches!(unlocked(), Err(NodeKeyError::Unreadable { .. })));
    }

    #[test]
    fn the_node_key_is_argon2id_of_rfc_9106() {
        // printf 'correct horse battery' | argon2 saltsaltsaltsalt -id -t 2 -m 6 -p 1 -l 32 -r
        let cost = Cost {
            memory_kib: 64,
            passes: 2,
            lanes: 1,
        };
        let salt = data_encoding::BASE64.encode(b"saltsaltsaltsalt");
        let key = stretched("correct horse battery", cost, &salt).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(key.0.as_slice()), ARGON2ID);
    }
    const ARGON2ID: &str = "dcb7638a055f238dd6d722c353b381f4e607345c8f4f308dc979fbe3034cad25";

    #[test]
    fn a_secret_opens_under_its_label_and_key_alone() {
        let key = NodeKey::from_bytes([1; 32]);
        let sealed = seal_secret(&key, "hop key", b"seed").unwrap();
        let opened = open_secret(&key, "hop key", &sealed);
        assert_eq!(opened.unwrap().as_slice(), b"seed");
        assert!(open_secret(&key, "log key", &sealed).is_none());
        assert!(open_secret(&NodeKey::from_bytes([2; 32]), "hop key", &sealed).is_none());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open_secret(&key, "hop key", &changed).is_none());
        }
        assert!(open_secret(&key, "hop key", &[]).is_none());
    }

    #[test]
    fn a_key_beside_the_store_is_told_from_one_elsewhere() {
        let store = tempfile::tempdir().unwrap();
        let beside = passphrase_in(store.path(), "correct horse battery");
        assert_eq!(beside.place(store.path()).unwrap(), KeyPlace::BesideStore);
        let other = tempfile::tempdir().unwrap();
        let apart = passphrase_in(other.path(), "correct horse battery");
        assert_eq!(apart.place(store.path()).unwrap(), KeyPlace::SameDisk);
        let missing = KeySource::PassphraseFile(other.path().join("none"));
        assert!(missing.place(store.path()).is_err());
    }

    #[test]
    fn keys_are_not_printed() {
        let unlocked = Unlocked {
            node: NodeKey::from_bytes([7; 32]),
            store: StoreKey::from_bytes([7; 32]),
        };
        assert_eq!(
            format!("{unlocked:?}"),
            "Unlocked { node: NodeKey, store: StoreKey }"
        );
    }
}
