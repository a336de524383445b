//! Selectors: identifiers that name the subject of a record and can be looked up.
//!
//! A selector holds the canonical text of its kind and nothing else. Container and plate selectors
//! need a time window, because containers and plates are used again (docs/design.md, Words).

use std::fmt;

use crate::{
    identifiers::{
        BillOfLading, ContainerNumber, ContainerReading, Eori, HsCode, IluCode, IluReading,
        ImoNumber, ImoReading, Mmsi, MmsiReading, Plate, SealNumber, TraderId, UnLocode,
    },
    named::named,
    time::Timestamp,
    version,
};

named! {
    /// Kind of thing that an identifier names.
    SelectorKind, "kind of selector",
    "`container`, `imo`, `mmsi`, `bill-of-lading`, `seal`, `eori`, `plate`, `unlocode`, `hs`, `trader`, `ilu`" {
        /// A container number (ISO 6346).
        Container = "container",
        /// A ship by its IMO number.
        Imo = "imo",
        /// A radio station by its MMSI.
        Mmsi = "mmsi",
        /// A bill of lading.
        BillOfLading = "bill-of-lading",
        /// A container seal.
        Seal = "seal",
        /// An economic operator.
        Eori = "eori",
        /// A vehicle.
        Plate = "plate",
        /// A place.
        UnLocode = "unlocode",
        /// Goods.
        HsCode = "hs",
        /// An importer or seller of a national register.
        Trader = "trader",
        /// A swap body or semi-trailer by its ILU code (EN 13044-1).
        Ilu = "ilu",
    }
}

impl SelectorKind {
    /// Returns whether a selector of this kind is meaningless without a time window.
    #[must_use]
    pub const fn needs_window(self) -> bool {
        matches!(self, Self::Container | Self::Plate | Self::Ilu)
    }

    /// Returns the kind that a text given for this one has: people call a swap body a container, and
    /// the fourth letter tells one from the other.
    #[must_use]
    pub fn as_written(self, text: &str) -> Self {
        if self == Self::Container && IluCode::is_shape_of(text) {
            Self::Ilu
        } else {
            self
        }
    }

    /// Returns whether the key space of this kind is large enough for a keyed hash on disk to hide
    /// the value (docs/design.md, Store).
    #[must_use]
    pub const fn is_high_entropy(self) -> bool {
        !matches!(self, Self::UnLocode | Self::HsCode)
    }
}

/// A span of time: from `from` up to and including `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Window {
    /// Returns whether `time` lies in the window, both ends included.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time <= self.until
    }
}

/// Error for a text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The identifier is not one of its kind.
    #[error("no {kind} selector: {why}")]
    Identifier {
        /// The kind it was given for.
        kind: SelectorKind,
        /// Message of the parser's error.
        why: String,
    },
    /// The kind needs a time window.
    #[error(
        "a {0} selector needs a time window, for such identifiers are used again; give both ends"
    )]
    NoWindow(SelectorKind),
    /// The window ends before it begins.
    #[error("the time window ends before it begins")]
    EmptyWindow,
}

/// An identifier to look out for, in its canonical text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    kind: SelectorKind,
    value: String,
    window: Option<Window>,
    unchecked: bool,
}

impl Selector {
    /// Reads an identifier of this kind, with its check digit if it has one.
    ///
    /// # Errors
    ///
    /// [`SelectorError`] says what is wrong with identifier or window.
    pub fn new(
        kind: SelectorKind,
        text: &str,
        window: Option<Window>,
    ) -> Result<Self, SelectorError> {
        check_window(kind, window)?;
        Ok(Self {
            kind,
            value: canonical(kind, text)?,
            window,
            unchecked: false,
        })
    }

    /// Reads a selector that was signed, by this version or an earlier one.
    ///
    /// # Errors
    ///
    /// [`SelectorError`] says what is wrong with identifier or window.
    pub(crate) fn as_signed(
        kind: SelectorKind,
        text: &str,
        window: Option<Window>,
        unchecked: bool,
    ) -> Result<Self, SelectorError> {
        if unchecked {
            return Self::accept_unchecked(kind, text, window);
        }
        check_window(kind, window)?;
        Ok(Self {
            kind,
            value: canonical_as_kept(kind, text)?,
            window,
            unchecked: false,
        })
    }

