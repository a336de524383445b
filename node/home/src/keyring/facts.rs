//! Facts about a node that lie sealed with its keys: with whom the enrolment of persons begins, and
//! the trust settings that a person accepted.

use serde::{Deserialize, Serialize};

use super::kinds::{KeyringError, VERSION, WITH_FACTS, WITH_SETTINGS};
use crate::trust_settings::TrustSettings;

/// Facts about a node that lie sealed with its keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedFacts {
    /// The person with whom alone the enrolment of persons begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_administrator: Option<FirstAdministrator>,
    /// The trust settings in use; `None` at a node of an earlier version that nobody has accepted
    /// any at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Recoveries of administrators who lost their keys, the oldest first. None is ever taken out:
    /// what was signed since rests on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<SealedRecovery>,
}

/// Another key of an administrator who lost theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRecovery {
    /// Their id.
    pub id: String,
    /// Their other public key, hexadecimal.
    pub public_key: String,
}

/// The first administrator of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstAdministrator {
    /// Their id.
    pub id: String,
    /// Id of their key, which is its digest, hexadecimal.
    pub key: String,
}

/// Trust settings that were accepted: at `init`, or by a person's act.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Number of the acceptance, from 1. An act names its own, so that older keys put back are seen.
    pub serial: u64,
    /// The settings.
    pub settings: TrustSettings,
}

impl SealedFacts {
    /// Returns the version of a file of unbound keys with these facts.
    pub(super) fn version(&self) -> u8 {
        match self {
            Self {
                accepted: Some(_), ..
            } => WITH_SETTINGS,
            Self { recoveries, .. } if !recoveries.is_empty() => WITH_SETTINGS,
            Self {
                first_administrator: Some(_),
                ..
            } => WITH_FACTS,
            Self {
                first_administrator: None,
                accepted: None,
                recoveries: _,
            } => VERSION,
        }
    }

    /// Encodes the facts with their length, as this version of a file has it.
    pub(super) fn encode(&self, version: u8) -> Result<Vec<u8>, KeyringError> {
        let json = serde_json::to_vec(self).map_err(|_| KeyringError::Format)?;
        let length = match version {
            VERSION => return Ok(Vec::new()),
            WITH_FACTS => u16::try_from(json.len())
                .map_err(|_| KeyringError::Format)?
                .to_be_bytes()
                .to_vec(),
            _ => u32::try_from(json.len())
                .map_err(|_| KeyringError::Format)?
                .to_be_bytes()
                .to_vec(),
        };
        Ok([length, json].concat())
    }

    /// Reads the facts in front of the rest of a content of this version.
    pub(super) fn read(version: u8, content: &[u8]) -> Result<(Self, &[u8]), KeyringError> {
        let (length, rest) = match version {
            VERSION => return Ok((Self::default(), content)),
            WITH_FACTS => {
                let (length, rest) = content.split_first_chunk().ok_or(KeyringError::Format)?;
                (u32::from(u16::from_be_bytes(*length)), rest)
            }
            _ => {
                let (length, rest) = content.split_first_chunk().ok_or(KeyringError::Format)?;
                (u32::from_be_bytes(*length), rest)
            }
        };
        let length = usize::try_from(length).map_err(|_| KeyringError::Format)?;
        let (json, rest) = rest.split_at_checked(length).ok_or(KeyringError::Format)?;
        let facts = serde_json::from_slice(json).map_err(|_| KeyringError::Format)?;
        Ok((facts, rest))
    }
}
