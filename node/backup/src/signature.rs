//! The signature of a backup. The node's log key signs the manifest of the data, which names the
//! digest of every file and the digest of the keys' manifest.
//!
//! The log key vouches for this node's own state at a moment, as it does with a checkpoint. A
//! checker finds the key in two places. One is the register in the backup, whose chain begins at a
//! pin that an operator can name. The other is the manifest of the keys, which is kept by other
//! people. Refuses a signature that neither place confirms, if either is at hand.

use std::{collections::BTreeSet, path::Path};

use portcullis_protocol::{
    digest::Digest,
    identifiers::NodeId,
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    register::VerifiedRegister,
    statement::{StatementType, sign_detached, verify_detached},
};
use serde::{Deserialize, Serialize};

use super::{BackupError, manifest::Manifest};
use portcullis_home::{
    Home,
    config::Config,
    files::{self, FileError},
    membership::{ChainError, load_epochs},
};

/// Name of the signature's file, beside the manifest of the data.
pub const SIGNATURE_FILE: &str = "manifest.sig";

/// Statement type of a backup's manifest.
struct BackupStatement;

impl StatementType for BackupStatement {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.backup.v1";
    const KEY_USE: KeyUse = KeyUse::Log;
}

/// Signature over the bytes of a manifest: that of a DSSE envelope with these bytes as payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Signature {
    /// The DSSE payload type.
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// Id of the key, hexadecimal.
    keyid: String,
    /// The signature, base 64.
    sig: String,
}

/// Source that vouches for the key that signed a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Vouched {
    /// The register in the backup lists the key for the node; this epoch is the first that does.
    Register(u64),
    /// The manifest of the keys names the key; the register lists no log key of the node.
    Keys,
    /// Nothing: the keys were not named, and the register lists no log key of the node.
    Nobody,
}

/// The checked signature of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Signed {
    /// The id of the key, hexadecimal.
    pub key: String,
    /// Source that vouches for the key.
    pub vouched: Vouched,
    /// Digest of the register's first epoch, from the configuration in the backup.
    pub pin: String,
}