    /// Reads an identifier of the right shape even if its check digit is wrong;
    /// [`Selector::is_unchecked`] then returns true. It serves the case of a number that nobody can
    /// read a second time.
    ///
    /// # Errors
    ///
    /// [`SelectorError`] says what is wrong with identifier or window.
    pub fn accept_unchecked(
        kind: SelectorKind,
        text: &str,
        window: Option<Window>,
    ) -> Result<Self, SelectorError> {
        let Some(value) = unchecked(kind, text)? else {
            return Self::new(kind, text, window);
        };
        check_window(kind, window)?;
        Ok(Self {
            kind,
            value,
            window,
            unchecked: true,
        })
    }

    /// Returns the kind of identifier.
    #[must_use]
    pub const fn kind(&self) -> SelectorKind {
        self.kind
    }

    /// The canonical text.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the window of time in which the selector counts.
    #[must_use]
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// Returns the version of the protocol that a node needs to take it. Nodes of version 1 know no ILU
    /// codes, and take no MMSI unchecked.
    #[must_use]
    pub const fn needs(&self) -> u32 {
        match self.kind {
            SelectorKind::Ilu => version::UNITS,
            SelectorKind::Mmsi if self.unchecked => version::UNITS,
            SelectorKind::Mmsi
            | SelectorKind::Container
            | SelectorKind::Imo
            | SelectorKind::BillOfLading
            | SelectorKind::Seal
            | SelectorKind::Eori
            | SelectorKind::Plate
            | SelectorKind::UnLocode
            | SelectorKind::HsCode
            | SelectorKind::Trader => version::FIRST,
        }
    }

    /// Returns whether the check digit is wrong and was accepted all the same; of an MMSI, whether it
    /// has a form that is assigned to nobody.
    #[must_use]
    pub const fn is_unchecked(&self) -> bool {
        self.unchecked
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.value)
    }
}

impl fmt::Debug for Selector {
    /// Leaves the value out, because debug output easily ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.kind)
    }
}

fn check_window(kind: SelectorKind, window: Option<Window>) -> Result<(), SelectorError> {
    match window {
        None if kind.needs_window() => Err(SelectorError::NoWindow(kind)),
        Some(window) if window.until < window.from => Err(SelectorError::EmptyWindow),
        None | Some(_) => Ok(()),
    }
}

/// The canonical text of an identifier of this kind.
///
/// # Errors
///
/// [`SelectorError::Identifier`] if it is none.
pub fn canonical(kind: SelectorKind, text: &str) -> Result<String, SelectorError> {
    match kind {
        SelectorKind::Container => read::<ContainerNumber>(kind, text),
        SelectorKind::Imo => read::<ImoNumber>(kind, text),
        SelectorKind::Mmsi => read::<Mmsi>(kind, text),
        SelectorKind::BillOfLading => read::<BillOfLading>(kind, text),
        SelectorKind::Seal => read::<SealNumber>(kind, text),
        SelectorKind::Eori => read::<Eori>(kind, text),
        SelectorKind::Plate => read::<Plate>(kind, text),
        SelectorKind::UnLocode => read::<UnLocode>(kind, text),
        SelectorKind::HsCode => read::<HsCode>(kind, text),
        SelectorKind::Trader => read::<TraderId>(kind, text),
        SelectorKind::Ilu => read::<IluCode>(kind, text),
    }
}

/// The canonical text of an identifier that was signed or kept, by this version or an earlier one whose
/// forms were wider.
///
/// # Errors
///
/// [`SelectorError::Identifier`] if it is none.
pub fn canonical_as_kept(kind: SelectorKind, text: &str) -> Result<String, SelectorError> {
    if kind == SelectorKind::Eori {
        return Eori::as_signed(text)
            .map(|eori| eori.to_string())
            .map_err(|error| identifier_error(kind, &error));
    }
    canonical(kind, text)
}

/// The canonical text of an identifier even if its check digit is wrong, and whether it is.
///
/// # Errors
///
/// [`SelectorError::Identifier`] if it has not the shape of its kind.
pub fn canonical_unchecked(
    kind: SelectorKind,
    text: &str,
) -> Result<(String, bool), SelectorError> {
    match unchecked(kind, text)? {
        Some(value) => Ok((value, true)),
        None => canonical(kind, text).map(|value| (value, false)),
    }
}

fn read<T>(kind: SelectorKind, text: &str) -> Result<String, SelectorError>
where
    T: std::str::FromStr + ToString,
    T::Err: fmt::Display,
{
    text.parse::<T>()
        .map(|value| value.to_string())
        .map_err(|error| identifier_error(kind, &error))
}

fn identifier_error(kind: SelectorKind, error: &dyn fmt::Display) -> SelectorError {
    SelectorError::Identifier {
        kind,
        why: error.to_string(),
    }
}

