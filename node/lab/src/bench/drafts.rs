//! Generator of the measured records: 600 bytes in three sections, with one indexed selector each.
//!
//! The 600 bytes are the header and the sections with their salts, which are the parts that are
//! signed for, encrypted and kept. The record's place in its batch travels with it and is not
//! counted in them. Every record has a container number of its own, and the text does not repeat
//! itself.

use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorError, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    identifiers::{ContainerNumber, ContainerNumberError},
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    seal::Draft,
    time::Timestamp,
};

/// Bytes of header and sections of each record.
pub const RECORD_BYTES: usize = 600;

/// Characters of the narrative that make the record 600 bytes long in the bench's federation.
const NARRATIVE: usize = 247;

/// Serial numbers of one owner code.
const SERIALS: u64 = 1_000_000;

/// Half the length of a selector's window, which lies around the time of sealing: 30 days.
const HALF_WINDOW_MS: i64 = 30 * 86_400_000;

/// Error of a draft that cannot be made. It means that the generator is wrong.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The selector is not valid.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The container number is not valid.
    #[error(transparent)]
    Container(#[from] ContainerNumberError),
}

/// Generator of drafts. The same seed gives the same drafts.
#[derive(Debug, Clone)]
pub struct Generator {
    serial: u64,
    random: Random,
    now: Timestamp,
}

impl Generator {
    /// Makes a generator with this seed. Containers are reported around `now`.
    #[must_use]
    pub const fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            serial: seed.wrapping_mul(SERIALS),
            random: Random(seed),
            now,
        }
    }

    /// Makes `count` drafts of a kind.
    ///
    /// # Errors
    ///
    /// [`DraftError`]; it does not happen unless the generator is wrong.
    pub fn drafts(&mut self, kind: Kind, count: u64) -> Result<Vec<Draft>, DraftError> {
        (0..count).map(|_| self.draft(kind)).collect()
    }

    fn draft(&mut self, kind: Kind) -> Result<Draft, DraftError> {
        let number = container(self.serial)?;
        self.serial = self.serial.wrapping_add(1);
        let window = Window {
            from: self.now.plus_millis(-HALF_WINDOW_MS),
            until: self.now.plus_millis(HALF_WINDOW_MS),
        };
        let selector = Selector::new(SelectorKind::Container, &number, Some(window))?;
        let subject = Subject {
            selectors: vec![selector],
            title: "container to be controlled".to_owned(),
            generated: false,
        };
        let assessment = Assessment {
            threat: "narcotics".to_owned(),
            finding: None,
            text: String::new(),
        };
        let bodies = vec![
            Body::Subject(subject),
            Body::Assessment(assessment),
            Body::Narrative(self.random.text(NARRATIVE)),
        ];
        let purposes = [Purpose::CustomsControl, Purpose::LawEnforcement];
        let marking = Marking::new(Tlp::Green, purposes);
        Ok(Draft::new(kind, marking, Evaluation::default(), bodies))
    }
}

/// Returns the container number of a serial number. Each million has another owner code, and the
/// check digit is computed.
fn container(serial: u64) -> Result<String, ContainerNumberError> {
    let mut rest = serial / SERIALS;
    let mut owner = String::with_capacity(3);
    for _ in 0..3 {
        owner.push(letter(rest % 26));
        rest /= 26;
    }
    let stem = format!("{owner}U{:06}", serial % SERIALS);
    match stem.parse::<ContainerNumber>() {
        Ok(whole) => Ok(whole.to_string()),
        Err(ContainerNumberError::NoCheckDigit { expected, .. }) => Ok(format!("{stem}{expected}")),
        Err(other) => Err(other),
    }
}

/// Returns the letter at this place of the alphabet, counted from 0.
fn letter(place: u64) -> char {
    u8::try_from(place)
        .ok()
        .and_then(|place| b'A'.checked_add(place))
        .map_or('Z', char::from)
}

/// SplitMix64 generator. It is enough for text that does not compress; nothing here is secret.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn text(&mut self, length: usize) -> String {
        const CHARACTERS: &[u8; 64] =
            b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut word = self.next();
            for _ in 0..10 {
                let place = usize::try_from(word & 63).unwrap_or(0);
                let character = CHARACTERS.get(place).copied().unwrap_or(b' ');
                text.push(char::from(character));
                word >>= 6;
            }
        }
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_protocol::{
        keys::{KeyUse, SigningKey},
        seal::Sealer,
    };

    use super::*;
    use crate::bench::run::{FEDERATION, SENDER};
    use portcullis_home::clock::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_record_has_600_bytes_and_three_sections() {
        let sealer = Sealer {
            federation: &FEDERATION.parse().unwrap(),
            origin: &SENDER.parse().unwrap(),
            key: &SigningKey::from_seed(KeyUse::Sealing, [1; 32]),
            now: NOW,
        };
        for kind in [Kind::Indicator, Kind::Alert] {
            let drafts = Generator::new(7, NOW).drafts(kind, 3).unwrap();
            for sealed in sealer.seal(drafts, &mut SystemEntropy::default()).unwrap() {
                let wire = sealed.wire();
                let sections = wire.sections.iter();
                let bytes: usize = sections.map(|one| one.salt.len() + one.body.len()).sum();
                assert_eq!(bytes + wire.header.len(), RECORD_BYTES);
                assert_eq!(wire.sections.len(), 3);
            }
        }
    }

    #[test]
    fn no_container_comes_twice_and_each_has_its_check_digit() {
        let mut seen = BTreeSet::new();
        for serial in (0..500).chain(999_900..1_000_100) {
            let number = container(serial).unwrap();
            number.parse::<ContainerNumber>().unwrap();
            assert!(seen.insert(number));
        }
    }
}
