//! Counts of callers that found no place, by address, to be told once a minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Interval at which the counts are told.
pub(super) const TELLING: Duration = Duration::from_secs(60);

/// Addresses that are counted apart; the others are counted together.
const MOST_COUNTED: usize = 1_024;

/// Addresses that are named in one telling.
const MOST_NAMED: usize = 5;

/// Callers that found no place, or had to give theirs up, since the last telling.
#[derive(Debug, Default)]
pub(super) struct Crowding {
    addresses: BTreeMap<IpAddr, u64>,
    rest: u64,
}

/// Counts of one telling.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Addresses with the highest counts, the highest first.
    pub(super) named: Vec<(IpAddr, u64)>,
    /// Callers of all other addresses.
    pub(super) rest: u64,
}

impl Crowding {
    /// Counts a caller.
    pub(super) fn count(&mut self, address: IpAddr) {
        let room = self.addresses.len() < MOST_COUNTED;
        match self.addresses.get_mut(&address) {
            Some(count) => *count = count.saturating_add(1),
            None if room => _ = self.addresses.insert(address, 1),
            None => self.rest = self.rest.saturating_add(1),
        }
    }

    /// Returns the counts and begins anew.
    pub(super) fn over(&mut self) -> Told {
        let Self { addresses, rest } = std::mem::take(self);
        let mut counts: Vec<(IpAddr, u64)> = addresses.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let others = counts.split_off(counts.len().min(MOST_NAMED));
        let rest = others
            .iter()
            .fold(rest, |sum, (_, count)| sum.saturating_add(*count));
        Told {
            named: counts,
            rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_few_worst_are_named_and_all_are_counted() {
        let mut crowding = Crowding::default();
        for number in 0..2_000_u32 {
            crowding.count(std::net::Ipv4Addr::from_bits(number).into());
        }
        let worst: IpAddr = [0, 0, 0, 9].into();
        crowding.count(worst);
        let told = crowding.over();
        assert_eq!(told.named.len(), MOST_NAMED);
        assert_eq!(told.named.first(), Some(&(worst, 2)));
        let named: u64 = told.named.iter().map(|(_, count)| count).sum();
        assert_eq!(named + told.rest, 2_001);
        assert_eq!(crowding.over().named, []);
    }
}