/// Signs a manifest and returns the text of the signature's file.
pub(super) fn sign(manifest: &[u8], key: &SigningKey) -> Result<Vec<u8>, BackupError> {
    let signature = sign_detached::<BackupStatement>(manifest, key)
        .map_err(|error| BackupError::Unwritable(error.to_string()))?;
    let signature = Signature {
        payload_type: BackupStatement::PAYLOAD_TYPE.to_owned(),
        keyid: key.id().to_string(),
        sig: data_encoding::BASE64.encode(&signature),
    };
    let mut text = serde_json::to_vec_pretty(&signature)
        .map_err(|error| BackupError::Unwritable(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// The check of a signature.
pub(super) struct Check<'a> {
    /// The folder of the data.
    pub(super) from: &'a Path,
    /// The manifest of the data, and its bytes, which were signed.
    pub(super) manifest: (&'a Manifest, &'a [u8]),
    /// Manifest of the keys, if it is at hand.
    pub(super) keys: Option<&'a Manifest>,
    /// Digest of the register's first epoch, if the operator named it.
    pub(super) pin: Option<&'a Digest>,
}

impl Check<'_> {
    /// Checks the signature with every key that is at hand.
    pub(super) fn run(&self) -> Result<Signed, BackupError> {
        let signature = self.read()?;
        let home = Home::new(self.from);
        let config = Config::load(&home.config()).map_err(damaged)?;
        if self.pin.is_some_and(|pin| *pin != config.register_pin) {
            return Err(self.forged("its register begins with another epoch than the one named"));
        }
        let listed = self.listed(&home, &config)?;
        if self.pin.is_some() && listed.is_empty() {
            return Err(self.forged("its register lists no log key of the node"));
        }
        let named = self.keys.map(|keys| self.named(keys)).transpose()?;
        let mut vouched = Vouched::Nobody;
        if let Some(key) = named {
            self.verify(&signature, &key)?;
            vouched = Vouched::Keys;
        }
        if !listed.is_empty() {
            let key = listed
                .iter()
                .find(|(_, key)| key.id().to_string() == signature.keyid);
            let (epoch, key) =
                key.ok_or_else(|| self.forged("the register lists no such log key of this node"))?;
            self.verify(&signature, key)?;
            vouched = Vouched::Register(*epoch);
        }
        Ok(Signed {
            key: signature.keyid,
            vouched,
            pin: config.register_pin.to_string(),
        })
    }

    fn read(&self) -> Result<Signature, BackupError> {
        let bytes = match files::read(&self.from.join(SIGNATURE_FILE)) {
            Ok(bytes) => bytes,
            Err(FileError::Missing { .. }) => return Err(self.forged("it is not signed")),
            Err(error) => return Err(error.into()),
        };
        let signature: Signature = serde_json::from_slice(&bytes)
            .map_err(|error| self.forged(&format!("its signature cannot be read: {error}")))?;
        if signature.payload_type == BackupStatement::PAYLOAD_TYPE {
            Ok(signature)
        } else {
            Err(self.forged("its signature is one of something else"))
        }
    }

    /// Returns the log keys that the epochs of the register in the backup list for the node, each
    /// with the number of its epoch, the oldest first. Compromised keys are left out.
    fn listed(&self, home: &Home, config: &Config) -> Result<Vec<(u64, PublicKey)>, BackupError> {
        let epochs = match load_epochs(home, &config.register_pin) {
            Ok(epochs) => epochs,
            Err(ChainError::None(_)) => return Ok(Vec::new()),
            Err(error) => return Err(damaged(error)),
        };
        let ended = compromised(&epochs);
        let listed = epochs
            .iter()
            .flat_map(|epoch| log_keys(epoch, &config.node));
        Ok(listed
            .filter(|(_, key)| !ended.contains(&key.id()))
            .collect())
    }

    /// Returns the key that the manifest of the keys names.
    fn named(&self, keys: &Manifest) -> Result<PublicKey, BackupError> {
        let named = keys.log_key.as_deref().unwrap_or_default();
        let bytes = data_encoding::HEXLOWER.decode(named.as_bytes());
        bytes
            .ok()
            .and_then(|bytes| PublicKey::from_slice(KeyUse::Log, &bytes).ok())
            .ok_or_else(|| self.forged("the manifest of the keys names no log key"))
    }

    fn verify(&self, signature: &Signature, key: &PublicKey) -> Result<(), BackupError> {
        if signature.keyid != key.id().to_string() {
            return Err(self.forged("another key signed it than the manifest of the keys names"));
        }
        let bytes = data_encoding::BASE64.decode(signature.sig.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        let (_, manifest) = self.manifest;
        let holds = bytes
            .is_some_and(|bytes| verify_detached::<BackupStatement>(manifest, &bytes, key).is_ok());
        if holds {
            Ok(())
        } else {
            Err(self.forged("it is not what the node signed"))
        }
    }

    fn forged(&self, why: &str) -> BackupError {
        BackupError::Forged {
            path: self.from.join(super::manifest::MANIFEST_FILE),
            why: why.to_owned(),
        }
    }
}

/// Returns the keys with which, according to any epoch, somebody else may sign.
fn compromised(epochs: &[VerifiedRegister]) -> BTreeSet<KeyId> {
    let of_epoch = |epoch: &VerifiedRegister| -> Vec<KeyId> {
        let register = epoch.register();
        let keys = register.nodes().flat_map(|(_, node)| node.keys.iter());
        let ended = keys.filter(|key| key.compromised_since.is_some());
        let former = register.former.keys().copied();
        ended.map(|key| key.public.id()).chain(former).collect()
    };
    epochs.iter().flat_map(of_epoch).collect()
}

fn log_keys(epoch: &VerifiedRegister, node: &NodeId) -> Vec<(u64, PublicKey)> {
    let register = epoch.register();
    let listed = register.node(node).into_iter();
    let keys = listed.flat_map(|(_, node)| node.keys.iter());
    keys.filter(|key| key.public.usage() == KeyUse::Log)
        .map(|key| (register.epoch, key.public.clone()))
        .collect()
}

fn damaged(error: impl std::error::Error) -> BackupError {
    BackupError::Damaged(vec![error.to_string()])
}
