//! Conversion between wire types and domain types, in this one place: `From` outward, `TryFrom`
//! inward.

mod body;
mod header;
mod hop;

use std::collections::BTreeSet;

use crate::{rules::Rule, verify::Refusal};

/// Error for a header on the wire that is no valid header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A field is missing or holds what it must not.
    #[error("field `{0}` is missing or holds a value that is not allowed")]
    Field(&'static str),
    /// The kind is reserved or unknown.
    #[error("the kind with number {0} is not in use")]
    Kind(i32),
    /// The section table breaks a rule.
    #[error("the section table {0}")]
    Table(&'static str),
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        let rule = match error {
            HeaderError::Field(_) => Rule::RecordHeader,
            HeaderError::Kind(_) => Rule::RecordKind,
            HeaderError::Table(_) => Rule::SectionTable,
        };
        Self::new(rule, error.to_string())
    }
}

/// Converts between two enums, value by value; the wire's zero has no domain value.
macro_rules! same_values {
    ($domain:ident, $unspecified:ident: $( $ours:ident = $theirs:ident ),+ $(,)?) => {
        impl From<$domain> for wire::$domain {
            fn from(value: $domain) -> Self {
                match value { $( $domain::$ours => Self::$theirs, )+ }
            }
        }

        impl $domain {
            /// Returns the value with the wire's number; `None` for zero and for numbers not in
            /// use.
            pub(crate) fn from_wire(number: i32) -> Option<Self> {
                match wire::$domain::try_from(number).ok()? {
                    $( wire::$domain::$theirs => Some(Self::$ours), )+
                    wire::$domain::$unspecified => None,
                }
            }
        }
    };
}

/// Reads a set that the wire lists in ascending order, each member once.
fn ascending<W, T: Ord>(
    field: &'static str,
    values: Vec<W>,
    parse: impl Fn(W) -> Option<T>,
) -> Result<BTreeSet<T>, HeaderError> {
    let mut set: BTreeSet<T> = BTreeSet::new();
    for value in values {
        let value = parse(value).ok_or(HeaderError::Field(field))?;
        if set.last().is_some_and(|last| *last >= value) {
            return Err(HeaderError::Field(field));
        }
        set.insert(value);
    }
    Ok(set)
}

use same_values;
