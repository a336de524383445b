//! Selection of the claims that may be added up because they cannot rest on the same knowledge.
//!
//! A *claim* is the weightiest record of one group on one root. Claims add up if each is of another
//! root and of another group, and if the group knows it at first hand. Of all such selections the
//! weightiest counts, or the weightiest single claim if it is worth more. A further record can
//! therefore only add choices: nobody makes the claims of others count for less by speaking, or by
//! repeating what they said.

use std::collections::BTreeMap;

use portcullis_protocol::{
    evaluation::{Evaluation, InformationCode},
    identifiers::AuthorityId,
    record::RootTag,
};

use super::{OriginRole, SelectorEvidence};

/// The weightiest record of one group on one root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'e> {
    pub(super) item: &'e SelectorEvidence,
    /// The group of its publisher.
    pub(super) group: &'e str,
    pub(super) log_odds: f64,
}

impl Claim<'_> {
    fn weight(&self) -> f64 {
        self.log_odds.abs()
    }

    /// Returns whether the publisher knows it and speaks for itself.
    fn is_first_hand(&self) -> bool {
        self.item.origin.role != OriginRole::Hub && is_known(&self.item.evaluation)
    }
}

/// Returns the claims that count, the weightiest first.
pub(super) fn counted<'e>(items: impl IntoIterator<Item = Claim<'e>>) -> Vec<Claim<'e>> {
    let claims = claims(items);
    let Some(strongest) = claims.first().copied() else {
        return Vec::new();
    };
    let mut added = Selection::of(&claims).best();
    added.sort_by(order);
    if added.iter().map(Claim::weight).sum::<f64>() < strongest.weight() {
        return vec![strongest];
    }
    added
}

/// Returns the weightiest record of each group on each root, the weightiest first.
fn claims<'e>(items: impl IntoIterator<Item = Claim<'e>>) -> Vec<Claim<'e>> {
    // An authority is of one group, whatever its records say.
    let mut groups: BTreeMap<&AuthorityId, &'e str> = BTreeMap::new();
    // First-hand claims stand apart, so that a weightier hearsay does not hide them.
    let mut best: BTreeMap<(RootTag, &str, bool), Claim<'e>> = BTreeMap::new();
    for mut claim in items {
        let speaker = &claim.item.origin.authority;
        claim.group = groups.entry(speaker).or_insert(claim.group);
        best.entry((claim.item.root, claim.group, claim.is_first_hand()))
            .and_modify(|known| {
                if order(&claim, known).is_lt() {
                    *known = claim;
                }
            })
            .or_insert(claim);
    }
    let mut claims: Vec<Claim<'e>> = best.into_values().collect();
    claims.sort_by(order);
    claims
}

/// Orders claims by weight, the weightiest first, and those of one weight by record.
fn order(left: &Claim<'_>, right: &Claim<'_>) -> std::cmp::Ordering {
    right
        .weight()
        .total_cmp(&left.weight())
        .then(left.item.record.cmp(&right.item.record))
}

/// The weightiest selection of claims, at most one of each group and one for each root: an assignment
/// of roots to groups. Groups are admitted one after the other, and after each the selection is the
/// weightiest of those admitted so far.
struct Selection<'c, 'e> {
    /// First-hand claims by group.
    groups: BTreeMap<&'e str, Vec<&'c Claim<'e>>>,
    taken: BTreeMap<RootTag, &'c Claim<'e>>,
}

/// A way by which a root can be had: the claim that takes it, and the root that its group gives up
/// for it.
struct Way<'c, 'e> {
    /// Weight that is gained up to here, with whoever holds the root left out.
    gain: f64,
    claim: &'c Claim<'e>,
    from: Option<RootTag>,
}

/// Least gain that is worth a change; sums of weights are not exact.
const LEAST_GAIN: f64 = 1e-12;

