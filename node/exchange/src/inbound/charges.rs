//! Charges of a frame's items: the authority that is answerable for each, and the bytes that it costs.
//!
//! The originator is answerable for what it signed, whoever delivers it: a hub is not shut out for
//! what policy refuses of others. The deliverer is answerable for everything else that is refused: it
//! could have verified it. What is added is charged to the originator's account. What is refused, waits
//! for a person or extends a record is charged to an account of both, because the same deliverer can
//! bring it again and again, and must not use up an originator's quota with that.
//!
//! ```text
//! judged ─▶ Charges (cause and bytes of each item) ─▶ answered ─▶ Spent (one for each cause)
//! ```

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::AuthorityId,
    register::Register,
    rules::Rule,
    seal::SealedRecord,
};
use portcullis_store::{Intake, Judgement, weight};

/// Bytes of the rows that a refused item leaves: its arrival, the refusal and the decision.
const REFUSED_BYTES: u64 = 512;

/// The one that is answerable for an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The authority of the peer that delivers it.
    Deliverer,
    /// Another authority, which signed it.
    Originator(AuthorityId),
}

/// Charge of one item of a frame.
#[derive(Debug)]
struct Charge {
    cause: Cause,
    /// Lane of its kind: a backfill brings alerts in the bulk lane.
    lane: Lane,
    /// Bytes that it adds, unless it is refused.
    bytes: u64,
    /// True if its originator is the one that the deliverer names, and nothing of it was verified.
    is_unverified: bool,
}

/// Charges of a frame's items, in their order.
#[derive(Debug)]
pub(super) struct Charges {
    deliverer: AuthorityId,
    of: Vec<Charge>,
}

/// Account whose bytes of a day are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    /// Records of an authority that were added.
    Added(AuthorityId),
    /// Records of an authority that `by` can deliver again and again: they wait for a person, extend what is
    /// held, or are refused.
    Again {
        /// The authority that signed it, or could have verified it.
        of: AuthorityId,
        /// The authority of the peer.
        by: AuthorityId,
    },
}

/// Traces of one cause in one lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) cause: Cause,
    pub(super) lane: Lane,
    /// Bytes of records that were added.
    pub(super) added: u64,
    /// Bytes that the same deliverer can bring again: of items that wait for a person, of extensions, and
    /// of the rows of refused items.
    pub(super) again: u64,
    pub(super) refused: usize,
}

impl Charges {
    /// Returns those of a judged frame that brought these records. `deliverer` is the authority of the
    /// peer.
    pub(super) fn of(
        intake: &Intake,
        arrived: &[SealedRecord],
        (register, deliverer): (&Register, &AuthorityId),
    ) -> Self {
        let cause = |origin: &AuthorityId| {
            if origin == deliverer {
                Cause::Deliverer
            } else {
                Cause::Originator(origin.clone())
            }
        };
        let items = intake.items.iter().zip(arrived);
        let of = items.map(|(item, arrived)| match &item.judgement {
            Judgement::Admit { record, .. } | Judgement::Hold { record, .. } => {
                let header = record.header();
                Charge {
                    cause: cause(&header.origin),
                    lane: Lane::of(header.kind),
                    bytes: u64::try_from(weight(record.sealed())).unwrap_or(u64::MAX),
                    is_unverified: false,
                }
            }
            Judgement::Refuse { rule, .. } | Judgement::RefuseForNow { rule } => {
                let signed = is_of_originator(*rule).then(|| arrived.claimed_origin());
                let listed = |origin: &AuthorityId| register.authorities.contains_key(origin);
                let signed = signed.flatten().filter(listed);
                Charge {
                    cause: signed.map_or(Cause::Deliverer, |origin| cause(&origin)),
                    lane: intake.lane,
                    bytes: 0,
                    is_unverified: is_unverified(*rule),
                }
            }
        });
        Self {
            deliverer: deliverer.clone(),
            of: of.collect(),
        }
    }

    /// Returns the number of items of which nothing was verified.
    pub(super) fn unverified(&self) -> usize {
        self.of.iter().filter(|charge| charge.is_unverified).count()
    }

    /// Returns the cause of each item and the lane of its kind, in order.
    pub(super) fn causes(&self) -> impl Iterator<Item = (&Cause, Lane)> {
        self.of.iter().map(|charge| (&charge.cause, charge.lane))
    }

    /// Returns the accounts of what is added and of what is refused.
    pub(super) fn accounts(&self, cause: &Cause) -> [Account; 2] {
        let of = match cause {
            Cause::Deliverer => &self.deliverer,
            Cause::Originator(authority) => authority,
        };
        let again = Account::Again {
            of: of.clone(),
            by: self.deliverer.clone(),
        };
        [Account::Added(of.clone()), again]
    }

