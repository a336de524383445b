//! The names that a federation gives out: of itself, of authorities and of nodes.
//!
//! One grammar holds for all: `[a-z0-9-]{1,63}` with a letter or digit at both ends. Such a name
//! can stand unchanged in a DNS label, a URN, a file name and a command line. Capitals are refused
//! rather than folded, so that a name has one spelling in everything that is signed.

use std::str::FromStr;
use std::sync::Arc;

use super::foreign::Foreign;
use super::text::{canonical_text, quote, quote_char};

const LONGEST: usize = 63;

/// The name of a member authority in the register, such as `kr-customs-40`.
// Shared text: these names are the keys of most maps, and are cloned far more often than made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(Arc<str>);

/// The name of a node within the federation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// The name of a federation: everything that is signed carries it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FederationId(Arc<str>);

canonical_text!(AuthorityId);
canonical_text!(NodeId);
canonical_text!(FederationId);

/// Kind of name that a text was parsed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOf {
    /// An [`AuthorityId`].
    Authority,
    /// A [`NodeId`].
    Node,
    /// A [`FederationId`].
    Federation,
}

impl std::fmt::Display for NameOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Authority => "authority",
            Self::Node => "node",
            Self::Federation => "federation",
        })
    }
}

/// Error for a text that is no name of an authority, node or federation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character that stands in no name.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Empty, or longer than 63 characters.
    #[error("the {of} id `{text}` has {found} characters; use 1 to 63")]
    Length {
        /// Kind of the name.
        of: NameOf,
        /// The rejected text.
        text: String,
        /// Its number of characters.
        found: usize,
    },
    /// A character outside the grammar.
    #[error(
        "the {of} id `{text}` contains `{found}`; use lower-case letters a-z, digits and hyphens"
    )]
    Character {
        /// Kind of the name.
        of: NameOf,
        /// The rejected text.
        text: String,
        /// The first character that is outside the grammar.
        found: String,
    },
    /// A hyphen at an end.
    #[error("the {of} id `{text}` starts or ends with a hyphen; use a letter or digit there")]
    Hyphen {
        /// Kind of the name.
        of: NameOf,
        /// The rejected text.
        text: String,
    },
}

impl FromStr for AuthorityId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        name(text, NameOf::Authority).map(Self)
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        name(text, NameOf::Node).map(Self)
    }
}

impl FromStr for FederationId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        name(text, NameOf::Federation).map(Self)
    }
}

fn name(text: &str, of: NameOf) -> Result<Arc<str>, NameError> {
    Foreign::refuse(text)?;
    let allowed = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    if let Some(found) = text.chars().find(|character| !allowed(character)) {
        let found = quote_char(found);
        return Err(NameError::Character {
            of,
            text: quote(text),
            found,
        });
    }
    if text.is_empty() || text.len() > LONGEST {
        let found = text.len();
        return Err(NameError::Length {
            of,
            text: quote(text),
            found,
        });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen {
            of,
            text: quote(text),
        });
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, message: &str) {
        let error = text.parse::<AuthorityId>().unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn capitals_and_foreign_characters_are_refused_not_folded() {
        check(
            "KR-customs-40",
            "the authority id `KR-customs-40` contains `K`; use lower-case letters a-z, digits and hyphens",
        );
        // A Cyrillic а looks the same.
        check(
            "kr-customs\u{430}",
            "in `kr-customs\u{430}` the 11th character is a Cyrillic `\u{430}` (U+0430), not a Latin `a`",
        );
        assert!(matches!(
            "kr-customs-40\u{430}".parse::<NodeId>(),
            Err(NameError::Foreign(_))
        ));
        for text in ["a b", "a_b", "a.b", "a/b", "a\0", " a", "a\n"] {
            assert!(
                matches!(
                    text.parse::<FederationId>(),
                    Err(NameError::Character { .. })
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_name_cannot_be_taken_for_an_option() {
        check(
            "-rf",
            "the authority id `-rf` starts or ends with a hyphen; use a letter or digit there",
        );
    }

    #[test]
    fn length_is_that_of_a_dns_label() {
        check("", "the authority id `` has 0 characters; use 1 to 63");
        assert!("a".repeat(63).parse::<NodeId>().is_ok());
        assert!(matches!(
            "a".repeat(64).parse::<NodeId>(),
            Err(NameError::Length { found: 64, .. })
        ));
    }

    proptest! {
        #[test]
        fn every_text_of_the_grammar_is_kept_as_it_is(text in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
            prop_assert_eq!(text.parse::<AuthorityId>().unwrap().to_string(), text);
        }
    }
}
