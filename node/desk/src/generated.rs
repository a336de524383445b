//! Containers and vessels for data without them, made by a seeded rule and marked as generated.
//!
//! The rule, for a consignment by sea with reference R and a seed S:
//!
//! 1. D = SHA-256("portcullis generated identifiers v1" ‖ 0x00 ‖ S as big-endian u64 ‖ R).
//! 2. The container is `ZZZU`, then the first four bytes of D as a big-endian number modulo
//!    1,000,000 in six digits, then the check digit of ISO 6346. A serial with the remainder 10,
//!    whose check digit is ambiguous, is skipped: the next serial is tried.
//! 3. The vessel is one of forty: the fifth byte of D modulo 40, added to 200000, then the check
//!    digit of an IMO number.
//!
//! As far as is known, no real container uses `ZZZ` and no real ship uses the range of 200000x.
//! Every record and score that names one says that it was generated.

use portcullis_protocol::{
    body::SelectorKind,
    digest::Digest,
    identifiers::{ContainerNumber, ContainerReading, ImoNumber, ImoReading},
};
use portcullis_scoring::{
    consignment::Consignment,
    identifier::Identifier,
    schema::{IdentifierRule, Schema},
};

const LABEL: &str = "portcullis generated identifiers v1";

const SERIALS: u32 = 1_000_000;

const VESSELS: u8 = 40;

/// Seed of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

/// Returns the identifiers that the schema has generated for this consignment.
#[must_use]
pub fn identifiers(schema: &Schema, consignment: &Consignment, seed: Seed) -> Vec<Identifier> {
    if !consignment.by_sea() {
        return Vec::new();
    }
    let drawn = Digest::labelled(LABEL, &[&seed.0.to_be_bytes(), consignment.id().as_bytes()]);
    schema
        .identifiers()
        .iter()
        .filter(|rule| rule.is_generated())
        .filter_map(|rule| identifier(rule, &drawn))
        .collect()
}

fn identifier(rule: &IdentifierRule, drawn: &Digest) -> Option<Identifier> {
    let value = match rule.kind() {
        SelectorKind::Container => container(drawn),
        SelectorKind::Imo => vessel(drawn),
        SelectorKind::Ilu
        | SelectorKind::Mmsi
        | SelectorKind::BillOfLading
        | SelectorKind::Seal
        | SelectorKind::Eori
        | SelectorKind::Plate
        | SelectorKind::UnLocode
        | SelectorKind::HsCode
        | SelectorKind::Trader => None,
    };
    value.map(|value| Identifier {
        kind: rule.kind(),
        value,
        generated: true,
        unchecked: false,
    })
}

fn container(drawn: &Digest) -> Option<String> {
    let [a, b, c, d, ..] = *drawn.as_bytes();
    let first = u32::from_be_bytes([a, b, c, d]) % SERIALS;
    let serials = (0..SERIALS).map(|step| (first + step) % SERIALS);
    serials.map(checked_container).find_map(|number| {
        number
            .filter(|number| !number.has_ambiguous_check_digit())
            .map(|number| number.to_string())
    })
}

fn checked_container(serial: u32) -> Option<ContainerNumber> {
    match ContainerNumber::parse_unchecked(&format!("ZZZU{serial:06}0")).ok()? {
        ContainerReading::Checked(number) => Some(number),
        ContainerReading::Unchecked(number) => {
            let digit = number.expected_check_digit();
            format!("ZZZU{serial:06}{digit}").parse().ok()
        }
    }
}

fn vessel(drawn: &Digest) -> Option<String> {
    let [_, _, _, _, fifth, ..] = *drawn.as_bytes();
    let number = 200_000 + u32::from(fifth % VESSELS);
    match ImoNumber::parse_unchecked(&format!("{number}0")).ok()? {
        ImoReading::Checked(number) => Some(number.to_string()),
        ImoReading::Unchecked(unchecked) => {
            let digit = unchecked.expected_check_digit();
            let number: ImoNumber = format!("{number}{digit}").parse().ok()?;
            Some(number.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{by_sea, consignment, schema};

    /// Check digit of ISO 6346 from the letters and weights of the standard, computed without the types under test.
    fn check_digit_of_container(text: &str) -> u32 {
        let value = |c: char| match c.to_digit(10) {
            Some(digit) => digit,
            None => {
                let place = c as u32 - 'A' as u32;
                10 + place + place.div_ceil(10)
            }
        };
        let sum: u32 = text
            .chars()
            .take(10)
            .zip(0u32..)
            .map(|(c, at)| value(c) << at)
            .sum();
        sum % 11 % 10
    }

    #[test]
    fn the_same_seed_gives_the_same_valid_identifiers() {
        for n in 0..500 {
            let row = by_sea(&format!("{n}"));
            let made = identifiers(&schema(), &row, Seed(7));
            assert_eq!(made, identifiers(&schema(), &row, Seed(7)));
            let [container, vessel] = made.as_slice() else {
                panic!("{made:?}")
            };
            let last = container
                .value
                .chars()
                .last()
                .unwrap()
                .to_digit(10)
                .unwrap();
            assert_eq!(check_digit_of_container(&container.value), last);
            let imo: Vec<u32> = vessel
                .value
                .chars()
                .filter_map(|c| c.to_digit(10))
                .collect();
            let sum: u32 = imo.iter().zip([7, 6, 5, 4, 3, 2]).map(|(d, w)| d * w).sum();
            assert_eq!(sum % 10, imo[6]);
        }
    }

    #[test]
    fn another_seed_gives_others() {
        let row = by_sea("1");
        assert_ne!(
            identifiers(&schema(), &row, Seed(1)),
            identifiers(&schema(), &row, Seed(2))
        );
    }

    #[test]
    fn what_did_not_come_by_sea_has_no_container() {
        let row = consignment();
        assert!(!row.by_sea());
        assert!(identifiers(&schema(), &row, Seed(1)).is_empty());
    }
}
