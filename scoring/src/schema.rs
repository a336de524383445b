//! Schemas: the fields of a consignment and the levels of a risk profile, read from a schema file.
//!
//! The rest of the crate addresses fields by their position in a [`Schema`], never by a name from
//! some data set. Refused are unknown keys, a role or level that names no field, repeated names or
//! columns, and levels that do not build on one another.

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

/// Type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// Any text, compared after blanks at its ends are removed.
    Text,
    /// A decimal number; `8.0` and `8` are the same value.
    Decimal,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// `0` or `1`.
    Flag,
}

impl FieldType {
    /// Returns its name in a schema file.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
    pub(crate) about: Option<String>,
    pub(crate) example: Option<String>,
}

impl Field {
    /// Returns the name by which roles and levels refer to it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the column of a file that holds it.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Returns the type of its values.
    #[must_use]
    pub const fn kind(&self) -> FieldType {
        self.kind
    }

    /// Returns the number of digits that it demands, if it does.
    #[must_use]
    pub const fn digits(&self) -> Option<usize> {
        self.digits
    }

    /// Returns true if a row, or a file, may be without it.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.optional
    }

    /// Returns its explanation for people, if the schema has one.
    #[must_use]
    pub fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// Returns an example of its values, if the schema has one.
    #[must_use]
    pub fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }
}

/// One level of a profile: a field, or its first characters, added to the levels before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub(crate) name: String,
    /// Position in a cell's key of the value that it looks at.
    pub(crate) part: usize,
    pub(crate) prefix: Option<usize>,
}

impl Level {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the part of `value` that counts at this level.
    #[must_use]
    pub fn portion<'v>(&self, value: &'v str) -> &'v str {
        let end = self
            .prefix
            .and_then(|characters| value.char_indices().nth(characters))
            .map_or(value.len(), |(at, _)| at);
        value.get(..end).unwrap_or(value)
    }
}

/// Source of an identifier that an indicator can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierRule {
    pub(crate) kind: SelectorKind,
    pub(crate) field: Option<FieldIndex>,
    /// Text put before the field's value to make the identifier.
    pub(crate) prefix: String,
}

impl IdentifierRule {
    /// Returns the kind of identifier.
    #[must_use]
    pub const fn kind(&self) -> SelectorKind {
        self.kind
    }

    /// Returns the text that is put before the field's value to make the identifier.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether a documented rule makes the identifier because the data has none.
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
    /// Returns the name of the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the fields of a consignment, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns the identifiers that indicators can name.
    #[must_use]
    pub fn identifiers(&self) -> &[IdentifierRule] {
        &self.identifiers
    }

    /// Returns the rule by which a field is an identifier that indicators can name, if it is one.
    #[must_use]
    pub fn identifier_of(&self, field: &Field) -> Option<&IdentifierRule> {
        let index = self.fields.iter().position(|one| one.name == field.name);
        let index = index.map(FieldIndex)?;
        self.identifiers
            .iter()
            .find(|rule| rule.field == Some(index))
    }

    /// Returns the roles of a field, in words.
    #[must_use]
    pub fn roles_of(&self, field: &Field) -> Vec<&'static str> {
        let roles = [
            ("reference", self.id),
            ("office", self.office),
            ("date", self.date),
            ("finding", self.finding),
        ];
        let is_it = |index: FieldIndex| self.field(index).is_some_and(|one| one.name == field.name);
        let roles = roles.into_iter().filter(|(_, index)| is_it(*index));
        roles.map(|(role, _)| role).collect()
    }

    /// Returns the levels of a profile, the coarsest first.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Returns the fields whose whole values form a cell's key, in order.
    #[must_use]
    pub fn key(&self) -> &[FieldIndex] {
        &self.key
    }

    /// Returns the canonical encoding of all that makes the cells of two authorities comparable:
    /// the finding's name and each level's name, field, type, digits and prefix. Columns of a file,
    /// roles and identifiers are each authority's own matter and are left out.
    ///
    /// Each text is UTF-8 preceded by its length as a big-endian `u32`; numbers are big-endian
    /// `u32`, zero if absent.
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

    /// Returns the digest by which a profile names its schema: the SHA-256 of the canonical bytes.
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
