//! Reliability of authorities: a Beta posterior for each over the share of its indicators that
//! proved right.
//!
//! An outcome of one's own control counts whole. Another authority's counts at a discount, because
//! it may have been told what it wanted to hear. Each observer counts once for each indicator, by
//! its latest outcome, and all that one observer says of one origin weighs at most as much as one
//! own control: no single authority takes the indicators of another out of the scores.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    body::Finding, identifiers::AuthorityId, marking::Marking, record::RecordId, time::Timestamp,
};

/// A Beta distribution over the share of an authority's indicators that are right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reliability {
    right: f64,
    wrong: f64,
}

/// Authority that made the control behind an outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observer {
    /// This authority.
    Own,
    /// Another authority.
    Other(AuthorityId),
}

impl Observer {
    pub(crate) fn is_in(&self, authorities: &BTreeSet<AuthorityId>) -> bool {
        match self {
            Self::Own => false,
            Self::Other(authority) => authorities.contains(authority),
        }
    }
}

/// The outcome of one control of goods that an indicator named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The authority that made the control.
    pub observer: Observer,
    /// The indicator.
    pub indicator: RecordId,
    /// The record of the outcome.
    pub outcome: RecordId,
    /// Time at which the outcome was sealed.
    pub sealed_at: Timestamp,
    /// The outcome's marking in the form that is held.
    pub marking: Marking,
    /// Result of the control.
    pub finding: Finding,
    /// True if it counts by the authority's own policies alone: the baseline hears no outcomes of
    /// this observer.
    pub is_by_own_policy: bool,
}

/// The prior: as if 4 of 5 indicators had been right.
const PRIOR: Reliability = Reliability {
    right: 4.0,
    wrong: 1.0,
};

/// Weight of another authority's outcome, in own controls.
const OTHERS_DISCOUNT: f64 = 0.25;

/// The largest weight of all outcomes of one other authority on one origin, in own controls. It
/// lowers the mean by a sixth at most, and the log-odds of an indicator by ln 1.2.
const MOST_OF_ONE_OBSERVER: f64 = 1.0;

impl Default for Reliability {
    fn default() -> Self {
        PRIOR
    }
}

impl Reliability {
    /// Returns the mean of the posterior.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.right / (self.right + self.wrong)
    }
}

/// Number of indicators of one origin that proved right, and wrong, to one observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    right: u32,
    wrong: u32,
}

impl Tally {
    /// Returns the weights of the right and the wrong ones, in own controls.
    fn weights(self, observer: &Observer) -> (f64, f64) {
        let (right, wrong) = (f64::from(self.right), f64::from(self.wrong));
        let each = match observer {
            Observer::Own => 1.0,
            Observer::Other(_) => {
                let all = (right + wrong) * OTHERS_DISCOUNT;
                OTHERS_DISCOUNT * (MOST_OF_ONE_OBSERVER / all.max(MOST_OF_ONE_OBSERVER))
            }
        };
        (right * each, wrong * each)
    }
}

/// Adds weights of right and wrong ones to the prior.
fn sum(weights: impl Iterator<Item = (f64, f64)>) -> Reliability {
    weights.fold(PRIOR, |so_far, (right, wrong)| Reliability {
        right: so_far.right + right,
        wrong: so_far.wrong + wrong,
    })
}

/// Everything that was observed of one origin.
#[derive(Debug, Clone, PartialEq, Default)]
struct Observed {
    /// The latest observation of each observer and indicator.
    latest: BTreeMap<(Observer, RecordId), Observation>,
    tallies: BTreeMap<Observer, Tally>,
}

impl Observed {
    fn add(&mut self, observation: Observation) {
        let key = (observation.observer.clone(), observation.indicator);
        let stands = self
            .latest
            .get(&key)
            .is_some_and(|known| known.order() >= observation.order());
        if stands {
            return;
        }
        if let Some(known) = self.latest.insert(key, observation.clone()) {
            *self.count(&known) = self.count(&known).saturating_sub(1);
        }
        *self.count(&observation) = self.count(&observation).saturating_add(1);
    }

    fn count(&mut self, observation: &Observation) -> &mut u32 {
        let tally = self
            .tallies
            .entry(observation.observer.clone())
            .or_default();
        match observation.finding {
            Finding::Found => &mut tally.right,
            Finding::NotFound => &mut tally.wrong,
        }
    }

    /// Returns the posterior with what speaks for the origin from everybody, and what speaks against
    /// it from this authority alone, or the other way round.
    fn extreme(&self, most: bool) -> Reliability {
        let weights = self.tallies.iter().map(|(observer, tally)| {
            let (right, wrong) = tally.weights(observer);
            match (observer, most) {
                (Observer::Own, _) => (right, wrong),
                (Observer::Other(_), true) => (right, 0.0),
                (Observer::Other(_), false) => (0.0, wrong),
            }
        });
        sum(weights)
    }

    fn posterior(&self, left_out: &BTreeSet<AuthorityId>) -> Reliability {
        let weights = self
            .tallies
            .iter()
            .filter(|(observer, _)| !observer.is_in(left_out))
            .map(|(observer, tally)| tally.weights(observer));
        sum(weights)
    }
}

impl Observation {
    fn order(&self) -> (Timestamp, RecordId) {
        (self.sealed_at, self.outcome)
    }
}

/// The reliability of each authority; the prior for those without outcomes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reliabilities {
    of: BTreeMap<AuthorityId, Observed>,
}