    /// Returns what each cause is charged with, once the frame is answered.
    pub(super) fn spent(&self, answers: &[Answer]) -> Vec<Spent> {
        let mut all: Vec<Spent> = Vec::new();
        for (answer, charge) in answers.iter().zip(&self.of) {
            let ((added, again), refused) = match answer.outcome {
                Outcome::Accepted => ((charge.bytes, 0), 0),
                // These come again: a held item waits, and a record grows section by section.
                Outcome::Extended | Outcome::Held => ((0, charge.bytes), 0),
                // That there is no room here is nobody's fault, and leaves nothing.
                Outcome::RefusedForNow if answer.reason.as_deref() == Some(Rule::Busy.id()) => {
                    continue;
                }
                Outcome::Refused | Outcome::RefusedForNow => ((0, REFUSED_BYTES), 1),
                Outcome::Duplicate => continue,
            };
            let is_its = |spent: &Spent| spent.lane == charge.lane && spent.cause == charge.cause;
            let at = match all.iter().position(is_its) {
                Some(at) => at,
                None => {
                    all.push(Spent {
                        cause: charge.cause.clone(),
                        lane: charge.lane,
                        added: 0,
                        again: 0,
                        refused: 0,
                    });
                    all.len() - 1
                }
            };
            if let Some(spent) = all.get_mut(at) {
                spent.added = spent.added.saturating_add(added);
                spent.again = spent.again.saturating_add(again);
                spent.refused += refused;
            }
        }
        all
    }
}

/// Returns true for a rule under which an item is refused before any signature is checked: anybody can
/// name anybody in it.
const fn is_unverified(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::SealingKey | Rule::LaterVersion | Rule::RecordKind
    )
}

/// Returns true for a rule that no honest deliverer could have applied for this node: its policy, its
/// clock, its epoch of the register and its version may be others. Most of these records were signed by
/// their originator; of the others, the deliverer is believed about whom it names, because each name has
/// its own budget and shuts out nobody else. All that it names so has one budget besides, which slows it
/// (conduct.rs).
const fn is_of_originator(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::Suspended
            | Rule::Exercise
            | Rule::Expired
            | Rule::PolicyDenied
            | Rule::PolicyError
            | Rule::FutureSeal
            | Rule::KeyEnded
            | Rule::KeyCompromised
            | Rule::SealingKey
            | Rule::LaterVersion
            | Rule::RecordKind
    )
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::record::{Form, RecordId};

    use super::*;

    fn originator(name: &str) -> Cause {
        Cause::Originator(name.parse().unwrap())
    }

    fn answer(outcome: Outcome, reason: Option<Rule>) -> Answer {
        Answer {
            record: RecordId::of_header(b"1"),
            form: Form::from_bits(1),
            outcome,
            reason: reason.map(|rule| rule.id().to_owned()),
        }
    }

    /// Finding F8: items that wait for a person took space and were counted nowhere.
    #[test]
    fn what_stands_on_the_disk_is_charged_and_a_duplicate_is_not() {
        let charges = Charges {
            deliverer: "hub".parse().unwrap(),
            of: [10, 20, 40, 80, 0, 0, 0]
                .into_iter()
                .enumerate()
                .map(|(at, bytes)| Charge {
                    cause: if at < 6 {
                        originator("terminal")
                    } else {
                        Cause::Deliverer
                    },
                    lane: Lane::Bulk,
                    bytes,
                    is_unverified: false,
                })
                .collect(),
        };
        let answers = [
            answer(Outcome::Accepted, None),
            answer(Outcome::Held, Some(Rule::PolicyHeld)),
            answer(Outcome::Duplicate, None),
            answer(Outcome::RefusedForNow, Some(Rule::Busy)),
            answer(Outcome::Refused, Some(Rule::PolicyDenied)),
            answer(Outcome::RefusedForNow, Some(Rule::PolicyError)),
            answer(Outcome::Refused, Some(Rule::SectionDigest)),
        ];
        let spent = |cause, added, again, refused| Spent {
            cause,
            lane: Lane::Bulk,
            added,
            again,
            refused,
        };
        assert_eq!(
            charges.spent(&answers),
            [
                spent(originator("terminal"), 10, 20 + 2 * REFUSED_BYTES, 2),
                spent(Cause::Deliverer, 0, REFUSED_BYTES, 1)
            ]
        );
    }
}
