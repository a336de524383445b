//! Outlook: the dependencies of a node that end by themselves, the time of each end, and its
//! consequences. Pure.
//!
//! ```text
//! certificates, anchors, lists, keys, freshness ─▶ Dependency {ends, stops, remedy} ─▶ doctor, status,
//!                                                                                   metrics, log
//! ```
//!
//! A dependency that lasts 120 days or longer is warned of from 30 days before its end. A shorter
//! one is warned of in its last quarter: with 30 days, a list that is renewed every week would
//! always be warned of. Freshness, which lasts 48 hours, is warned of in its last 24.
//!
//! An outage is only a time in which none of them can be renewed. The consequences of one are
//! therefore computed without one ([`outage`]).

use std::fmt;

use portcullis_peering::term::Term;

use portcullis_protocol::{
    freshness::{BULK_AFTER_MS, Stage, WARN_BEFORE_MS},
    identifiers::{AuthorityId, NodeId},
    keys::KeyUse,
    register::{Node, RegisteredKey},
    time::Timestamp,
    verify::KeyStanding,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Earliest warning before an end, in milliseconds.
const WARN_AT_MOST_MS: i64 = 30 * DAY_MS;

/// Time before the end of `term` from which on it is warned of, in milliseconds.
#[must_use]
pub const fn warned_before(term: Term) -> i64 {
    let quarter = term.until.millis_since(term.since) / 4;
    if quarter < 0 {
        0
    } else if quarter < WARN_AT_MOST_MS {
        quarter
    } else {
        WARN_AT_MOST_MS
    }
}

/// A thing that comes to an end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Certificate of this node.
    Certificate,
    /// Last key of this node for a use that the register lists.
    Key(KeyUse),
    /// Certificate that a peer showed last.
    PeerCertificate(NodeId),
    /// Certificate of the authority that vouches for a node.
    Anchor(NodeId),
    /// Revocation list of an authority.
    RevocationList(AuthorityId),
    /// Freshness of the register.
    Freshness,
    /// Release of bulk records, which lasts for a time after the freshness has ended.
    BulkRelease,
}

impl Subject {
    /// Every name that [`Self::name`] returns.
    pub const NAMES: &'static [&'static str] = &[
        "certificate",
        "key",
        "peer-certificate",
        "trust-anchor",
        "revocation-list",
        "freshness",
        "bulk-release",
    ];

    /// Returns the name in metrics, which does not tell members apart.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key(_) => "key",
            Self::PeerCertificate(_) => "peer-certificate",
            Self::Anchor(_) => "trust-anchor",
            Self::RevocationList(_) => "revocation-list",
            Self::Freshness => "freshness",
            Self::BulkRelease => "bulk-release",
        }
    }

    const fn remedy(&self) -> &'static str {
        match self {
            Self::Certificate => {
                "have the authority's own CA sign `tls/csr.pem`, run `portcullis tls install FILE`, then reload"
            }
            Self::Key(_) => "make a new key with `portcullis keys rotate` and have it admitted",
            Self::PeerCertificate(_) => "ask the peer's operator to renew it",
            Self::Anchor(_) => {
                "have the authority name its next CA in a changed membership request"
            }
            Self::RevocationList(_) => {
                "fetch it from that authority's CA into `crl/`, in PEM, then reload"
            }
            Self::Freshness | Self::BulkRelease => {
                "see to a connection with any member, or run `portcullis federation freshness`"
            }
        }
    }

    fn stops(&self) -> String {
        match self {
            Self::Certificate => "no peer believes this node any more".to_owned(),
            Self::Key(KeyUse::Sealing) => "nothing can be published here".to_owned(),
            Self::Key(KeyUse::Hop) => "no frame and no receipt of this node counts".to_owned(),
            Self::Key(usage) => format!("what this node signs with its {usage} key counts no more"),
            Self::PeerCertificate(node) => format!("`{node}` is refused here and everywhere"),
            Self::Anchor(node) => format!(
                "its CA can renew neither certificate nor list of `{node}`; connections go on, for the register says whom to trust"
            ),
            Self::RevocationList(authority) => {
                format!("the nodes of `{authority}` are refused here")
            }
            Self::Freshness => "nothing yet: bulk records go on for seven days".to_owned(),
            Self::BulkRelease => "bulk records wait here; urgent ones go on".to_owned(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("this node's certificate"),
            Self::Key(usage) => write!(f, "this node's {usage} key"),
            Self::PeerCertificate(node) => write!(f, "the certificate of `{node}`"),
            Self::Anchor(node) => write!(f, "the trust anchor of `{node}`"),
            Self::RevocationList(authority) => write!(f, "the revocation list of `{authority}`"),
            Self::Freshness => f.write_str("the freshness of the register"),
            Self::BulkRelease => f.write_str("the release of bulk records without freshness"),
        }
    }
}

