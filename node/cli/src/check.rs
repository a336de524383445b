//! `portcullis check`: tells what an identifier is, and whether its check digit is right. It needs
//! no node.

use std::io;

use portcullis_protocol::{
    characters,
    identifiers::{CheckDigit, Foreign, Identified, IdentifierKind, identify},
};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    output::{Page, View},
};

/// Tell what an identifier is, and check its check digit
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Tell what an identifier is, and check its check digit.

Knows container numbers (ISO 6346), ILU codes (EN 13044-1), IMO numbers, MMSI, UN/LOCODE, HS codes, EORI numbers, number \
plates, trader ids, seals and bills of lading. For a number that is wrong it proposes what it may \
have been meant to be. No node is needed; nothing is looked up anywhere: a right check digit does \
not mean that the thing exists.

Exit code 0 if the text is an identifier, 3 if its check digit is wrong or it is none.",
    after_long_help = "\
Examples:
  portcullis check CSQU3054383
  portcullis check 'KR:12GA3456'"
)]
pub(super) struct Check {
    /// The identifier; quote it if it has spaces
    #[arg(value_name = "IDENTIFIER")]
    identifier: String,
}

impl Check {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let found = identify(&self.identifier);
        match found.first() {
            Some(first) if is_wrong(first) => {
                Err(foreign(&self.identifier).unwrap_or_else(|| wrong(&self.identifier, first)))
            }
            None => Err(foreign(&self.identifier).unwrap_or_else(|| none(&self.identifier))),
            Some(_) => session.output.show(&CheckView {
                text: self.identifier,
                readings: found.into_iter().map(ReadingView::from).collect(),
            }),
        }
    }
}

/// Returns true if the check digit contradicts the rest. This decides even if the text also
/// resembles an identifier without a check digit.
fn is_wrong(identified: &Identified) -> bool {
    match identified.check_digit {
        CheckDigit::Wrong { .. } | CheckDigit::Unreadable => true,
        CheckDigit::Right | CheckDigit::RightButAmbiguous | CheckDigit::None => false,
    }
}

/// Returns the error for a text with a character that stands in no identifier, with the identifiers
/// that the text looks like.
pub(super) fn foreign(text: &str) -> Option<CliError> {
    let found = Foreign::first(text.trim())?;
    let looks_like: Vec<String> = identify(&characters::as_it_looks(text))
        .into_iter()
        .filter(|one| {
            matches!(
                one.check_digit,
                CheckDigit::Right | CheckDigit::RightButAmbiguous
            )
        })
        .map(|one| one.canonical)
        .collect();
    Some(
        CliError::invalid(found.to_string()).remedy(if looks_like.is_empty() {
            "type it anew with plain letters, digits and hyphens".to_owned()
        } else {
            let looks_like = looks_like.join("`, `");
            format!("type it anew; it looks like `{looks_like}`")
        }),
    )
}

fn none(text: &str) -> CliError {
    CliError::invalid(format!("`{text}` is no identifier that is known here")).remedy(
        "a container number is for instance CSQU3054383, an IMO number 9074729, \
         a UN/LOCODE NLRTM",
    )
}

/// Returns the error for a wrong identifier, with the identifiers that may have been meant.
pub(super) fn wrong(text: &str, identified: &Identified) -> CliError {
    let Identified {
        kind,
        check_digit,
        near_matches,
        canonical: _,
        parts: _,
    } = identified;
    let message = match check_digit {
        CheckDigit::Wrong { expected } => {
            // Only container and IMO numbers and ILU codes have check digits.
            let is_vowel = matches!(kind, IdentifierKind::Imo | IdentifierKind::Ilu);
            let article = if is_vowel { "an" } else { "a" };
            format!(
                "`{text}` is {article} {kind} with a wrong check digit; the rest gives `{expected}`"
            )
        }
        CheckDigit::Right
        | CheckDigit::RightButAmbiguous
        | CheckDigit::None
        | CheckDigit::Unreadable => format!("`{text}` is no {kind}"),
    };
    CliError::invalid(message).remedy(if near_matches.is_empty() {
        "read the number again".to_owned()
    } else {
        format!(
            "read the number again; it may be `{}`",
            near_matches.join("`, `")
        )
    })
}

/// Possible readings of a text, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct CheckView {
    text: String,
    readings: Vec<ReadingView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ReadingView {
    r#type: String,
    canonical: String,
    check_digit: &'static str,
    parts: Vec<PartView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct PartView {
    name: &'static str,
    value: String,
}

impl From<Identified> for ReadingView {
    fn from(identified: Identified) -> Self {
        let Identified {
            kind,
            canonical,
            check_digit,
            parts,
            near_matches: _,
        } = identified;
        Self {
            r#type: kind.to_string(),
            canonical,
            check_digit: match check_digit {
                CheckDigit::Right => "right",
                CheckDigit::RightButAmbiguous => "right, but shared by two remainders",
                CheckDigit::Wrong { .. } => "wrong",
                CheckDigit::None => "none",
                CheckDigit::Unreadable => "unreadable",
            },
            parts: parts
                .into_iter()
                .map(|(name, value)| PartView { name, value })
                .collect(),
        }
    }
}

impl View for CheckView {
    const SCHEMA: &'static str = "portcullis/check/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let Some((first, others)) = self.readings.split_first() else {
            return Ok(());
        };
        page.heading(&format!("{}: {}", first.canonical, first.r#type))?;
        let mut pairs = vec![("check digit", first.check_digit.to_owned())];
        pairs.extend(
            first
                .parts
                .iter()
                .map(|part| (part.name, part.value.clone())),
        );
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|one| one.r#type.as_str()).collect();
            pairs.push(("may also be", names.join(", ")));
        }
        page.pairs(&pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn told(text: &str, message: &str, remedy: &str) {
        let error = foreign(text).unwrap();
        assert_eq!(error.message, message);
        assert_eq!(error.remedy.unwrap(), remedy);
    }

    /// Newcomer B6.
    #[test]
    fn a_character_that_is_not_what_it_looks_like_is_named_with_what_the_text_looks_like() {
        told(
            "CSQU\u{a0}305438\u{2013}3",
            "in `CSQU\\u{a0}305438\\u{2013}3` the 5th character is a no-break space (U+00A0); remove it",
            "type it anew; it looks like `CSQU3054383`",
        );
        told(
            "\u{ff29}\u{ff2d}\u{ff2f} 9074729",
            "in `\u{ff29}\u{ff2d}\u{ff2f} 9074729` the 1st character is a full-width `\u{ff29}` (U+FF29), \
             not a Latin `I`",
            "type it anew; it looks like `9074729`",
        );
        told(
            "\u{4e2d}",
            "in `\u{4e2d}` the 1st character is a Han `\u{4e2d}` (U+4E2D)",
            "type it anew with plain letters, digits and hyphens",
        );
        assert_eq!(foreign("CSQU3054383\u{a0}"), None);
    }
}
