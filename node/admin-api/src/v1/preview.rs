//! Preview of a release as JSON, version 1: the sections that each member would get.

use portcullis_policy::PreviewRow;
use serde::{Deserialize, Serialize};

/// A preview of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PreviewView {
    /// The digest of the rules that decide.
    pub rules: String,
    /// One row for each other member.
    pub members: Vec<MemberPreview>,
}

/// Result of the preview for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct MemberPreview {
    /// The member.
    pub authority: String,
    /// `allow`, `deny` or `hold`.
    pub outcome: String,
    /// The sections it would get.
    pub gets: Vec<String>,
    /// The sections it would not get.
    pub withheld: Vec<String>,
    /// The policies that decide.
    pub policies: Vec<String>,
    /// Those of `policies` that keep something closed.
    pub withholding: Vec<String>,
    /// Errors of policies that could not be evaluated; each counts as a denial.
    pub errors: Vec<String>,
}

impl From<&PreviewRow> for MemberPreview {
    fn from(row: &PreviewRow) -> Self {
        let names = |sections: &[(u8, portcullis_protocol::record::SectionTag)]| {
            sections.iter().map(|(_, tag)| tag.to_string()).collect()
        };
        Self {
            authority: row.receiver.to_string(),
            outcome: row.outcome.to_string(),
            gets: names(&row.opened),
            withheld: names(&row.withheld),
            policies: row.policies.iter().map(ToString::to_string).collect(),
            withholding: row
                .decision
                .withholding()
                .iter()
                .map(ToString::to_string)
                .collect(),
            errors: row.decision.errors().map(str::to_owned).collect(),
        }
    }
}
