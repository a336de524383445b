//! Selection of the roots that may be added up because they cannot rest on the same knowledge.

use portcullis_protocol::{
    evaluation::{Evaluation, InformationCode},
    record::RecordId,
};

use super::{OriginRole, Root, SetAside};

impl Root<'_> {
    /// Returns whether the publisher of its strongest copy knows it and speaks for itself.
    fn is_first_hand(&self) -> bool {
        self.strongest.origin.role == OriginRole::Member && is_known(&self.strongest.evaluation)
    }

    fn shares_a_speaker_with(&self, other: &Self) -> bool {
        let pairs = self
            .copies
            .iter()
            .flat_map(|left| other.copies.iter().map(move |right| (left, right)));
        pairs.into_iter().any(|(left, right)| {
            left.origin.authority == right.origin.authority
                || left.origin.group == right.origin.group
        })
    }
}

/// Removes from `roots`, sorted by strength, those that may not be added up, and returns them with
/// the reason.
///
/// Either all roots that are independent of one another remain, or the strongest alone, if that
/// weighs more than they do together.
pub(super) fn split_off_dependent(roots: &mut Vec<Root<'_>>) -> Vec<(RecordId, SetAside)> {
    let mut independent: Vec<usize> = Vec::new();
    for (at, root) in roots.iter().enumerate() {
        let apart = |other: &usize| {
            roots
                .get(*other)
                .is_some_and(|other| !other.shares_a_speaker_with(root))
        };
        if root.is_first_hand() && independent.iter().all(apart) {
            independent.push(at);
        }
    }
    let worth = |at: &usize| roots.get(*at).map_or(0.0, |root| root.log_odds.abs());
    if independent.iter().map(worth).sum::<f64>() < worth(&0) {
        independent = vec![0];
    }
    let Some(first) = independent.first().and_then(|at| roots.get(*at)) else {
        return Vec::new();
    };
    let because = SetAside::NotIndependent(first.strongest.record);
    let mut dependent = Vec::new();
    let mut at = 0;
    roots.retain(|root| {
        let keep = independent.contains(&at);
        at += 1;
        if !keep {
            dependent.extend(root.copies.iter().map(|copy| (copy.record, because)));
        }
        keep
    });
    dependent
}

/// Returns whether the source knows the information itself.
const fn is_known(evaluation: &Evaluation) -> bool {
    match evaluation.information {
        InformationCode::One | InformationCode::Two => true,
        InformationCode::Three | InformationCode::Four => false,
    }
}
