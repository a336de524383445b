//! Reading of schema files: every name is resolved and every part checked before a schema is made.

use std::collections::BTreeSet;

use portcullis_protocol::named::UnknownName;
use serde::Deserialize;

use super::{Field, FieldIndex, FieldType, IdentifierRule, Level, Schema};

/// Error for a text that is not a schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not TOML, a key that is unknown or missing, or a value of another type.
    #[error("the schema does not parse; mend the place named below")]
    Parse(#[source] Box<toml::de::Error>),
    /// A role, level or identifier names a field that is not listed.
    #[error(
        "{place} names the field `{field}`, which no `[[field]]` has; add it or correct the name"
    )]
    UnknownField {
        /// The place that uses the name.
        place: String,
        /// The name.
        field: String,
    },
    /// A field has a type that its role cannot use.
    #[error("the role `{role}` needs a field of type {needed}, but `{field}` is of type {found}")]
    RoleType {
        /// The role.
        role: &'static str,
        /// The field.
        field: String,
        /// The type that the role needs.
        needed: &'static str,
        /// The type that the field has.
        found: &'static str,
    },
    /// Two fields share a name or a column.
    #[error("`{0}` stands twice among the names or columns of the fields; each must be said once")]
    Repeated(String),
    /// A level adds nothing to the levels before it.
    #[error(
        "the level `{0}` says nothing that the levels before it do not; give it another field or a longer prefix"
    )]
    LevelAddsNothing(String),
    /// The last level stops at a prefix, so that a cell's key would hold more than is counted.
    #[error(
        "the last prefix of the field `{0}` is followed by no level with the whole field; add one"
    )]
    PrefixOnly(String),
    /// There is no level at all.
    #[error("the schema has no `[[level]]`; a profile needs at least one")]
    NoLevels,
    /// An optional field in a place that needs a value.
    #[error("the field `{field}` is used by {place} and must not be `optional`")]
    Optional {
        /// The place that uses the field.
        place: String,
        /// The field.
        field: String,
    },
    /// An identifier has neither or both of `field` and `generated = true`.
    #[error("the identifier `{0}` needs either `field` or `generated = true`, and not both")]
    IdentifierSource(String),
    /// An identifier's kind is not one that indicators have.
    #[error(transparent)]
    IdentifierKind(UnknownName),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchema {
    name: String,
    roles: RawRoles,
    field: Vec<RawField>,
    #[serde(default)]
    identifier: Vec<RawIdentifier>,
    #[serde(default)]
    level: Vec<RawLevel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoles {
    id: String,
    office: String,
    date: String,
    finding: String,
    transport: Option<RawTransport>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTransport {
    field: String,
    sea: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: String,
    column: String,
    r#type: FieldType,
    digits: Option<usize>,
    #[serde(default)]
    optional: bool,
    about: Option<String>,
    example: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentifier {
    kind: String,
    field: Option<String>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    generated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevel {
    name: String,
    field: String,
    prefix: Option<usize>,
}

impl Schema {
    /// Reads a schema from the text of a schema file.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let raw: RawSchema =
            toml::from_str(text).map_err(|error| SchemaError::Parse(Box::new(error)))?;
        let fields = fields(raw.field)?;
        let (key, levels) = levels(&fields, raw.level)?;
        let transport = match raw.roles.transport {
            Some(transport) => {
                let field = find(&fields, "the role `transport`", &transport.field)?;
                Some((field, transport.sea))
            }
            None => None,
        };
        Ok(Self {
            name: raw.name,
            id: filled(&fields, "the role `id`", &raw.roles.id)?,
            office: filled(&fields, "the role `office`", &raw.roles.office)?,
            date: {
                filled(&fields, "the role `date`", &raw.roles.date)?;
                typed(&fields, "date", &raw.roles.date, FieldType::Date)?
            },
            finding: typed(&fields, "finding", &raw.roles.finding, FieldType::Flag)?,
            transport,
            identifiers: identifiers(&fields, raw.identifier)?,
            fields,
            key,
            levels,
        })
    }
}

fn find(fields: &[Field], place: &str, name: &str) -> Result<FieldIndex, SchemaError> {
    fields
        .iter()
        .position(|field| field.name == name)
        .map(FieldIndex)
        .ok_or_else(|| SchemaError::UnknownField {
            place: place.to_owned(),
            field: name.to_owned(),
        })
}

/// Finds a field that is not optional.
fn filled(fields: &[Field], place: &str, name: &str) -> Result<FieldIndex, SchemaError> {
    let index = find(fields, place, name)?;
    if fields.get(index.0).is_some_and(|field| field.optional) {
        return Err(SchemaError::Optional {
            place: place.to_owned(),
            field: name.to_owned(),
        });
    }
    Ok(index)
}

fn typed(
    fields: &[Field],
    role: &'static str,
    name: &str,
    needed: FieldType,
) -> Result<FieldIndex, SchemaError> {
    let index = find(fields, &format!("the role `{role}`"), name)?;
    match fields.get(index.0) {
        Some(field) if field.kind != needed => Err(SchemaError::RoleType {
            role,
            field: name.to_owned(),
            needed: needed.name(),
            found: field.kind.name(),
        }),
        Some(_) | None => Ok(index),
    }
}

fn fields(raw: Vec<RawField>) -> Result<Vec<Field>, SchemaError> {
    let mut names = BTreeSet::new();
    let mut columns = BTreeSet::new();
    for field in &raw {
        if !names.insert(field.name.clone()) {
            return Err(SchemaError::Repeated(field.name.clone()));
        }
        if !columns.insert(field.column.clone()) {
            return Err(SchemaError::Repeated(field.column.clone()));
        }
    }
    Ok(raw
        .into_iter()
        .map(|field| Field {
            name: field.name,
            column: field.column,
            kind: field.r#type,
            digits: field.digits,
            optional: field.optional,
            about: field.about,
            example: field.example,
        })
        .collect())
}

fn identifiers(
    fields: &[Field],
    raw: Vec<RawIdentifier>,
) -> Result<Vec<IdentifierRule>, SchemaError> {
    raw.into_iter()
        .map(|rule| {
            let kind = rule.kind.parse().map_err(SchemaError::IdentifierKind)?;
            let place = format!("the identifier `{kind}`");
            let field = match (rule.field, rule.generated) {
                (Some(name), false) => Some(find(fields, &place, &name)?),
                (None, true) => None,
                (Some(_), true) | (None, false) => {
                    return Err(SchemaError::IdentifierSource(rule.kind));
                }
            };
            Ok(IdentifierRule {
                kind,
                field,
                prefix: rule.prefix,
            })
        })
        .collect()
}

fn levels(
    fields: &[Field],
    raw: Vec<RawLevel>,
) -> Result<(Vec<FieldIndex>, Vec<Level>), SchemaError> {
    let mut key: Vec<FieldIndex> = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    for level in raw {
        let index = filled(fields, &format!("the level `{}`", level.name), &level.field)?;
        let same_field = key.last() == Some(&index);
        let adds = match levels.last().and_then(|before| before.prefix) {
            Some(before) if same_field => level.prefix.is_none_or(|prefix| prefix > before),
            Some(_) => return Err(SchemaError::PrefixOnly(last_name(fields, &key))),
            None => !key.contains(&index) && level.prefix != Some(0),
        };
        if !adds {
            return Err(SchemaError::LevelAddsNothing(level.name));
        }
        if !same_field {
            key.push(index);
        }
        levels.push(Level {
            name: level.name,
            part: key.len().saturating_sub(1),
            prefix: level.prefix,
        });
    }
    match levels.last() {
        None => Err(SchemaError::NoLevels),
        Some(last) if last.prefix.is_some() => {
            Err(SchemaError::PrefixOnly(last_name(fields, &key)))
        }
        Some(_) => Ok((key, levels)),
    }
}

fn last_name(fields: &[Field], key: &[FieldIndex]) -> String {
    key.last()
        .and_then(|index| fields.get(index.0))
        .map(|field| field.name.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CUSTOMS_KR;

    fn changed(from: &str, to: &str) -> Result<Schema, SchemaError> {
        assert!(CUSTOMS_KR.contains(from), "`{from}` is not in the schema");
        Schema::parse(&CUSTOMS_KR.replacen(from, to, 1))
    }

    #[track_caller]
    fn refused(from: &str, to: &str, says: &str) {
        let message = changed(from, to).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn the_shipped_schema_has_seven_levels_over_five_fields() {
        let schema = Schema::parse(CUSTOMS_KR).unwrap();
        assert_eq!(schema.levels().len(), 7);
        let key: Vec<_> = schema
            .key()
            .iter()
            .map(|i| schema.field(*i).unwrap().name())
            .collect();
        assert_eq!(
            key,
            ["commodity", "departure", "origin", "tax-type", "tax-rate"]
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        for key in ["colour = 1\n\n[roles]", "[roles]\ncolour = \"x\""] {
            assert!(matches!(
                changed("[roles]", key),
                Err(SchemaError::Parse(_))
            ));
        }
    }

    #[test]
    fn names_that_no_field_has_are_refused() {
        refused(
            "date = \"date\"",
            "date = \"day\"",
            "the role `date` names the field `day`",
        );
        refused("field = \"departure\"", "field = \"exit\"", "`exit`");
        refused("field = \"importer\"", "field = \"buyer\"", "`buyer`");
    }

    #[test]
    fn roles_need_their_type() {
        refused(
            "finding = \"finding\"",
            "finding = \"tax-rate\"",
            "needs a field of type flag",
        );
        refused(
            "date = \"date\"",
            "date = \"office\"",
            "needs a field of type date",
        );
    }

    #[test]
    fn what_is_said_twice_is_refused() {
        refused(
            "column = \"Date\"",
            "column = \"Office ID\"",
            "`Office ID` stands twice",
        );
        refused(
            "name = \"seller\"",
            "name = \"courier\"",
            "`courier` stands twice",
        );
    }

    #[test]
    fn levels_build_on_one_another() {
        refused("prefix = 4", "prefix = 2", "`HS heading` says nothing");
        refused(
            "field = \"origin\"\n\n[[level]]",
            "field = \"departure\"\n\n[[level]]",
            "says nothing",
        );
        refused(
            "prefix = 2\n\n[[level]]\nname = \"HS heading\"\nfield = \"commodity\"",
            "prefix = 2\n\n[[level]]\nname = \"HS heading\"\nfield = \"departure\"",
            "followed by no level",
        );
    }

    #[test]
    fn roles_and_keys_have_no_optional_field() {
        refused(
            "field = \"departure\"",
            "field = \"seller\"",
            "must not be `optional`",
        );
    }

    #[test]
    fn identifiers_stand_in_a_field_or_are_generated() {
        refused(
            "kind = \"imo\"\ngenerated = true",
            "kind = \"imo\"",
            "`imo` needs either",
        );
    }

    #[test]
    fn columns_and_roles_are_not_in_the_canonical_bytes_but_levels_are() {
        let bytes = Schema::parse(CUSTOMS_KR).unwrap().canonical_bytes();
        let renamed = changed("column = \"HS6 Code\"", "column = \"Goods\"").unwrap();
        assert_eq!(renamed.canonical_bytes(), bytes);
        let other = changed("prefix = 2", "prefix = 3").unwrap();
        assert_ne!(other.canonical_bytes(), bytes);
    }

    #[test]
    fn canonical_bytes_are_as_documented() {
        let text = r#"
            name = "small"
            roles = { id = "a", office = "a", date = "d", finding = "f" }
            field = [
              { name = "a", column = "A", type = "text", digits = 6 },
              { name = "d", column = "D", type = "date" },
              { name = "f", column = "F", type = "flag" },
            ]
            level = [{ name = "x", field = "a", prefix = 2 }, { name = "y", field = "a" }]
        "#;
        let mut expected = b"\0\0\0\x01f".to_vec();
        expected.extend(b"\0\0\0\x01x\0\0\0\x01a\0\0\0\x04text\0\0\0\x06\0\0\0\x02");
        expected.extend(b"\0\0\0\x01y\0\0\0\x01a\0\0\0\x04text\0\0\0\x06\0\0\0\0");
        assert_eq!(Schema::parse(text).unwrap().canonical_bytes(), expected);
    }

    #[test]
    fn a_portion_counts_characters() {
        let level = Level {
            name: String::new(),
            part: 0,
            prefix: Some(2),
        };
        assert_eq!(level.portion("440890"), "44");
        assert_eq!(level.portion("4"), "4");
        assert_eq!(level.portion("éàü"), "éà");
    }
}
