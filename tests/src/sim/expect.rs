//! The policy in plain Rust, for the few likenesses of records there are.
//!
//! It is written from docs/policy.md and the comments of the policies, not from Cedar's answers.
//! Only the invariants ask it; the nodes' decisions come from the engine.

use std::collections::BTreeMap;

use portcullis_protocol::{record::Form, register::AuthorityKind, time::Timestamp};

use super::cast::{
    InForce, Likeness, MEMBERS, MemberNumber, NAMED, POLICE, Policy, TERMINAL,
    TERMINAL_LEAVES_EPOCH,
};

/// Subject and assessment.
const FACTS: Form = Form::from_bits(0b0011);
/// Everything but the source.
const WITHOUT_SOURCE: Form = Form::from_bits(0b0111);
/// Every section.
pub const WHOLE: Form = Form::from_bits(0b1111);
/// The narrative.
const NARRATIVE: Form = Form::from_bits(0b0100);
/// The source.
const SOURCE: Form = Form::from_bits(0b1000);

/// The origin and the likeness of a record.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// Likeness of the record.
    pub like: Likeness,
    /// Member that made it.
    pub origin: MemberNumber,
    /// Epoch from which the register lists its key.
    pub epoch: usize,
}

/// Decision of a member on a delivered item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// It admits these sections; if there are none, it refuses the item for good.
    In(Form),
    /// It holds the item for a decision by a person.
    Held,
}

const fn is_hub(member: MemberNumber) -> bool {
    matches!(MEMBERS[member].1, AuthorityKind::Hub)
}

fn is_named(member: MemberNumber) -> bool {
    NAMED.contains(&MEMBERS[member].0)
}

/// Returns the sections of a record that `receiver` may have at all under the register of this
/// epoch.
fn for_member(made: Made, receiver: MemberNumber, epoch: usize) -> Form {
    let by_kind = match MEMBERS[receiver].1 {
        AuthorityKind::Customs | AuthorityKind::Police => WHOLE,
        AuthorityKind::Hub => WITHOUT_SOURCE,
        AuthorityKind::PrivateOperator | AuthorityKind::PortAuthority => FACTS,
    };
    let apart = |member| member == TERMINAL && epoch >= TERMINAL_LEAVES_EPOCH;
    let one_community = apart(receiver) == apart(made.origin);
    let private = receiver == TERMINAL;
    let may = match made.like {
        Likeness::Green | Likeness::GreenAlert | Likeness::ShortLived => one_community,
        Likeness::Amber => one_community && !private,
        Likeness::AmberStrict => one_community && !private && !is_hub(receiver),
        Likeness::Red | Likeness::Restricted => is_named(receiver),
    };
    if may { by_kind } else { Form::EMPTY }
}

fn expired(made: Made, now: Timestamp) -> bool {
    made.like.delete_at().is_some_and(|end| end <= now)
}

/// Returns the sections of a record that `sender`, holding all of them, may send to `receiver`
/// under its register and policy. The originator releases the record; any other sender relays it.
#[must_use]
pub fn sends(
    made: Made,
    sender: MemberNumber,
    receiver: MemberNumber,
    in_force: InForce,
    now: Timestamp,
) -> Form {
    if receiver == made.origin || receiver == sender || expired(made, now) {
        return Form::EMPTY;
    }
    let relayed = sender != made.origin;
    let goes_on = match made.like {
        Likeness::Green | Likeness::GreenAlert | Likeness::Amber | Likeness::ShortLived => true,
        Likeness::AmberStrict | Likeness::Red | Likeness::Restricted => false,
    };
    if relayed && !(is_hub(sender) && goes_on) {
        return Form::EMPTY;
    }
    let form = for_member(made, receiver, in_force.epoch);
    match in_force.policy {
        Policy::Baseline => form,
        Policy::Tight if receiver == POLICE => form.without(NARRATIVE),
        Policy::Tight if receiver == TERMINAL && made.like == Likeness::GreenAlert => Form::EMPTY,
        Policy::Tight => form,
    }
}

/// Returns the decision of `receiver` on a record in `form` that `deliverer` delivers.
#[must_use]
pub fn takes(
    made: Made,
    receiver: MemberNumber,
    deliverer: MemberNumber,
    form: Form,
    in_force: InForce,
    now: Timestamp,
) -> Reception {
    let direct = deliverer == made.origin;
    let by_way = match made.like {
        Likeness::Green | Likeness::GreenAlert | Likeness::ShortLived => true,
        Likeness::Amber => direct || is_hub(deliverer),
        Likeness::AmberStrict | Likeness::Red | Likeness::Restricted => direct,
    };
    if !by_way || expired(made, now) {
        return Reception::In(Form::EMPTY);
    }
    let form = for_member(made, receiver, in_force.epoch).intersection(form);
    if made.like == Likeness::Restricted {
        return if form.is_empty() {
            Reception::In(form)
        } else {
            Reception::Held
        };
    }
    match in_force.policy {
        Policy::Baseline => Reception::In(form),
        Policy::Tight if made.like == Likeness::GreenAlert => Reception::In(form),
        Policy::Tight => Reception::In(form.without(SOURCE)),
    }
}

