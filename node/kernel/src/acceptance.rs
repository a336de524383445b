//! Acceptance of trust settings: what the sealed keys say was accepted, and what was found.
//!
//! A node whose settings were changed starts shut: it has no connection with anybody, and its admin
//! socket answers, until a person accepts the change with a signed act or the files are put back. A
//! running node takes up no change that nobody accepted. [`Acceptance`] is pure.

use portcullis_home::{
    keyring::Accepted,
    trust_settings::{SettingChange, TrustSettings},
};

use crate::health::{Problem, ProblemKind};

/// Most changes that health names one by one.
const MOST_NAMED: usize = 8;

/// Comparison of the trust settings found with those accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acceptance {
    /// True if nothing was ever accepted: the keys are of an earlier version.
    pub is_open_ended: bool,
    /// Settings that differ from the accepted ones.
    pub changes: Vec<SettingChange>,
    /// Number of an acceptance that the log of acts knows and the keys do not: they were put back.
    pub lost: Option<u64>,
    /// True if the node has no connection with anybody.
    pub is_shut: bool,
    /// Accepted settings that count only from the next start.
    pub waiting: Vec<&'static str>,
}

impl Acceptance {
    /// Compares what was found with what the keys say. `logged` is the highest number of an
    /// acceptance in the log of acts.
    #[must_use]
    pub fn of(accepted: Option<&Accepted>, found: &TrustSettings, logged: Option<u64>) -> Self {
        let serial = accepted.map_or(0, |accepted| accepted.serial);
        Self {
            is_open_ended: accepted.is_none(),
            changes: accepted.map_or_else(Vec::new, |accepted| accepted.settings.changes(found)),
            lost: logged.filter(|logged| *logged > serial),
            ..Self::default()
        }
    }

    /// Returns the same as a node that starts with these settings has it.
    #[must_use]
    pub fn at_start(self) -> Self {
        Self {
            is_shut: !self.holds(),
            ..self
        }
    }

    /// Returns true if nothing was changed that nobody accepted.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.changes.is_empty() && self.lost.is_none()
    }

    /// Describes in a word how it stands: `accepted`, `changed`, `waiting` for a restart, or
    /// `unsealed`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match (self.holds(), self.is_open_ended, self.waiting.is_empty()) {
            (false, _, _) => "changed",
            (true, true, _) => "unsealed",
            (true, false, true) => "accepted",
            (true, false, false) => "waiting",
        }
    }

    /// Returns what is wrong, in problems of health.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.is_shut {
            // Nothing that nobody accepted is in force: it keeps the node from none of its work.
            return problems;
        }
        let shut = "; nobody is connected until somebody does";
        if !self.changes.is_empty() {
            let named: Vec<String> = self
                .changes
                .iter()
                .take(MOST_NAMED)
                .map(ToString::to_string)
                .collect();
            let more = self.changes.len().saturating_sub(MOST_NAMED);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            problems.push(Problem {
                kind: ProblemKind::Settings,
                what: format!("changed settings that nobody accepted: {}{more}{shut}", named.join(", ")),
                remedy: "put them back and reload, or have an administrator look at them with `portcullis settings show` and accept them with `portcullis settings accept`",
            });
        }
        if let Some(lost) = self.lost {
            problems.push(Problem {
                kind: ProblemKind::Settings,
                what: format!("the keys do not know acceptance {lost} of the settings, which the log of acts has: an older file of keys was put back{shut}"),
                remedy: "find out who put it there; then have an administrator accept the settings with `portcullis settings accept`",
            });
        }
        if self.holds() {
            problems.push(Problem {
                kind: ProblemKind::Settings,
                what: format!(
                    "accepted settings wait for a restart: {}",
                    self.waiting.join(", ")
                ),
                remedy: "restart the node",
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(serial: u64) -> Accepted {
        Accepted {
            serial,
            settings: serde_json::from_str(r#"{"exercises":"true"}"#).unwrap(),
        }
    }

    fn found(text: &str) -> TrustSettings {
        serde_json::from_str(text).unwrap()
    }

    /// Attack H1: a changed configuration was noticed nowhere.
    #[test]
    fn a_changed_setting_shuts_a_node_that_starts_and_is_named() {
        let same = found(r#"{"exercises":"true"}"#);
        let one = Acceptance::of(Some(&accepted(1)), &same, Some(1)).at_start();
        assert!(!one.is_shut && one.problems().is_empty());
        let other = Acceptance::of(Some(&accepted(1)), &found("{}"), Some(1)).at_start();
        assert!(other.is_shut);
        let problems = other.problems();
        assert!(
            problems[0].what.contains("exercises: true -> default"),
            "{problems:?}"
        );
    }

    /// Attack H1.
    #[test]
    fn older_keys_that_are_put_back_are_seen_by_the_log_of_acts() {
        let same = found(r#"{"exercises":"true"}"#);
        for keys in [Some(accepted(1)), None] {
            let back = Acceptance::of(keys.as_ref(), &same, Some(2)).at_start();
            assert!(back.is_shut && back.lost == Some(2));
            assert!(!back.problems().is_empty());
        }
    }

    #[test]
    fn a_node_of_an_earlier_version_works_on_and_says_that_nothing_is_sealed() {
        let one = Acceptance::of(None, &found("{}"), None).at_start();
        assert!(!one.is_shut && one.problems().is_empty());
        assert_eq!(one.name(), "unsealed");
    }
}
