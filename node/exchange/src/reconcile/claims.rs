//! Claims of a peer: the bound on what the ledger learns from its word alone. Pure.
//!
//! A claim says that the peer holds a record of which the ledger has no row. The claim is honest
//! after a restore, which forgets what was sent since the backup. A false claim costs a row for
//! ever. The number of rows learned of one peer is therefore bounded in total. Claims beyond the
//! bound are refused (RC-04).

use portcullis_protocol::{reconcile::Entry, rules::Rule, verify::Refusal};

/// Largest number of disclosures that the ledger learns of one peer, in all. A node that forgot a
/// million records in restores learns of every one; a liar costs some 200 MiB of disk and no more.
pub const MAX_TAUGHT: u64 = 1 << 20;

/// Number of claims that one comparison may still admit, and number of claims refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claims {
    room: u64,
    refused: u64,
}

impl Claims {
    /// Begins a comparison; `learned` disclosures of this peer were learned before.
    #[must_use]
    pub const fn after(learned: u64) -> Self {
        Self {
            room: MAX_TAUGHT.saturating_sub(learned),
            refused: 0,
        }
    }

    /// Cuts `claimed` to as many entries as there is room for, and counts the rest as refused.
    pub fn admit(&mut self, claimed: &mut Vec<Entry>) {
        let count = claimed.len() as u64;
        let admitted = count.min(self.room);
        claimed.truncate(usize::try_from(admitted).unwrap_or(usize::MAX));
        self.room -= admitted;
        self.refused += count - admitted;
    }

    /// Returns the refusal of the claims beyond the bound, if there were any.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let detail = || format!("{} beyond {MAX_TAUGHT}", self.refused);
        (self.refused > 0).then(|| Refusal::new(Rule::ReconcileClaims, detail()))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::record::{Form, RecordId};

    use super::*;

    fn claimed(count: usize) -> Vec<Entry> {
        let entry = Entry {
            id: RecordId::from_slice(&[7; 32]).unwrap(),
            form: Form::from_bits(1),
        };
        vec![entry; count]
    }

    #[test]
    fn rc_04_more_disclosures_claimed_than_a_peer_may_teach() {
        let mut claims = Claims::after(1_048_576 - 10);
        let mut first = claimed(7);
        claims.admit(&mut first);
        assert_eq!((first.len(), claims.refusal()), (7, None));
        let mut second = claimed(5);
        claims.admit(&mut second);
        assert_eq!(second.len(), 3);
        let mut third = claimed(4);
        claims.admit(&mut third);
        assert!(third.is_empty());
        let refusal = claims.refusal().unwrap();
        assert_eq!(refusal.rule, Rule::ReconcileClaims);
        assert!(
            refusal.to_string().contains("6 beyond 1048576"),
            "{refusal}"
        );
    }

    #[test]
    fn who_taught_too_much_already_teaches_nothing() {
        let mut claims = Claims::after(u64::MAX);
        let mut entries = claimed(1);
        claims.admit(&mut entries);
        assert!(entries.is_empty() && claims.refusal().is_some());
    }
}
