//! The register in force after new epochs were taken up, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// Register in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct TakenUpView {
    /// The register's epoch.
    pub register_epoch: u64,
}
