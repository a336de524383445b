//! What a consignment is and what a risk profile counts, read from a schema file.
//!
//! The rest of the crate knows fields by their position in a [`Schema`] and never by a name of
//! some data set. Refused: unknown keys, a role or level that names no field, names or columns
//! said twice, levels that do not build on one another.

mod parse;

use portcullis_protocol::{body::SelectorKind, digest::Digest};
use serde::Deserialize;

pub use parse::SchemaError;

const DIGEST_LABEL: &str = "portcullis profile schema v1";

/// The position of a field in its schema, and of its value in a consignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldIndex(usize);

impl FieldIndex {
    pub(crate) const fn get(self) -> usize {
        self.0
    }
}

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// Any text, compared as it stands without the blanks around it.
    Text,
    /// A decimal number; `8.0` and `8` are the same value.
    Decimal,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// `0` or `1`.
    Flag,
}

impl FieldType {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Flag => "flag",
        }
    }
}

/// One field of a consignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) column: String,
    pub(crate) kind: FieldType,
    pub(crate) digits: Option<usize>,
    pub(crate) optional: bool,
}

impl Field {
    /// The name by which roles and levels speak of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The column of a file that holds it.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// What its values are.
    #[must_use]
    pub const fn kind(&self) -> FieldType {
        self.kind
    }
}

/// One level of a profile: a field, or the first characters of it, added to the levels before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub(crate) name: String,
    /// Which value of a cell's key it looks at.
    pub(crate) part: usize,
    pub(crate) prefix: Option<usize>,
}

impl Level {
    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of `value` that counts at this level.
    #[must_use]
    pub fn portion<'v>(&self, value: &'v str) -> &'v str {
        let end = self
            .prefix
            .and_then(|characters| value.char_indices().nth(characters))
            .map_or(value.len(), |(at, _)| at);
        value.get(..end).unwrap_or(value)
    }
}

/// Where an identifier that an indicator can name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierRule {
    pub(crate) kind: SelectorKind,
    pub(crate) field: Option<FieldIndex>,
    /// What stands before the field's value in the identifier.
    pub(crate) prefix: String,
}

impl IdentifierRule {
    /// What kind of identifier it is.
    #[must_use]
    pub const fn kind(&self) -> SelectorKind {
        self.kind
    }

    /// Whether the data has none and a documented rule makes one.
    #[must_use]
    pub const fn is_generated(&self) -> bool {
        self.field.is_none()
    }
}

/// The fields of a consignment, their roles, and the levels of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    name: String,
    fields: Vec<Field>,
    pub(crate) id: FieldIndex,
    pub(crate) office: FieldIndex,
    pub(crate) date: FieldIndex,
    pub(crate) finding: FieldIndex,
    pub(crate) transport: Option<(FieldIndex, String)>,
    identifiers: Vec<IdentifierRule>,
    key: Vec<FieldIndex>,
    levels: Vec<Level>,
}

impl Schema {
    /// What the schema is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fields of a consignment, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The identifiers that indicators can name.
    #[must_use]
    pub fn identifiers(&self) -> &[IdentifierRule] {
        &self.identifiers
    }

    /// The levels of a profile, from the coarsest on.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The fields whose whole values are a cell's key, in order.
    #[must_use]
    pub fn key(&self) -> &[FieldIndex] {
        &self.key
    }

    /// The canonical encoding of what makes two authorities' cells comparable: the finding's
    /// name and each level's name, field, type, digits and prefix. Columns of a file, roles and
    /// identifiers are each authority's own matter and are not in it.
    ///
    /// Texts are UTF-8 behind their length as a big-endian `u32`; numbers are big-endian `u32`,
    /// zero where nothing is said.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(finding) = self.field(self.finding) {
            put_text(&mut bytes, &finding.name);
        }
        for level in &self.levels {
            let field = self
                .key
                .get(level.part)
                .and_then(|index| self.field(*index));
            put_text(&mut bytes, &level.name);
            if let Some(field) = field {
                put_text(&mut bytes, &field.name);
                put_text(&mut bytes, field.kind.name());
                put_number(&mut bytes, field.digits.unwrap_or(0));
            }
            put_number(&mut bytes, level.prefix.unwrap_or(0));
        }
        bytes
    }

    /// What a profile states as its schema: the SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::labelled(DIGEST_LABEL, &[&self.canonical_bytes()])
    }

    pub(crate) fn field(&self, index: FieldIndex) -> Option<&Field> {
        self.fields.get(index.0)
    }

    pub(crate) fn column(&self, index: FieldIndex) -> &str {
        self.field(index).map_or("", |field| &field.column)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_number(bytes: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&number.to_be_bytes());
}
