//! Trust settings of a node and their acceptance, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// Trust settings as they lie in the node's home, compared with the accepted ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SettingsView {
    /// Standing: `accepted`, `changed`, `waiting` for a restart, or `unsealed`.
    pub standing: String,
    /// True if the node has no connection with anybody until the settings are accepted.
    pub shut: bool,
    /// Digest of the settings found, which an acceptance names.
    pub digest: String,
    /// Number of the next acceptance.
    pub serial: u64,
    /// Settings found that differ from the accepted ones; all of them if none were accepted.
    pub changes: Vec<SettingChangeView>,
    /// Ids of the persons, each with the role.
    pub persons: Vec<String>,
    /// Epoch of the register in force.
    pub register_epoch: u64,
    /// Digest of that register.
    pub register_digest: String,
    /// Advice on who can accept; absent if an administrator is enrolled.
    pub r#do: Option<String>,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SettingChangeView {
    /// Name of the setting or file.
    pub name: String,
    /// Accepted value; absent for the default, or no such file.
    pub old: Option<String>,
    /// Value found; absent for the default, or no such file.
    pub new: Option<String>,
}

/// Settings that were accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct AcceptedView {
    /// Digest of the settings.
    pub digest: String,
    /// Keys and sections of the configuration that count only from the next start.
    pub waiting: Vec<String>,
}