impl<'c, 'e> Selection<'c, 'e> {
    fn of(claims: &'c [Claim<'e>]) -> Self {
        let mut groups: BTreeMap<&'e str, Vec<&'c Claim<'e>>> = BTreeMap::new();
        for claim in claims.iter().filter(|claim| claim.is_first_hand()) {
            groups.entry(claim.group).or_default().push(claim);
        }
        let most = groups.len();
        for claims in groups.values_mut() {
            // The others can take all roots but one at most.
            claims.truncate(most);
        }
        Self {
            groups,
            taken: BTreeMap::new(),
        }
    }

    fn best(mut self) -> Vec<Claim<'e>> {
        let groups: Vec<Vec<&'c Claim<'e>>> = self.groups.values().cloned().collect();
        for claims in groups {
            self.admit(&claims);
        }
        self.taken.into_values().copied().collect()
    }

    /// Admits a group. It takes a root that is free, or one whose holder moves to another, and so on;
    /// or somebody is left out who weighs less.
    fn admit(&mut self, claims: &[&'c Claim<'e>]) {
        let mut ways: BTreeMap<RootTag, Way<'c, 'e>> = BTreeMap::new();
        for claim in claims {
            offer(&mut ways, claim, claim.weight(), None);
        }
        for _ in 0..=self.taken.len() {
            let moves = self.moves(&ways);
            let mut better = false;
            for (claim, gain, from) in moves {
                better |= offer(&mut ways, claim, gain, Some(from));
            }
            if !better {
                break;
            }
        }
        let left_out = |root: &RootTag| self.taken.get(root).map_or(0.0, |held| held.weight());
        let best = ways
            .iter()
            .map(|(root, way)| (root, way.gain - left_out(root)))
            .max_by(|left, right| left.1.total_cmp(&right.1));
        let mut at = best
            .filter(|(_, gain)| *gain > LEAST_GAIN)
            .map(|(root, _)| *root);
        while let Some(root) = at {
            let Some(way) = ways.remove(&root) else { break };
            self.taken.insert(root, way.claim);
            at = way.from;
        }
    }

    /// Returns the moves of those who hold a root that can be had: the claim that each could take
    /// instead, the gain, and the root that is given up.
    fn moves(&self, ways: &BTreeMap<RootTag, Way<'c, 'e>>) -> Vec<(&'c Claim<'e>, f64, RootTag)> {
        let held = ways
            .iter()
            .filter_map(|(root, way)| Some((root, way, *self.taken.get(root)?)));
        held.flat_map(|(root, way, holder)| {
            let others = self.groups.get(holder.group).into_iter().flatten();
            let others = others.filter(move |claim| claim.item.root != *root);
            others.map(move |claim| {
                let gain = way.gain - holder.weight() + claim.weight();
                (*claim, gain, *root)
            })
        })
        .collect()
    }
}

/// Keeps a way if it gains more than the one known. Returns whether it does.
fn offer<'c, 'e>(
    ways: &mut BTreeMap<RootTag, Way<'c, 'e>>,
    claim: &'c Claim<'e>,
    gain: f64,
    from: Option<RootTag>,
) -> bool {
    let root = claim.item.root;
    let known = ways.get(&root).map(|way| way.gain);
    let better = known.is_none_or(|known| gain > known + LEAST_GAIN);
    if better {
        ways.insert(root, Way { gain, claim, from });
    }
    better
}

/// Returns whether the source knows the information itself.
const fn is_known(evaluation: &Evaluation) -> bool {
    match evaluation.information {
        InformationCode::One | InformationCode::Two => true,
        InformationCode::Three | InformationCode::Four => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{authority, indicator};

    /// Returns the weight of the best selection, tried in every way.
    fn tried(groups: &[Vec<(u8, f64)>], taken: &mut Vec<u8>) -> f64 {
        let Some((first, rest)) = groups.split_first() else {
            return 0.0;
        };
        let mut best = tried(rest, taken);
        for (root, weight) in first {
            if !taken.contains(root) {
                taken.push(*root);
                best = best.max(weight + tried(rest, taken));
                taken.pop();
            }
        }
        best
    }

    fn items(groups: &[Vec<(u8, f64)>]) -> Vec<(SelectorEvidence, f64)> {
        let of_group = |(at, claims): (usize, &Vec<(u8, f64)>)| {
            let claims = claims.clone();
            claims
                .into_iter()
                .enumerate()
                .map(move |(n, (root, weight))| {
                    let mut item = indicator(1);
                    let header = [u8::try_from(at).unwrap(), u8::try_from(n).unwrap()];
                    item.record = portcullis_protocol::record::RecordId::of_header(&header);
                    item.root = RootTag::from_bytes([root; 16]);
                    item.origin.authority = authority(&at.to_string());
                    item.origin.group = format!("group-{at}");
                    (item, weight)
                })
        };
        groups.iter().enumerate().flat_map(of_group).collect()
    }

    fn weight_of(items: &[(SelectorEvidence, f64)]) -> f64 {
        let claims = items.iter().map(|(item, log_odds)| Claim {
            item,
            group: &item.origin.group,
            log_odds: *log_odds,
        });
        counted(claims).iter().map(Claim::weight).sum()
    }

    proptest! {
        /// The selection is the weightiest, and a further record of whomever only adds choices.
        #[test]
        fn the_weightiest_selection_is_found(
            groups in prop::collection::vec(
                prop::collection::vec((0u8..5, 0.01f64..4.0), 0..5), 0..6),
        ) {
            let items = items(&groups);
            let found = weight_of(&items);
            let expected = tried(&groups, &mut Vec::new());
            prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    /// With eight groups at most, a ninth that copied a root took the weakest out of the sum.
    #[test]
    fn a_group_more_takes_nobody_out() {
        let mut groups: Vec<Vec<(u8, f64)>> = (0..30).map(|root| vec![(root, 1.0)]).collect();
        let before = weight_of(&items(&groups));
        groups.push(vec![(0, 1.5)]);
        let after = weight_of(&items(&groups));
        assert!(
            (before - 30.0).abs() < 1e-9 && (after - 30.5).abs() < 1e-9,
            "{before} {after}"
        );
    }
}
