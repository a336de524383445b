//! Who may have what: the policy in plain Rust, for the few likenesses of records there are.
//!
//! Written from docs/policy.md and the comments of the policies, not from Cedar's answers, and
//! asked by the invariants alone: what the nodes do is decided by the engine.

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

/// A record and who made it.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// What it is like.
    pub like: Likeness,
    /// Who made it.
    pub origin: MemberNumber,
    /// From which epoch on the register lists its key.
    pub epoch: usize,
}

/// What a member does with what is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It takes these sections in; none: it refuses the item for good.
    In(Form),
    /// A person decides.
    Held,
}

const fn is_hub(member: MemberNumber) -> bool {
    matches!(MEMBERS[member].1, AuthorityKind::Hub)
}

fn is_named(member: MemberNumber) -> bool {
    NAMED.contains(&MEMBERS[member].0)
}

/// What of a record `receiver` may have at all, as far as a register of this epoch says.
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

/// What `sender` may send to `receiver` of a record that it holds whole, under what it has in
/// force. Its originator releases it; anyone else would be passing it on.
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

/// What `receiver` takes in of `form` from `deliverer`.
#[must_use]
pub fn takes(
    made: Made,
    receiver: MemberNumber,
    deliverer: MemberNumber,
    form: Form,
    in_force: InForce,
    now: Timestamp,
) -> Taken {
    let direct = deliverer == made.origin;
    let by_way = match made.like {
        Likeness::Green | Likeness::GreenAlert | Likeness::ShortLived => true,
        Likeness::Amber => direct || is_hub(deliverer),
        Likeness::AmberStrict | Likeness::Red | Likeness::Restricted => direct,
    };
    if !by_way || expired(made, now) {
        return Taken::In(Form::EMPTY);
    }
    let form = for_member(made, receiver, in_force.epoch).intersection(form);
    if made.like == Likeness::Restricted {
        return if form.is_empty() {
            Taken::In(form)
        } else {
            Taken::Held
        };
    }
    match in_force.policy {
        Policy::Baseline => Taken::In(form),
        Policy::Tight if made.like == Likeness::GreenAlert => Taken::In(form),
        Policy::Tight => Taken::In(form.without(SOURCE)),
    }
}

/// The two bounds of what a member may hold at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What it must hold.
    pub least: Form,
    /// What it may hold.
    pub most: Form,
}

/// Held, neither more nor less.
const fn exactly(form: Form) -> Bounds {
    Bounds {
        least: form,
        most: form,
    }
}

/// What a member had in force since a record was published: each once.
pub type History = Vec<InForce>;

/// How the members stood while a record travelled.
pub struct Journey<'a> {
    /// The record.
    pub made: Made,
    /// Who takes part.
    pub members: &'a [MemberNumber],
    /// What each of them had in force, by place in `members`.
    pub in_force: &'a [History],
    /// Those that withdrew the record meanwhile.
    pub withdrew: &'a [MemberNumber],
    /// Those whose backup came back: what they received before is lost, and what is sent to them
    /// may wait for an hour.
    pub restored: &'a std::collections::BTreeSet<MemberNumber>,
    /// Those whose node there is twice, or that lie: nothing is sure to come from or to them.
    pub faulty: &'a std::collections::BTreeSet<MemberNumber>,
    /// When all is over.
    pub end: Timestamp,
}

impl Journey<'_> {
    /// What each member may come to hold, by whatever way: of a hub or of one that lies, what
    /// reached it may go on.
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

    /// What `receiver` holds at the end, at least: whatever was in force at any time may have
    /// decided, and what is refused once is refused for good.
    #[must_use]
    pub fn least(&self, receiver: MemberNumber) -> Form {
        let direct = self.hop(self.made.origin, receiver, exactly(WHOLE)).least;
        // A hub sends nothing back to the hub that it has a record from.
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

    /// What passes one hop, if `held` is what the sender holds.
    fn hop(&self, sender: MemberNumber, receiver: MemberNumber, held: Bounds) -> Bounds {
        let (mut least, mut most) = (WHOLE, Form::EMPTY);
        // Without its key in the register a record is refused for now, and for no longer.
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
                // Whether it was sent before it expired is not known: `least` takes the end.
                let pass = |held: Form, now: Timestamp| {
                    let sent = if self.faulty.contains(&sender) {
                        held
                    } else {
                        sends(self.made, sender, receiver, *sending, now).intersection(held)
                    };
                    match takes(self.made, receiver, sender, sent, *taking, now) {
                        Taken::In(form) => form,
                        Taken::Held => Form::EMPTY,
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
