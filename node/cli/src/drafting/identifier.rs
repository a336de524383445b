//! Flags for identifiers: the subject of a record.

use portcullis_protocol::{
    body::{Selector, SelectorError, SelectorKind, Window},
    identifiers::{Identified, IdentifierKind, identify},
    time::{End, Timestamp},
};

use crate::{check, error::CliError};
use portcullis_admin_api::v1::draft::SelectorView;

/// What to look out for.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What it is about")]
pub(crate) struct IdentifierArgs {
    /// A container number (ISO 6346) or ILU code (EN 13044-1); needs a time window
    #[arg(long, value_name = "NUMBER")]
    container: Vec<String>,
    /// A swap body or semi-trailer by its ILU code; needs a time window
    #[arg(long, value_name = "CODE")]
    ilu: Vec<String>,
    /// A ship by its IMO number
    #[arg(long, value_name = "NUMBER")]
    imo: Vec<String>,
    /// A ship's station by its MMSI
    #[arg(long, value_name = "NUMBER")]
    mmsi: Vec<String>,
    /// A bill of lading
    #[arg(long, value_name = "NUMBER")]
    bill_of_lading: Vec<String>,
    /// A container seal
    #[arg(long, value_name = "NUMBER")]
    seal: Vec<String>,
    /// An economic operator by its EORI number
    #[arg(long, value_name = "NUMBER")]
    eori: Vec<String>,
    /// A number plate as COUNTRY:PLATE; needs a time window
    #[arg(long, value_name = "PLATE")]
    plate: Vec<String>,
    /// A place as UN/LOCODE
    #[arg(long, value_name = "LOCODE")]
    unlocode: Vec<String>,
    /// Goods by HS code, optionally with the edition: 847130@2022
    #[arg(long, value_name = "CODE")]
    hs: Vec<String>,
    /// An importer or seller of a national register as COUNTRY:ID
    #[arg(long, value_name = "ID", visible_alias = "trader")]
    importer: Vec<String>,
    /// Since when it counts: 2021-03-01T08:00:00Z, or a day, from its beginning in UTC
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Until when it counts; a day counts to its end
    #[arg(long, value_name = "TIME")]
    until: Option<End>,
    /// Accept a wrong check digit, when nobody can read the box again, or an MMSI as it is on the air;
    /// the record says so
    #[arg(long)]
    accept_unchecked: bool,
    /// Say that the identifiers were made by a rule and are no real input
    #[arg(long, hide = true)]
    pub(crate) generated: bool,
}

/// Treatment of a wrong check digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// It is refused.
    CheckDigits,
    /// It is accepted, and the record says so.
    AcceptUnchecked,
}

impl IdentifierArgs {
    /// Returns the selectors, each checked.
    ///
    /// # Errors
    ///
    /// [`CliError`] with exit code 3 names the first wrong identifier, with near matches.
    pub(crate) fn selectors(&self) -> Result<Vec<SelectorView>, CliError> {
        let window = super::window(self.from, self.until.map(End::included))?;
        let strictness = Strictness::from(self.accept_unchecked);
        self.given()
            .map(|(kind, text)| selector(kind, text, window, strictness))
            .collect()
    }

    fn given(&self) -> impl Iterator<Item = (SelectorKind, &str)> {
        let lists = [
            (SelectorKind::Container, &self.container),
            (SelectorKind::Ilu, &self.ilu),
            (SelectorKind::Imo, &self.imo),
            (SelectorKind::Mmsi, &self.mmsi),
            (SelectorKind::BillOfLading, &self.bill_of_lading),
            (SelectorKind::Seal, &self.seal),
            (SelectorKind::Eori, &self.eori),
            (SelectorKind::Plate, &self.plate),
            (SelectorKind::UnLocode, &self.unlocode),
            (SelectorKind::HsCode, &self.hs),
            (SelectorKind::Trader, &self.importer),
        ];
        lists
            .into_iter()
            .flat_map(|(kind, texts)| texts.iter().map(move |text| (kind, text.as_str())))
    }
}

/// Makes one selector, checked in the same way as the node checks it.
///
/// # Errors
///
/// [`CliError`] with exit code 3 says what is wrong, with near matches.
pub(crate) fn selector(
    kind: SelectorKind,
    text: &str,
    window: Option<Window>,
    strictness: Strictness,
) -> Result<SelectorView, CliError> {
    let kind = kind.as_written(text);
    let read = match strictness {
        Strictness::CheckDigits => Selector::new(kind, text, window),
        Strictness::AcceptUnchecked => Selector::accept_unchecked(kind, text, window),
    };
    match read {
        Ok(selector) => Ok(SelectorView::from(&selector)),
        Err(error) => Err(refused(kind, text, &error)),
    }
}

