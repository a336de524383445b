//! Estimates of the memory that received data takes, so that a model can be kept within bounds.
//!
//! Texts count with their bytes, and every element of a set or list with its share of the
//! allocations around it. The estimates are for bounds, and not for accounts.

use std::mem::size_of;

use portcullis_protocol::marking::Marking;

use crate::{
    evidence::SelectorEvidence, profile::CellKey, received::CellsPart, reliability::Observation,
};

/// Bytes that an element of a set or list takes beside its text.
const ELEMENT: usize = 64;

/// Data whose memory can be estimated.
pub trait Weight {
    /// Returns the estimated bytes.
    fn weight(&self) -> usize;
}

impl Weight for SelectorEvidence {
    fn weight(&self) -> usize {
        let texts = [
            self.origin.authority.as_str(),
            &self.origin.group,
            self.selector.value(),
        ];
        size_of::<Self>() + texts.map(text).iter().sum::<usize>() + marking(&self.marking)
    }
}

impl Weight for Observation {
    fn weight(&self) -> usize {
        // It is kept under a key that repeats its observer.
        2 * size_of::<Self>() + 2 * ELEMENT + marking(&self.marking)
    }
}

impl Weight for CellsPart {
    fn weight(&self) -> usize {
        let key = |key: &CellKey| key.values().map(text).sum::<usize>();
        let cells = self.cells.iter();
        let cells: usize = cells.map(|(of, _)| ELEMENT + key(of)).sum();
        size_of::<Self>() + cells + marking(&self.said_by.marking)
    }
}

impl<T: Weight> Weight for Vec<T> {
    fn weight(&self) -> usize {
        self.iter().map(Weight::weight).sum()
    }
}

const fn text(text: &str) -> usize {
    ELEMENT / 2 + text.len()
}

fn marking(marking: &Marking) -> usize {
    let named = marking.release_to.iter().flatten();
    let named: usize = named.map(|id| ELEMENT + id.as_str().len()).sum();
    let restriction = marking.handling.h3.as_deref().map_or(0, text);
    named + marking.purposes.len() * ELEMENT + restriction
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        body::Finding, identifiers::AuthorityId, marking::Tlp, record::RecordId, time::Timestamp,
    };

    use super::*;
    use crate::reliability::Observer;

    /// Attack H3: one header can name thousands of recipients, which every selector repeats.
    #[test]
    fn a_marking_with_many_recipients_weighs_them_all() {
        let observation = |recipients: usize| {
            let named = (0..recipients).map(|n| format!("member-{n}").parse().unwrap());
            let named: std::collections::BTreeSet<AuthorityId> = named.collect();
            let mut marking = Marking::new(Tlp::Amber, []);
            marking.release_to = (!named.is_empty()).then_some(named);
            Observation {
                observer: Observer::Own,
                indicator: RecordId::of_header(b"1"),
                outcome: RecordId::of_header(b"2"),
                sealed_at: Timestamp::from_millis(0),
                marking,
                finding: Finding::Found,
                is_by_own_policy: false,
            }
        };
        let (few, many) = (observation(0).weight(), observation(4_000).weight());
        assert!(few < 1_000 && many > few + 4_000 * 64, "{few} {many}");
    }
}
