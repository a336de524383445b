//! Bodies and answers of signed acts, as JSON, version 1.

use serde::{Deserialize, Serialize};

use super::draft::DraftView;

/// Drafts to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftsView {
    /// The drafts; all of them are published, or none.
    pub drafts: Vec<DraftView>,
}

/// Answer to a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PublishedView {
    /// The records' ids, in the drafts' order.
    pub records: Vec<String>,
}

/// Records of this authority that say what drafts say, so that publishing those would repeat them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RepeatedView {
    /// The id of the record that each draft repeats, in the drafts' order; null: it says something new.
    pub records: Vec<Option<String>>,
    /// Number of drafts of which the node does not know it: it looked for as long as it may.
    #[serde(default)]
    pub not_looked_up: u64,
}

/// A person to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolView {
    /// Their id, a short name.
    pub id: String,
    /// Their full name.
    pub name: String,
    /// Their role.
    pub role: String,
    /// Their public key, hexadecimal.
    pub public_key: String,
}

impl EnrolView {
    /// Returns the bytes of the public key; `None` if it is not hexadecimal.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Vec<u8>> {
        data_encoding::HEXLOWER_PERMISSIVE
            .decode(self.public_key.as_bytes())
            .ok()
    }
}

/// Register and policies in force after a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ReloadedView {
    /// The register's epoch.
    pub register_epoch: u64,
    /// The digest of the policies.
    pub policy: String,
}

/// The time that an administrator confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ClockView {
    /// The node's time.
    pub now: String,
}