impl Reliabilities {
    /// Adds the outcome of an indicator that `origin` had published. An earlier outcome of the same
    /// observer on the same indicator counts no more.
    pub fn observe(&mut self, origin: &AuthorityId, observation: Observation) {
        self.of.entry(origin.clone()).or_default().add(observation);
    }

    /// Returns the reliability of `origin`.
    #[must_use]
    pub fn of(&self, origin: &AuthorityId) -> Reliability {
        self.without(origin, &BTreeSet::new())
    }

    /// Returns the reliability of `origin` if `left_out` had never reported an outcome.
    pub(crate) fn without(
        &self,
        origin: &AuthorityId,
        left_out: &BTreeSet<AuthorityId>,
    ) -> Reliability {
        let observed = self.of.get(origin);
        observed.map_or(PRIOR, |observed| observed.posterior(left_out))
    }

    /// Returns a reliability of `origin` that is at least what it is without any others' outcomes
    /// (`most`), or at most that.
    pub(crate) fn extreme(&self, origin: &AuthorityId, most: bool) -> Reliability {
        let observed = self.of.get(origin);
        observed.map_or(PRIOR, |observed| observed.extreme(most))
    }

    /// Returns the other authorities to whom an indicator of `origin` proved so.
    pub(crate) fn found_so_by(
        &self,
        origin: &AuthorityId,
        finding: Finding,
    ) -> impl Iterator<Item = &AuthorityId> {
        let tallies = self.of.get(origin).map(|observed| observed.tallies.iter());
        let all = tallies.into_iter().flatten();
        all.filter_map(move |(observer, tally)| {
            let count = match finding {
                Finding::Found => tally.right,
                Finding::NotFound => tally.wrong,
            };
            match observer {
                Observer::Other(authority) if count > 0 => Some(authority),
                Observer::Own | Observer::Other(_) => None,
            }
        })
    }

    /// Returns the outcomes of other authorities that the reliability of `origin` rests on.
    pub(crate) fn told_by_others(
        &self,
        origin: &AuthorityId,
    ) -> impl Iterator<Item = &Observation> {
        let observed = self.of.get(origin).map(|observed| observed.latest.values());
        observed
            .into_iter()
            .flatten()
            .filter(|observation| observation.observer != Observer::Own)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::marking::{Purpose, Tlp};

    use super::*;

    fn observation(observer: Option<&str>, indicator: u8, finding: Finding) -> Observation {
        Observation {
            observer: observer.map_or(Observer::Own, |name| Observer::Other(name.parse().unwrap())),
            indicator: RecordId::of_header(&[indicator]),
            outcome: RecordId::of_header(&[indicator, 1]),
            sealed_at: Timestamp::from_millis(1),
            marking: Marking::new(Tlp::Green, [Purpose::CustomsControl]),
            finding,
            is_by_own_policy: false,
        }
    }

    fn mean(observations: impl IntoIterator<Item = Observation>) -> f64 {
        let origin = "police".parse().unwrap();
        let mut reliabilities = Reliabilities::default();
        for observation in observations {
            reliabilities.observe(&origin, observation);
        }
        reliabilities.of(&origin).mean()
    }

    #[track_caller]
    fn close(mean: f64, expected: f64) {
        assert!((mean - expected).abs() < 1e-12, "{mean} is not {expected}");
    }

    #[test]
    fn own_outcomes_count_whole_and_others_a_quarter() {
        // Beta(4, 1) has mean 0.8. One own hit: 5/6. One own miss: 4/6. Four misses of others weigh
        // as one own miss.
        close(mean([]), 0.8);
        close(mean([observation(None, 1, Finding::Found)]), 5.0 / 6.0);
        close(mean([observation(None, 1, Finding::NotFound)]), 4.0 / 6.0);
        let four = (1..=4).map(|n| observation(Some("customs"), n, Finding::NotFound));
        close(mean(four), 4.0 / 6.0);
    }

    /// Attack C1: one outcome named a police indicator 1,500 times.
    #[test]
    fn an_observer_counts_once_for_an_indicator() {
        let again = (0..1_500).map(|_| observation(Some("customs"), 1, Finding::NotFound));
        close(mean(again), 4.0 / 5.25);
    }

    /// Attack C1, with an indicator for each outcome.
    #[test]
    fn one_observer_lowers_the_mean_by_a_sixth_at_most() {
        let many = (0..=255).map(|n| observation(Some("customs"), n, Finding::NotFound));
        close(mean(many), 4.0 / 6.0);
        let own = (0..4).map(|n| observation(None, n, Finding::NotFound));
        close(mean(own), 4.0 / 9.0);
    }

    #[test]
    fn the_latest_outcome_of_an_observer_stands_whichever_came_first() {
        let first = observation(Some("customs"), 1, Finding::NotFound);
        let mut corrected = observation(Some("customs"), 1, Finding::Found);
        corrected.sealed_at = Timestamp::from_millis(2);
        close(mean([first.clone(), corrected.clone()]), 4.25 / 5.25);
        close(mean([corrected, first]), 4.25 / 5.25);
    }

    #[test]
    fn each_authority_has_its_own() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut reliabilities = Reliabilities::default();
        reliabilities.observe(&a, observation(None, 1, Finding::NotFound));
        assert!(reliabilities.of(&a).mean() < reliabilities.of(&b).mean());
        assert_eq!(reliabilities.of(&b), Reliability::default());
    }
}
