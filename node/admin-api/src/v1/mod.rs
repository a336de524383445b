//! JSON of the admin API: structs of its own, version 1, under `/v1/`.
//!
//! Domain types derive no serde. `From` makes outgoing data and `TryFrom` reads incoming data, in
//! this one place. Both sides of the socket use these structs, and `--json` prints them.

pub mod act;
pub mod backup;
pub mod consignment;
pub mod dispatch;
pub mod draft;
pub mod hold;
pub mod log;
pub mod marking;
pub mod notice;
pub mod preview;
pub mod quarantine;
pub mod record;
pub mod register;
pub mod score;
pub mod settings;
pub mod status;
pub mod trust;

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Serialize};

/// A field of a request whose value is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {what}")]
pub struct Malformed {
    /// Name of the field.
    pub field: &'static str,
    /// Description of the error, and of what to write instead.
    pub what: String,
}

impl Malformed {
    /// A field that does not hold what it must.
    #[must_use]
    pub fn new(field: &'static str, what: &impl Display) -> Self {
        Self {
            field,
            what: what.to_string(),
        }
    }

    /// Parses the text of a field.
    pub fn reading<T: FromStr>(field: &'static str, text: &str) -> Result<T, Self>
    where
        T::Err: Display,
    {
        text.parse().map_err(|error| Self::new(field, &error))
    }

    /// Parses the text of a field that may be absent.
    pub fn reading_any<T: FromStr>(
        field: &'static str,
        text: Option<String>,
    ) -> Result<Option<T>, Self>
    where
        T::Err: Display,
    {
        text.map(|text| Self::reading(field, &text)).transpose()
    }
}

/// Reason why the node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ProblemView {
    /// Description of the error.
    pub message: String,
    /// Id of the rule or policy that refused, if one did.
    pub rule: Option<String>,
    /// Remedy for the caller to apply.
    pub r#do: Option<String>,
    /// Reasons one by one, if there are several: the wrong lines of a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ListView<T> {
    /// Its items.
    pub items: Vec<T>,
}