/// Lower and upper bound of the sections that a member may hold at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Sections that it must hold.
    pub least: Form,
    /// Sections that it may hold.
    pub most: Form,
}

/// Bounds for sections that are held, no more and no fewer.
const fn exactly(form: Form) -> Bounds {
    Bounds {
        least: form,
        most: form,
    }
}

/// Registers and policies that a member had in force since a record was published, each once.
pub type History = Vec<InForce>;

/// State of the members while a record travelled.
pub struct Journey<'a> {
    /// The record.
    pub made: Made,
    /// Members that take part.
    pub members: &'a [MemberNumber],
    /// Registers and policies of each of them, by position in `members`.
    pub in_force: &'a [History],
    /// Members that withdrew the record meanwhile.
    pub withdrew: &'a [MemberNumber],
    /// Members whose backup was restored. They lost what they received since it was taken, and
    /// records sent to them may be delayed by an hour.
    pub restored: &'a std::collections::BTreeSet<MemberNumber>,
    /// Members whose node exists twice, and members that lie. No delivery from or to them is
    /// certain.
    pub faulty: &'a std::collections::BTreeSet<MemberNumber>,
    /// Time of the end of the run.
    pub end: Timestamp,
}

impl Journey<'_> {
    /// Returns the sections that each member may come to hold by any route. A hub or a member that
    /// lies may pass on what reached it.
    #[must_use]
    pub fn reach(&self) -> BTreeMap<MemberNumber, Form> {
        let passes_on = |member: &MemberNumber| is_hub(*member) || self.faulty.contains(member);
        let mut reached = BTreeMap::from([(self.made.origin, WHOLE)]);
        loop {
            let mut further = reached.clone();
            for receiver in self.members {
                for (sender, held) in &reached {
                    if sender == receiver || !(passes_on(sender) || *sender == self.made.origin) {
                        continue;
                    }
                    let most = self.hop(*sender, *receiver, exactly(*held)).most;
                    let known = further.entry(*receiver).or_insert(Form::EMPTY);
                    *known = known.union(most);
                }
            }
            if further == reached {
                return reached;
            }
            reached = further;
        }
    }

    /// Returns the sections that `receiver` must hold at the end. Any register or policy in force
    /// at some time may have decided, and a refusal is final.
    #[must_use]
    pub fn least(&self, receiver: MemberNumber) -> Form {
        let direct = self.hop(self.made.origin, receiver, exactly(WHOLE)).least;
        // A hub sends nothing back to the hub from which it has a record.
        if is_hub(receiver) {
            return direct;
        }
        let hubs = self
            .members
            .iter()
            .filter(|hub| is_hub(**hub) && **hub != self.made.origin);
        hubs.fold(direct, |so_far, hub| {
            let there = self.hop(self.made.origin, *hub, exactly(WHOLE)).least;
            so_far.union(self.hop(*hub, receiver, exactly(there)).least)
        })
    }

    /// Returns the bounds of what passes one hop if the sender holds `held`.
    fn hop(&self, sender: MemberNumber, receiver: MemberNumber, held: Bounds) -> Bounds {
        let (mut least, mut most) = (WHOLE, Form::EMPTY);
        // A record whose key the register does not list is refused for now, until it is listed.
        let knows = |in_force: &&InForce| in_force.epoch >= self.made.epoch;
        if !self
            .history(receiver)
            .iter()
            .any(|in_force| knows(&in_force))
        {
            least = Form::EMPTY;
        }
        for sending in self.history(sender) {
            for taking in self.history(receiver).iter().filter(knows) {
                // It is unknown whether the record was sent before it expired: `least` assumes the
                // end of the run.
                let pass = |held: Form, now: Timestamp| {
                    let sent = if self.faulty.contains(&sender) {
                        held
                    } else {
                        sends(self.made, sender, receiver, *sending, now).intersection(held)
                    };
                    match takes(self.made, receiver, sender, sent, *taking, now) {
                        Reception::In(form) => form,
                        Reception::Held => Form::EMPTY,
                    }
                };
                least = least.intersection(pass(held.least, self.end));
                most = most.union(pass(held.most, super::cast::START));
            }
        }
        let faulty = self.faulty.contains(&sender) || self.faulty.contains(&receiver);
        if faulty
            || self.restored.contains(&receiver)
            || self.withdrew.contains(&sender)
            || self.withdrew.contains(&receiver)
        {
            least = Form::EMPTY;
        }
        Bounds { least, most }
    }

    fn history(&self, member: MemberNumber) -> &[InForce] {
        let at = self.members.iter().position(|of| *of == member);
        at.map_or(&[], |at| &self.in_force[at])
    }
}
