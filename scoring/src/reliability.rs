//! Reliability of authorities: a Beta posterior for each over the share of its indicators that
//! proved right.
//!
//! An outcome of one's own control counts whole. Another authority's counts at a discount, because
//! it may have been told what it wanted to hear.

use std::collections::BTreeMap;

use portcullis_protocol::{body::Finding, identifiers::AuthorityId};

/// A Beta distribution over the share of an authority's indicators that are right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reliability {
    right: f64,
    wrong: f64,
}

/// Authority that made the control behind an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observer {
    /// This authority's own.
    Own,
    /// Another authority's.
    Other,
}

/// The prior: as if 4 of 5 indicators had been right.
const PRIOR: Reliability = Reliability {
    right: 4.0,
    wrong: 1.0,
};

/// Weight of another authority's outcome.
const OTHERS_DISCOUNT: f64 = 0.25;

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

    /// Returns the posterior after one more outcome of an indicator.
    #[must_use]
    pub fn after(self, outcome: Finding, observer: Observer) -> Self {
        let weight = match observer {
            Observer::Own => 1.0,
            Observer::Other => OTHERS_DISCOUNT,
        };
        let (right, wrong) = match outcome {
            Finding::Found => (weight, 0.0),
            Finding::NotFound => (0.0, weight),
        };
        Self {
            right: self.right + right,
            wrong: self.wrong + wrong,
        }
    }
}

/// The reliability of each authority; the prior for those without outcomes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reliabilities {
    of: BTreeMap<AuthorityId, Reliability>,
}

impl Reliabilities {
    /// Adds the outcome of an indicator that `origin` had published.
    pub fn observe(&mut self, origin: &AuthorityId, outcome: Finding, observer: Observer) {
        let posterior = self.of.entry(origin.clone()).or_default();
        *posterior = posterior.after(outcome, observer);
    }

    /// Returns the reliability of `origin`.
    #[must_use]
    pub fn of(&self, origin: &AuthorityId) -> Reliability {
        self.of.get(origin).copied().unwrap_or_default()
    }

    /// The authorities that have outcomes, each with its reliability.
    pub fn iter(&self) -> impl Iterator<Item = (&AuthorityId, Reliability)> {
        self.of
            .iter()
            .map(|(origin, reliability)| (origin, *reliability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_outcomes_count_whole_and_others_a_quarter() {
        // Beta(4, 1) has mean 0.8. One own hit: 5/6. One own miss: 4/6. Four misses of others weigh
        // as one own miss.
        let prior = Reliability::default();
        let close = |reliability: Reliability, mean: f64| {
            assert!((reliability.mean() - mean).abs() < 1e-12, "{reliability:?}");
        };
        close(prior, 0.8);
        close(prior.after(Finding::Found, Observer::Own), 5.0 / 6.0);
        close(prior.after(Finding::NotFound, Observer::Own), 4.0 / 6.0);
        let others = (0..4).fold(prior, |r, _| r.after(Finding::NotFound, Observer::Other));
        close(others, 4.0 / 6.0);
    }

    #[test]
    fn each_authority_has_its_own() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut reliabilities = Reliabilities::default();
        reliabilities.observe(&a, Finding::NotFound, Observer::Own);
        assert!(reliabilities.of(&a).mean() < reliabilities.of(&b).mean());
        assert_eq!(reliabilities.of(&b), Reliability::default());
    }
}