/// Returns the error for an identifier: the character that is not what it looks like, near matches, or
/// else what the parser says.
fn refused(kind: SelectorKind, text: &str, error: &SelectorError) -> CliError {
    let is_of_text = matches!(error, SelectorError::Identifier { .. });
    let foreign = || check::foreign(text).filter(|_| is_of_text && kind != SelectorKind::Plate);
    let wrong = || near(kind, text).map(|identified| check::wrong(text, &identified));
    foreign().or_else(wrong).unwrap_or_else(|| untold(error))
}

/// Returns an error without near matches.
fn untold(error: &SelectorError) -> CliError {
    let told = CliError::invalid(error.to_string());
    if matches!(error, SelectorError::NoWindow(_)) {
        told.remedy("say since when and until when with `--from TIME` and `--until TIME`")
    } else {
        told
    }
}

/// Returns the reading of the text as an identifier of this kind, if it has near matches.
fn near(kind: SelectorKind, text: &str) -> Option<Identified> {
    let kind = match kind {
        SelectorKind::Container => IdentifierKind::Container,
        SelectorKind::Imo => IdentifierKind::Imo,
        SelectorKind::Ilu => IdentifierKind::Ilu,
        SelectorKind::Mmsi
        | SelectorKind::BillOfLading
        | SelectorKind::Seal
        | SelectorKind::Eori
        | SelectorKind::Plate
        | SelectorKind::UnLocode
        | SelectorKind::HsCode
        | SelectorKind::Trader => return None,
    };
    identify(text)
        .into_iter()
        .find(|one| one.kind == kind && !one.near_matches.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn window() -> Option<Window> {
        Some(Window {
            from: "2021-03-01".parse().unwrap(),
            until: "2021-03-31".parse().unwrap(),
        })
    }

    #[test]
    fn a_wrong_check_digit_is_refused_with_near_matches() {
        let kind = SelectorKind::Container;
        let error = selector(kind, "CSQU3054384", window(), Strictness::CheckDigits).unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        assert!(error.remedy.unwrap().contains("CSQU3054383"));
    }

    /// Bugs 15, 16.
    #[test]
    fn a_unit_of_rail_is_taken_for_a_container_and_a_radio_identity_as_it_is_on_the_air() {
        let unit = selector(
            SelectorKind::Container,
            "XYZE1003090",
            window(),
            Strictness::CheckDigits,
        )
        .unwrap();
        assert_eq!((unit.kind.as_str(), unit.unchecked), ("ilu", false));
        let wrong = selector(
            SelectorKind::Container,
            "XYZA1003095",
            window(),
            Strictness::CheckDigits,
        )
        .unwrap_err();
        assert!(
            wrong
                .message
                .contains("an ILU code with a wrong check digit; the rest gives `4`")
        );
        let radio = |strictness| selector(SelectorKind::Mmsi, "009123456", None, strictness);
        assert!(radio(Strictness::CheckDigits).is_err());
        assert!(radio(Strictness::AcceptUnchecked).unwrap().unchecked);
    }

    #[test]
    fn a_wrong_check_digit_that_is_accepted_shows() {
        let kind = SelectorKind::Container;
        let view = selector(kind, "CSQU3054384", window(), Strictness::AcceptUnchecked).unwrap();
        assert!(view.unchecked);
        let view = selector(kind, "CSQU3054383", window(), Strictness::AcceptUnchecked).unwrap();
        assert!(!view.unchecked);
    }

    /// Newcomer B6.
    #[test]
    fn a_letter_of_another_script_is_named_with_what_the_text_looks_like() {
        let kind = SelectorKind::Container;
        let error = selector(
            kind,
            "\u{421}SQU3054383",
            window(),
            Strictness::AcceptUnchecked,
        )
        .unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        assert!(
            error
                .message
                .contains("a Cyrillic `\u{421}` (U+0421), not a Latin `C`")
        );
        assert!(error.remedy.unwrap().contains("`CSQU3054383`"));
    }

    #[test]
    fn a_container_without_a_window_is_told_to_have_one() {
        let kind = SelectorKind::Container;
        let error = selector(kind, "CSQU3054383", None, Strictness::CheckDigits).unwrap_err();
        assert!(error.message.contains("time window"), "{error}");
    }
}
