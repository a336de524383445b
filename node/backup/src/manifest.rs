//! The manifest of a backup: its contents, its node and its time. JSON, version 2.

use std::path::{Component, Path};

use portcullis_protocol::{
    digest::Digest,
    frame::Generation,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::PublicKey,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::BackupError;
use portcullis_home::files;
use portcullis_store_sqlite::Contents;

/// Name of the manifest in either folder.
pub const MANIFEST_FILE: &str = "manifest.json";
const SCHEMA: &str = "portcullis/backup/v2";

/// The folder, of the two, that a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Store, configuration, register, policies, certificates.
    Data,
    /// The table of wrapped keys and the node's sealed keys.
    Keys,
}

/// Contents of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    schema: String,
    /// The folder that the manifest describes.
    pub part: Part,
    /// Id common to both folders of a backup: 16 random bytes, in hexadecimal.
    pub backup: String,
    /// Time of the snapshot.
    pub made_at: String,
    /// Version of the software that made it.
    pub software: String,
    /// The federation.
    pub federation: String,
    /// The authority.
    pub authority: String,
    /// The node.
    pub node: String,
    /// Summary of the store; in the data's manifest alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreSummary>,
    /// The SHA-256 of the keys' manifest; in the data's manifest alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_manifest: Option<String>,
    /// Public log key of the node, in hexadecimal. Its secret key signs the data's manifest. In the
    /// keys' manifest alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_key: Option<String>,
    /// The files, by path.
    pub files: Vec<FileEntry>,
}

/// Summary of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSummary {
    /// The generation in force, in hexadecimal.
    pub generation: String,
    /// The newest epoch of the register that was applied.
    pub register_epoch: u64,
    /// Number of the newest entry of the record log.
    pub log_end: u64,
    /// Position of dispatch for each peer and lane.
    pub positions: Vec<PositionEntry>,
}

/// Position of dispatch for a peer in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionEntry {
    /// The peer.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Position in the record log up to which every entry was dealt with.
    pub cursor: u64,
    /// The sequence number of the next item.
    pub next_sequence: u64,
}

/// A file, by its path in a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path, with `/` between its parts.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Node, time and id of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    /// The federation.
    pub federation: FederationId,
    /// The authority.
    pub authority: AuthorityId,
    /// The node.
    pub node: NodeId,
    /// Time of the snapshot.
    pub made_at: Timestamp,
    /// Id common to both folders.
    pub backup: [u8; 16],
}

impl Manifest {
    /// Returns the manifest of the keys.
    #[must_use]
    pub fn of_keys(of: &Of, files: Vec<FileEntry>, log_key: &PublicKey) -> Self {
        Self {
            log_key: Some(data_encoding::HEXLOWER.encode(&log_key.to_bytes())),
            ..Self::new(Part::Keys, of, files)
        }
    }

    /// Returns the manifest of the data, bound to that of the keys by its digest.
    #[must_use]
    pub fn of_data(of: &Of, files: Vec<FileEntry>, contents: &Contents, keys: &Digest) -> Self {
        Self {
            store: Some(StoreSummary::from(contents)),
            keys_manifest: Some(keys.to_string()),
            ..Self::new(Part::Data, of, files)
        }
    }

    fn new(part: Part, of: &Of, files: Vec<FileEntry>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            part,
            backup: data_encoding::HEXLOWER.encode(&of.backup),
            made_at: of.made_at.to_string(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            federation: of.federation.to_string(),
            authority: of.authority.to_string(),
            node: of.node.to_string(),
            store: None,
            keys_manifest: None,
            log_key: None,
            files,
        }
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    ///
    /// [`BackupError::Unwritable`].
    pub fn to_json(&self) -> Result<Vec<u8>, BackupError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| BackupError::Unwritable(error.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the manifest of `part` in a folder, and returns its bytes as well.
    ///
    /// # Errors
    ///
    /// [`BackupError`] if there is no manifest, or if it is that of something else.
    pub fn read(folder: &Path, part: Part) -> Result<(Self, Vec<u8>), BackupError> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = files::read(&path)?;
        let refused = |why: String| BackupError::Manifest {
            path: path.clone(),
            why,
        };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(refused(format!("its schema is `{}`", manifest.schema)));
        }
        if manifest.part != part {
            return Err(refused("it is that of the other folder".to_owned()));
        }
        if manifest.made_at().is_none() {
            return Err(refused("its time cannot be read".to_owned()));
        }
        match manifest.files.iter().find(|file| !file.stays_within()) {
            Some(file) => Err(refused(format!("`{}` leads elsewhere", file.path))),
            None => Ok((manifest, bytes)),
        }
    }

    /// Returns the time of the snapshot; `None` if it cannot be read.
    #[must_use]
    pub fn made_at(&self) -> Option<Timestamp> {
        self.made_at.parse().ok()
    }

    /// Returns the size of all files together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl FileEntry {
    /// Returns true if the path leads nowhere but below the folder that it is in.
    fn stays_within(&self) -> bool {
        let normal = |part| matches!(part, Component::Normal(_));
        !self.path.is_empty() && Path::new(&self.path).components().all(normal)
    }
}

impl From<&Contents> for StoreSummary {
    fn from(contents: &Contents) -> Self {
        let Contents {
            generation,
            log_end,
            register_epoch,
            positions,
        } = contents;
        Self {
            generation: hexadecimal(generation),
            register_epoch: *register_epoch,
            log_end: *log_end,
            positions: positions
                .iter()
                .map(|row| PositionEntry {
                    peer: row.peer.to_string(),
                    lane: row.lane.to_string(),
                    cursor: row.cursor,
                    next_sequence: row.next_sequence,
                })
                .collect(),
        }
    }
}

fn hexadecimal(generation: &Generation) -> String {
    data_encoding::HEXLOWER.encode(generation.as_bytes())
}