/// A thing that ends, with the time of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The thing.
    pub subject: Subject,
    /// End of the period.
    pub ends: Timestamp,
    /// Time before the end at which the warning begins, in milliseconds.
    pub warned_before: i64,
}

impl Dependency {
    /// Makes the dependency on a thing that holds for a term.
    #[must_use]
    pub const fn lasting(subject: Subject, term: Term) -> Self {
        Self {
            subject,
            ends: term.until,
            warned_before: warned_before(term),
        }
    }

    /// Returns the consequences of its end.
    #[must_use]
    pub fn stops(&self) -> String {
        self.subject.stops()
    }

    /// Returns the action to take before it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        self.subject.remedy()
    }

    /// Returns the urgency: ended, soon or later.
    #[must_use]
    pub const fn urgency(&self, now: Timestamp) -> Urgency {
        let left = self.ends.millis_since(now);
        if left <= 0 {
            Urgency::Ended
        } else if left <= self.warned_before {
            Urgency::Soon
        } else {
            Urgency::Later
        }
    }

    /// Returns the time until its end, in days, hours or minutes.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> String {
        let left = self.ends.millis_since(now);
        if left <= 0 {
            return "nothing".to_owned();
        }
        let hours = left / HOUR_MS;
        if hours >= 72 {
            format!("{} days", hours / 24)
        } else if hours >= 1 {
            format!("{hours} hours")
        } else {
            format!("{} minutes", left / 60_000)
        }
    }
}

/// Nearness of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The end is past.
    Ended,
    /// The warning has begun.
    Soon,
    /// The end is far.
    Later,
}

impl Urgency {
    /// Returns the name as it is written in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Soon => "soon",
            Self::Later => "later",
        }
    }
}

/// Lists the ends of this node's keys, one for each use. A use is left out if one of its keys has
/// no end.
pub fn ending_keys(listed: &Node, now: Timestamp) -> impl Iterator<Item = Dependency> {
    [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log, KeyUse::Agreement]
        .into_iter()
        .filter_map(move |usage| {
            let of_use = |key: &&RegisteredKey| key.public.usage() == usage && key.signs_at(now);
            let ends = listed.keys.iter().filter(of_use).map(end_of);
            // A key without an end outlasts all others of its use.
            let ends = ends
                .collect::<Option<Vec<Timestamp>>>()?
                .into_iter()
                .max()?;
            Some(Dependency {
                subject: Subject::Key(usage),
                ends,
                warned_before: WARN_AT_MOST_MS,
            })
        })
}

const fn end_of(key: &RegisteredKey) -> Option<Timestamp> {
    match key.standing() {
        KeyStanding::InForce => None,
        KeyStanding::RetiredSince(time) | KeyStanding::CompromisedSince(time) => Some(time),
    }
}

/// Returns the two ends of a register's freshness; none if freshness is not used.
pub fn freshness_ends(stage: Stage) -> impl Iterator<Item = Dependency> {
    stage.until().into_iter().flat_map(|until| {
        [
            Dependency {
                subject: Subject::Freshness,
                ends: until,
                warned_before: WARN_BEFORE_MS,
            },
            Dependency {
                subject: Subject::BulkRelease,
                ends: until.plus_millis(BULK_AFTER_MS),
                warned_before: BULK_AFTER_MS,
            },
        ]
    })
}

/// Sorts dependencies by their ends, the nearest first.
#[must_use]
pub fn in_order(all: impl IntoIterator<Item = Dependency>) -> Vec<Dependency> {
    let mut all: Vec<Dependency> = all.into_iter().collect();
    all.sort_by(|one, other| (one.ends, &one.subject).cmp(&(other.ends, &other.subject)));
    all
}

