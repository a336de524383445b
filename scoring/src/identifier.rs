//! Identifiers of a consignment by which an indicator can name it.

use portcullis_protocol::{
    body::{Selector, SelectorKind},
    identifiers::HsCode,
};

/// One identifier of a consignment, in the canonical text of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// Kind of identifier.
    pub kind: SelectorKind,
    /// Its canonical text.
    pub value: String,
    /// True if a rule made it because the data has none.
    pub generated: bool,
    /// True if its check digit is wrong and was accepted all the same.
    pub unchecked: bool,
}

impl Identifier {
    /// Returns whether `selector` names this identifier of a consignment of `year`. A goods code is named
    /// by every code that it begins with ([`HsCode::is_of`] says in which editions).
    #[must_use]
    pub fn is_named_by(&self, selector: &Selector, year: i16) -> bool {
        if self.kind != selector.kind() {
            return false;
        }
        match self.kind {
            SelectorKind::HsCode => are_goods_of(&self.value, selector.value(), year),
            SelectorKind::Container
            | SelectorKind::Ilu
            | SelectorKind::Imo
            | SelectorKind::Mmsi
            | SelectorKind::BillOfLading
            | SelectorKind::Seal
            | SelectorKind::Eori
            | SelectorKind::Plate
            | SelectorKind::UnLocode
            | SelectorKind::Trader => self.value == selector.value(),
        }
    }
}

fn are_goods_of(goods: &str, named: &str, year: i16) -> bool {
    let (Ok(goods), Ok(named)) = (goods.parse::<HsCode>(), named.parse::<HsCode>()) else {
        return false;
    };
    named.is_of(&goods, year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: SelectorKind, own: &str, named: &str, expected: bool) {
        let own = Identifier {
            kind,
            value: own.to_owned(),
            generated: false,
            unchecked: false,
        };
        let selector = Selector::new(kind, named, None).unwrap();
        assert_eq!(own.is_named_by(&selector, 2021), expected, "{named}");
    }

    #[test]
    fn goods_are_meant_by_what_their_code_begins_with() {
        check(SelectorKind::HsCode, "4408900000", "440890", true);
        check(SelectorKind::HsCode, "440890", "440890", true);
        check(SelectorKind::HsCode, "440890", "440910", false);
        check(SelectorKind::HsCode, "440890", "4408900000", false);
    }

    /// Bug 18: a code with an edition, the form that the help shows, met no goods at all.
    #[test]
    fn goods_without_an_edition_are_of_the_one_in_force_in_their_year() {
        check(SelectorKind::HsCode, "440890", "440890@2017", true);
        check(SelectorKind::HsCode, "440890", "440890@2022", false);
        check(SelectorKind::HsCode, "4408900000@2022", "440890", true);
        check(SelectorKind::HsCode, "440890@2022", "440890@2022", true);
        check(SelectorKind::HsCode, "440890@2022", "440890@2017", false);
        check(SelectorKind::HsCode, "440890", "440910@2017", false);
    }

    #[test]
    fn other_identifiers_are_meant_only_whole_and_of_their_kind() {
        check(SelectorKind::Trader, "KR:QLRUBN9", "KR:QLRUBN9", true);
        check(SelectorKind::Trader, "KR:QLRUBN9", "KR:QLR", false);
        let trader = Identifier {
            kind: SelectorKind::Trader,
            value: "9074729".to_owned(),
            generated: false,
            unchecked: false,
        };
        assert!(!trader.is_named_by(
            &Selector::new(SelectorKind::Imo, "9074729", None).unwrap(),
            2021
        ));
    }
}
