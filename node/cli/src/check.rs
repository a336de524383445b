//! `portcullis check`: tells what an identifier is, and whether its check digit is right. It needs
//! no node.

use std::io;

use portcullis_protocol::identifiers::{CheckDigit, Identified, IdentifierKind, identify};
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

Knows container numbers (ISO 6346), IMO numbers, MMSI, UN/LOCODE, HS codes, EORI numbers, number \
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
            Some(first) if is_wrong(first) => Err(wrong(&self.identifier, first)),
            None => Err(none(&self.identifier)),
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
            // Only container and IMO numbers have check digits.
            let article = if *kind == IdentifierKind::Imo {
                "an"
            } else {
                "a"
            };
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
#[derive(Debug, Serialize)]
struct CheckView {
    text: String,
    readings: Vec<ReadingView>,
}

#[derive(Debug, Serialize)]
struct ReadingView {
    r#type: String,
    canonical: String,
    check_digit: &'static str,
    parts: Vec<PartView>,
}

#[derive(Debug, Serialize)]
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
