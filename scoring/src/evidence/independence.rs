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

/// Most groups whose claims are added up. Those with the weightiest claims come first.
const MOST_GROUPS: usize = 8;

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

/// Search for the weightiest selection: depth first over the groups, each with one claim or none.
struct Selection<'c, 'e> {
    /// First-hand claims by group, the weightiest first.
    groups: Vec<Vec<&'c Claim<'e>>>,
    taken: Vec<&'c Claim<'e>>,
    best: Vec<&'c Claim<'e>>,
    best_weight: f64,
}

impl<'c, 'e> Selection<'c, 'e> {
    fn of(claims: &'c [Claim<'e>]) -> Self {
        let mut groups: Vec<(&str, Vec<&Claim<'e>>)> = Vec::new();
        for claim in claims.iter().filter(|claim| claim.is_first_hand()) {
            match groups.iter_mut().find(|(name, _)| *name == claim.group) {
                Some((_, of_group)) => of_group.push(claim),
                None => groups.push((claim.group, vec![claim])),
            }
        }
        groups.truncate(MOST_GROUPS);
        let most = groups.len();
        let mut groups: Vec<Vec<_>> = groups.into_iter().map(|(_, claims)| claims).collect();
        for claims in &mut groups {
            // The others can take all roots but one at most.
            claims.truncate(most);
        }
        Self {
            groups,
            taken: Vec::new(),
            best: Vec::new(),
            best_weight: 0.0,
        }
    }

    fn best(mut self) -> Vec<Claim<'e>> {
        self.search(0, 0.0);
        self.best.into_iter().copied().collect()
    }

    fn search(&mut self, at: usize, weight: f64) {
        if weight > self.best_weight {
            self.best_weight = weight;
            self.best.clone_from(&self.taken);
        }
        let rest = self.groups.get(at..).unwrap_or_default();
        let hope: f64 = rest
            .iter()
            .filter_map(|claims| claims.first())
            .map(|claim| claim.weight())
            .sum();
        if weight + hope <= self.best_weight {
            return;
        }
        for choice in 0..rest.first().map_or(0, Vec::len) {
            let claim = self.groups.get(at).and_then(|claims| claims.get(choice));
            let Some(claim) = claim.copied() else { break };
            if self
                .taken
                .iter()
                .all(|other| other.item.root != claim.item.root)
            {
                self.taken.push(claim);
                self.search(at + 1, weight + claim.weight());
                self.taken.pop();
            }
        }
        self.search(at + 1, weight);
    }
}

/// Returns whether the source knows the information itself.
const fn is_known(evaluation: &Evaluation) -> bool {
    match evaluation.information {
        InformationCode::One | InformationCode::Two => true,
        InformationCode::Three | InformationCode::Four => false,
    }
}