/// Returns the items that would end within an outage that begins at `now` and lasts `lasts_ms`
/// milliseconds, each with the milliseconds from `now` to its end, in the order given. Items that
/// have ended already are left out.
pub fn outage<T>(
    all: &[T],
    ends: impl Fn(&T) -> Option<Timestamp>,
    now: Timestamp,
    lasts_ms: i64,
) -> Vec<(&T, i64)> {
    all.iter()
        .filter_map(|one| Some((one, ends(one)?.millis_since(now))))
        .filter(|(_, after)| (1..=lasts_ms).contains(after))
        .collect()
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::keys::SigningKey;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_000);

    fn at(hours: i64) -> Timestamp {
        NOW.plus_millis(hours * HOUR_MS)
    }

    fn lasting(subject: Subject, days: i64, left: i64) -> Dependency {
        let until = at(left);
        let since = until.plus_millis(-days * DAY_MS);
        Dependency::lasting(subject, Term { since, until })
    }

    fn list(name: &str) -> Subject {
        Subject::RevocationList(name.parse().unwrap())
    }

    fn some() -> Vec<Dependency> {
        let all = [
            lasting(list("be-customs"), 7, 20),
            lasting(list("nl-customs"), 7, 200),
            lasting(list("kr-customs"), 7, -5),
            lasting(Subject::Certificate, 365, 24 * 40),
        ];
        in_order(all.into_iter().chain(freshness_ends(Stage::Fresh(at(40)))))
    }

    #[test]
    fn the_nearest_end_comes_first_and_freshness_ends_in_two_steps() {
        let ends: Vec<_> = some()
            .iter()
            .map(|one| (one.subject.name(), one.ends.millis_since(NOW) / HOUR_MS))
            .collect();
        assert_eq!(
            ends,
            [
                ("revocation-list", -5),
                ("revocation-list", 20),
                ("freshness", 40),
                ("revocation-list", 200),
                ("bulk-release", 40 + 7 * 24),
                ("certificate", 24 * 40),
            ]
        );
        assert_eq!(freshness_ends(Stage::Unused).count(), 0);
    }

    #[test]
    fn an_outage_ends_what_cannot_be_renewed_meanwhile_and_nothing_else() {
        let all = some();
        let within = |hours: i64| outage(&all, |one| Some(one.ends), NOW, hours * HOUR_MS);
        let stops: Vec<_> = within(72)
            .into_iter()
            .map(|(one, after)| (one.subject.to_string(), after / HOUR_MS))
            .collect();
        let expected = [
            ("the revocation list of `be-customs`".to_owned(), 20),
            ("the freshness of the register".to_owned(), 40),
        ];
        assert_eq!(stops, expected);
        assert!(within(1).is_empty());
        assert_eq!(within(24 * 41).len(), 5);
    }

    #[test]
    fn what_lasts_long_is_warned_of_for_30_days_and_the_rest_in_its_last_quarter() {
        for (days, hours) in [
            (365, 30 * 24),
            (120, 30 * 24),
            (60, 15 * 24),
            (4, 24),
            (1, 6),
        ] {
            let urgency = |left: i64| lasting(Subject::Certificate, days, left).urgency(NOW);
            assert_eq!(urgency(hours + 1), Urgency::Later, "{days}");
            assert_eq!(urgency(hours), Urgency::Soon, "{days}");
            assert_eq!(urgency(0), Urgency::Ended, "{days}");
        }
        for (stage, expected) in [(25, Urgency::Later), (24, Urgency::Soon)] {
            let freshness = freshness_ends(Stage::Fresh(at(stage))).next().unwrap();
            assert_eq!(freshness.urgency(NOW), expected);
        }
        // A term that ends before it begins is never soon.
        assert_eq!(
            lasting(Subject::Certificate, -9, 1).urgency(NOW),
            Urgency::Later
        );
    }

    #[test]
    fn a_key_ends_unless_another_of_its_use_goes_on() {
        let key = |usage, seed, retired_at| RegisteredKey {
            retired_at,
            ..RegisteredKey::in_force(SigningKey::from_seed(usage, [seed; 32]).public())
        };
        let ends = |keys: Vec<RegisteredKey>| -> Vec<(Subject, Timestamp)> {
            let node = Node {
                id: "antwerp".parse().unwrap(),
                dns_name: "antwerp.example".to_owned(),
                endpoint: "antwerp.example:7443".to_owned(),
                trust_anchor: vec![1],
                keys,
            };
            ending_keys(&node, NOW)
                .map(|one| (one.subject, one.ends))
                .collect()
        };
        let old = key(KeyUse::Sealing, 1, Some(at(5)));
        let older = key(KeyUse::Sealing, 2, Some(at(-5)));
        let hop = key(KeyUse::Hop, 3, None);
        assert_eq!(
            ends(vec![older.clone(), old.clone(), hop.clone()]),
            [(Subject::Key(KeyUse::Sealing), at(5))]
        );
        let new = key(KeyUse::Sealing, 4, None);
        assert_eq!(ends(vec![older, old, hop, new]), []);
    }

    #[test]
    fn the_time_left_is_said_in_days_hours_or_minutes() {
        let left = |hours: i64| lasting(Subject::Certificate, 365, hours).left(NOW);
        assert_eq!(left(-1), "nothing");
        assert_eq!(left(71), "71 hours");
        assert_eq!(left(72), "3 days");
        assert_eq!(left(24 * 400), "400 days");
        let soon = Dependency {
            subject: Subject::Certificate,
            ends: NOW.plus_millis(90_000),
            warned_before: 0,
        };
        assert_eq!(soon.left(NOW), "1 minutes");
    }
}