/// The canonical text of an identifier whose check digit is wrong; `None` if it is right, or if
/// the kind has none.
fn unchecked(kind: SelectorKind, text: &str) -> Result<Option<String>, SelectorError> {
    match kind {
        SelectorKind::Container => match ContainerNumber::parse_unchecked(text) {
            Ok(ContainerReading::Unchecked(number)) => Ok(Some(number.to_string())),
            Ok(ContainerReading::Checked(_)) => Ok(None),
            Err(error) => Err(identifier_error(kind, &error)),
        },
        SelectorKind::Imo => match ImoNumber::parse_unchecked(text) {
            Ok(ImoReading::Unchecked(number)) => Ok(Some(number.to_string())),
            Ok(ImoReading::Checked(_)) => Ok(None),
            Err(error) => Err(identifier_error(kind, &error)),
        },
        SelectorKind::Ilu => match IluCode::parse_unchecked(text) {
            Ok(IluReading::Unchecked(code)) => Ok(Some(code.to_string())),
            Ok(IluReading::Checked(_)) => Ok(None),
            Err(error) => Err(identifier_error(kind, &error)),
        },
        SelectorKind::Mmsi => match Mmsi::parse_unchecked(text) {
            Ok(MmsiReading::Unchecked(digits)) => Ok(Some(digits.to_string())),
            Ok(MmsiReading::Checked(_)) => Ok(None),
            Err(error) => Err(identifier_error(kind, &error)),
        },
        SelectorKind::BillOfLading
        | SelectorKind::Seal
        | SelectorKind::Eori
        | SelectorKind::Plate
        | SelectorKind::UnLocode
        | SelectorKind::HsCode
        | SelectorKind::Trader => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn march() -> Option<Window> {
        Some(Window {
            from: "2021-03-01".parse().unwrap(),
            until: "2021-03-31".parse().unwrap(),
        })
    }

    #[test]
    fn a_container_needs_a_window_and_its_check_digit() {
        let kind = SelectorKind::Container;
        assert!(Selector::new(kind, "CSQU3054383", march()).is_ok());
        assert_eq!(
            Selector::new(kind, "CSQU3054383", None),
            Err(SelectorError::NoWindow(kind))
        );
        assert!(Selector::new(kind, "CSQU3054384", march()).is_err());
    }

    #[test]
    fn a_wrong_check_digit_is_accepted_only_when_asked_and_shows() {
        let kind = SelectorKind::Container;
        let wrong = Selector::accept_unchecked(kind, "CSQU3054384", march()).unwrap();
        assert!(wrong.is_unchecked());
        let right = Selector::accept_unchecked(kind, "CSQU3054383", march()).unwrap();
        assert!(!right.is_unchecked());
        assert!(Selector::accept_unchecked(kind, "CSQU305", march()).is_err());
    }

    #[test]
    fn a_text_given_for_a_container_is_the_unit_that_its_fourth_letter_says() {
        use SelectorKind as Kind;
        for (kind, text, expected) in [
            (Kind::Container, "XYZA1003094", Kind::Ilu),
            (Kind::Container, "xyzk 100309-5", Kind::Ilu),
            (Kind::Container, "CSQU3054383", Kind::Container),
            (Kind::Container, "CSQX3054383", Kind::Container),
            (Kind::Seal, "XYZA1003094", Kind::Seal),
        ] {
            assert_eq!(kind.as_written(text), expected, "{text}");
        }
    }

    /// Bugs 15, 16.
    #[test]
    fn what_nodes_of_the_first_version_would_refuse_needs_the_second() {
        let needs = |kind, text| {
            let selector = Selector::accept_unchecked(kind, text, march()).unwrap();
            (selector.needs(), selector.is_unchecked())
        };
        assert_eq!(needs(SelectorKind::Ilu, "XYZA1003094"), (2, false));
        assert_eq!(needs(SelectorKind::Ilu, "XYZA1003095"), (2, true));
        assert_eq!(needs(SelectorKind::Mmsi, "009123456"), (2, true));
        assert_eq!(needs(SelectorKind::Mmsi, "440123456"), (1, false));
        assert_eq!(needs(SelectorKind::Container, "CSQU3054384"), (1, true));
        assert!(Selector::new(SelectorKind::Mmsi, "009123456", None).is_err());
        assert!(Selector::new(SelectorKind::Ilu, "XYZA1003094", None).is_err());
    }

    #[test]
    fn a_window_that_ends_before_it_begins_is_refused() {
        let window = march().map(|window| Window {
            from: window.until,
            until: window.from,
        });
        assert_eq!(
            Selector::new(SelectorKind::Imo, "9074729", window),
            Err(SelectorError::EmptyWindow)
        );
    }
}
