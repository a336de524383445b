//! The persons and the rules by which an act changes them: who may sign, and what takes two.

use std::collections::BTreeMap;

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyId, PublicKey},
    statement::SignedStatement,
    time::Timestamp,
};

use super::change::{Change, MOST_PROPOSALS, PersonError};
use crate::act::{self, Action, Enrolled, FRESH_MS, Role};

/// Longest time between a proposal and its second, and shortest time after which somebody who was
/// enrolled may second for who enrolled them, in milliseconds.
pub const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// Time after which a recovery counts, in milliseconds: 72 hours in which the node runs, so that those
/// who may second see and withdraw it.
pub const RECOVERY_MS: i64 = 72 * 3_600_000;

/// The administrator whose enrolment begins the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Their id.
    pub id: String,
    /// Id of their key, hexadecimal.
    pub key: String,
}

/// Effect of an act about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The change is made.
    Done,
    /// The change waits for a second person, under this id. An end suspends meanwhile.
    Proposed(Digest),
    /// A change that waited is withdrawn.
    Withdrawn,
}

/// A key that a person had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerKey {
    /// The key.
    pub key: PublicKey,
    /// Time until which it counted.
    pub until: Timestamp,
}

/// Standing of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Their signature counts.
    Active,
    /// One administrator ended them, and nobody has seconded it yet.
    Suspended {
        /// Time of the suspension.
        since: Timestamp,
    },
    /// Their signature counts no more.
    Ended {
        /// Time of the end.
        at: Timestamp,
    },
}

/// A person of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their full name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Their key.
    pub key: PublicKey,
    /// Keys before that one, the oldest first.
    pub former: Vec<FormerKey>,
    /// Time of their own enrolment.
    pub enrolled_at: Timestamp,
    /// Id of the person who enrolled them; empty for the first.
    pub enrolled_by: String,
    /// Persons who enrolled them or gave them a key or role, with the newest time.
    placed: BTreeMap<String, Timestamp>,
    suspended: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Person {
    /// Returns the person's standing at `now`.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match (self.ended, self.suspended) {
            (Some(at), _) => Standing::Ended { at },
            // A clock that was set back lifts no suspension.
            (None, Some(since)) if now.millis_since(since) < WEEK_MS => {
                Standing::Suspended { since }
            }
            (None, Some(_) | None) => Standing::Active,
        }
    }

    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.standing(now) == Standing::Active
    }

    fn administers(&self) -> bool {
        self.role == Role::Administrator && self.ended.is_none()
    }

    fn seconds(&self) -> bool {
        Action::PersonSecond.roles().contains(&self.role) && self.ended.is_none()
    }
}

/// A change that waits: for a second person, or for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The change.
    pub change: Change,
    /// Id of the person who proposed it; empty for a recovery.
    pub by: String,
    /// Time at which it was signed, or at which the node told of the recovery.
    pub at: Timestamp,
    /// Number of the recovery among those that lie with the node's keys; `None` for a proposal.
    pub recovery: Option<u64>,
    /// Time for which the recovery has waited while the node ran, in milliseconds; zero for a proposal.
    pub waited_ms: i64,
    /// True if the log of acts tells its place by the time alone: an earlier version told of it.
    by_time: bool,
}

impl Proposal {
    /// Returns true for a recovery, which counts by itself unless somebody withdraws it.
    #[must_use]
    pub const fn is_recovery(&self) -> bool {
        self.recovery.is_some()
    }

    /// Returns the time at which it lapses, or from which a recovery counts at the earliest.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        let time = if self.is_recovery() {
            RECOVERY_MS
        } else {
            WEEK_MS
        };
        self.at.plus_millis(time)
    }

    /// Returns the time at which it lapses, or from which a recovery counts if the node runs from `now`
    /// until then.
    #[must_use]
    pub fn until_from(&self, now: Timestamp) -> Timestamp {
        if !self.is_recovery() {
            return self.until();
        }
        let left = RECOVERY_MS.saturating_sub(self.waited_ms).max(0);
        self.until().max(now.plus_millis(left))
    }

    /// Returns true for a recovery whose time has come: by a clock that the node believes, and by the
    /// time for which the node ran. A clock that was set while the node did not run adds nothing to
    /// the second.
    fn is_ripe(&self, now: Timestamp) -> bool {
        self.is_recovery() && self.waited_ms >= RECOVERY_MS && self.until() <= now
    }
}

/// Another key of an administrator who lost theirs, made at the machine with the passphrase of the
/// node's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Its number among those that lie with the node's keys, from 1.
    pub number: u64,
    /// Their id.
    pub id: String,
    /// Their key, once the recovery counts.
    pub key: PublicKey,
    /// Time at which the node told everybody of it.
    pub since: Timestamp,
    /// Number of acts about persons in the log when the node told of it; `None` if an earlier
    /// version told of it, which kept the time alone.
    pub told_after: Option<u64>,
    /// Time for which it has waited while the node ran, in milliseconds, as the node last noted it.
    pub waited_ms: i64,
    /// Its end, once it was withdrawn or counts. Nothing else makes it count.
    pub settled: Option<Settled>,
}

/// End of a recovery, as the node noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The end.
    pub end: RecoveryEnd,
    /// Time from which the key counts, by the clock that the node believed.
    pub at: Timestamp,
    /// Number of acts about persons in the log at that time; `None` if an earlier version noted it,
    /// at which the recovery counted for every act that was signed 72 hours after it was told.
    pub after: Option<u64>,
}

/// Kind of a recovery's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryEnd {
    /// The key counts.
    Counts,
    /// It never counts: somebody withdrew it, or it was of nobody who could be recovered.
    Void,
}

impl Recovery {
    /// Returns its id among the proposals. Two recoveries with the same key have two ids.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let since = self.since.as_millis().to_be_bytes();
        let (id, key) = (self.id.as_bytes(), self.key.to_bytes());
        match self.told_after {
            // Acts of the log name it so.
            None => Digest::labelled("portcullis recovery v1", &[id, &key, &since]),
            Some(_) => Digest::labelled(
                "portcullis recovery v2",
                &[&self.number.to_be_bytes(), id, &key, &since],
            ),
        }
    }

    /// Returns the time from which it counts at the earliest.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.since.plus_millis(RECOVERY_MS)
    }
}

/// The persons of a node, and the changes that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Persons {
    first: Option<First>,
    all: BTreeMap<String, Person>,
    /// True since there were two administrators; it is never taken back.
    two: bool,
    proposals: BTreeMap<Digest, Proposal>,
    /// Number of acts about persons in the log.
    acts: u64,
}

/// Act about a person, with who signed it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Id of the person who signed; for the first enrolment, of the one enrolled.
    pub by: &'a str,
    /// Id of the key that signed.
    pub key: KeyId,
    /// Id of the act.
    pub act: Digest,
    /// Time at which it was signed.
    pub at: Timestamp,
}

impl Persons {
    /// Makes the state before anybody is enrolled. `first` is the one administrator with whom the
    /// chain may begin; anybody may begin it without one.
    #[must_use]
    pub fn before(first: Option<First>) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Returns true if nobody was ever enrolled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Lists everybody who is or was enrolled, by id.
    pub fn all(&self) -> impl Iterator<Item = &Person> {
        self.all.values()
    }

    /// Lists the changes that wait at `now`, those that can still come true.
    pub fn proposals(&self, now: Timestamp) -> impl Iterator<Item = (&Digest, &Proposal)> {
        let waits = move |(_, proposal): &(&Digest, &Proposal)| {
            let proposes =
                |person: &Person| person.role == Role::Administrator && person.is_active(now);
            let by = self.all.get(&proposal.by);
            // A recovery waits until it is settled.
            proposal.is_recovery() || (proposal.until() >= now && by.is_some_and(proposes))
        };
        self.proposals.iter().filter(waits)
    }

    /// Returns the number of acts about persons in the log.
    #[must_use]
    pub const fn acts(&self) -> u64 {
        self.acts
    }

    /// Notes how many acts about persons the log has so far, those that do not hold among them.
    pub(super) const fn note_acts(&mut self, acts: u64) {
        self.acts = acts;
    }

    /// Takes a recovery up that is told now: it waits until it is withdrawn or settled.
    ///
    /// # Errors
    ///
    /// [`PersonError`] if the person is no administrator or was ended, the key is somebody's, or another
    /// recovery of the person waits.
    pub fn recover(&mut self, recovery: &Recovery) -> Result<Digest, PersonError> {
        let id = Some(recovery.id.as_str());
        let is_of_them = |(_, waiting): &(&Digest, &Proposal)| waiting.change.person() == id;
        let waiting = self.recoveries().find(is_of_them);
        if let Some(waits) = waiting.map(|(waits, _)| *waits) {
            return Err(PersonError::RecoveryWaits {
                person: recovery.id.clone(),
                recovery: waits,
            });
        }
        self.take_up(recovery)
    }

    /// Takes a recovery up that was told before. Earlier versions let several of one person wait.
    pub(super) fn take_up(&mut self, recovery: &Recovery) -> Result<Digest, PersonError> {
        self.check_recovered(&recovery.id)?;
        self.check_key(&recovery.key)?;
        let change = Change::Rekey {
            id: recovery.id.clone(),
            key: recovery.key.clone(),
        };
        let proposal = Proposal {
            change,
            by: String::new(),
            at: recovery.since,
            recovery: Some(recovery.number),
            waited_ms: recovery.waited_ms,
            by_time: recovery.told_after.is_none(),
        };
        let digest = recovery.digest();
        self.proposals.insert(digest, proposal);
        Ok(digest)
    }

    /// Lists the recoveries that wait, by their ids.
    pub fn recoveries(&self) -> impl Iterator<Item = (&Digest, &Proposal)> {
        self.proposals
            .iter()
            .filter(|(_, waiting)| waiting.is_recovery())
    }

    /// Notes that the node ran for so many milliseconds more, in which every recovery waited.
    pub fn run_for(&mut self, passed_ms: i64) {
        for waiting in self.proposals.values_mut() {
            if waiting.is_recovery() {
                waiting.waited_ms = waiting.waited_ms.saturating_add(passed_ms.max(0));
            }
        }
    }

    /// Lists the recoveries whose time has come by a clock that the node believes, with their ids, in
    /// the order of their numbers, in which a replay settles them. They go on waiting until they are
    /// settled.
    #[must_use]
    pub fn ripe(&self, now: Timestamp) -> Vec<(Digest, Proposal)> {
        let ripe = self.recoveries();
        let ripe = ripe.filter(|(_, waiting)| waiting.is_ripe(now));
        let mut ripe: Vec<_> = ripe.map(|(id, waiting)| (*id, waiting.clone())).collect();
        ripe.sort_by_key(|(_, waiting)| waiting.recovery);
        ripe
    }

    /// Carries out the recovery with this id: the key counts from `at` on. It waits no more then,
    /// even if it counts for nobody. No act does this by itself, whatever its time.
    ///
    /// # Errors
    ///
    /// [`PersonError`] if no such recovery waits, the person was ended meanwhile or is no administrator
    /// any more, or the key became somebody's.
    pub fn settle(&mut self, recovery: &Digest, at: Timestamp) -> Result<(), PersonError> {
        let person = self.proposed(recovery).and_then(Change::person);
        let checked = person.map_or(Ok(()), |id| self.check_recovered(id));
        if let Err(error) = checked {
            drop(self.void(recovery));
            return Err(error);
        }
        self.settled(recovery, at)
    }

    /// Carries out a recovery of which the node noted that it counts. Earlier versions settled those of
    /// whoever was no administrator any more.
    pub(super) fn settled(&mut self, recovery: &Digest, at: Timestamp) -> Result<(), PersonError> {
        let change = self.void(recovery).ok_or(PersonError::NoProposal)?;
        self.check(&change, at)?;
        // It may be anybody's who had the passphrase: for a week they second for nobody.
        let all: Vec<String> = self.all.keys().cloned().collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.carry_out(&change, &all, at);
        Ok(())
    }

    /// Takes the recovery with this id out of what waits, and returns what it would have changed.
    pub(super) fn void(&mut self, recovery: &Digest) -> Option<Change> {
        self.proposals
            .get(recovery)
            .filter(|waiting| waiting.is_recovery())?;
        self.proposals.remove(recovery).map(|gone| gone.change)
    }

    /// Returns the change that a proposal asks for.
    #[must_use]
    pub fn proposed(&self, act: &Digest) -> Option<&Change> {
        self.proposals.get(act).map(|proposal| &proposal.change)
    }

    /// Returns the proposal with this id.
    #[must_use]
    pub fn waiting(&self, act: &Digest) -> Option<&Proposal> {
        self.proposals.get(act)
    }

    /// Lists those whose signature counts at `now`.
    #[must_use]
    pub fn signers(&self, now: Timestamp) -> Vec<Enrolled> {
        let all = self.all.values();
        all.filter(|person| person.is_active(now))
            .map(|person| Enrolled {
                id: person.id.clone(),
                role: person.role.name().to_owned(),
                public_key: person.key.to_bytes().to_vec(),
            })
            .collect()
    }

    /// Returns the person whose key this is or was.
    #[must_use]
    pub fn of_key(&self, key: KeyId) -> Option<&Person> {
        self.all.values().find(|person| {
            let former = person.former.iter().map(|former| former.key.id());
            former.chain([person.key.id()]).any(|had| had == key)
        })
    }

    /// Returns true if a change takes two persons: there are or were two administrators at a time.
    #[must_use]
    pub const fn takes_two(&self) -> bool {
        self.two
    }

    /// Checks rules for acts that are signed now. Earlier versions did not have them, and what they
    /// took still counts. `now` is the time that the node believes: an act counts by both, and is
    /// refused while they lie apart, for terms begin at the time of the act. A withdrawal begins none,
    /// and of the first enrolment nobody is there who could confirm the clock.
    ///
    /// # Errors
    ///
    /// [`PersonError`].
    pub fn check_new(
        &self,
        change: &Change,
        signed: Signed<'_>,
        now: Timestamp,
    ) -> Result<(), PersonError> {
        if self.all.is_empty() {
            return Ok(());
        }
        let believed = Signed { at: now, ..signed };
        self.check_signer(change, believed)?;
        check_clock(change, signed.at, now)?;
        match change {
            Change::End { id } | Change::Role { id, .. } if self.two && id == signed.by => {
                Err(PersonError::Oneself)
            }
            Change::Second { act } => {
                let waiting = self.proposals.get(act);
                let waiting = waiting.filter(|one| one.is_recovery() || one.until() >= now);
                let proposal = waiting.ok_or(PersonError::NoProposal)?;
                self.check_independent(&proposal.by, believed)
            }
            Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. }
            | Change::Withdraw { .. } => Ok(()),
        }
    }

    /// Checks that who signed is somebody, and may ask for the change. The role is that of now: it
    /// may have been taken since the act was announced.
    fn check_signer(&self, change: &Change, signed: Signed<'_>) -> Result<(), PersonError> {
        let signs = |person: &Person| {
            person.key.id() == signed.key
                && person.is_active(signed.at)
                && change.action().roles().contains(&person.role)
        };
        match self.all.get(signed.by) {
            Some(person) if signs(person) => Ok(()),
            Some(_) | None => Err(PersonError::SignerGone),
        }
    }

    /// Checks that who seconds was not placed by who proposed, a short time before.
    fn check_independent(&self, proposer: &str, signed: Signed<'_>) -> Result<(), PersonError> {
        let second = self.all.get(signed.by);
        let placed = second.and_then(|second| second.placed.get(proposer));
        if placed.is_some_and(|at| signed.at.millis_since(*at) < WEEK_MS) {
            let (second, proposer) = (signed.by.to_owned(), proposer.to_owned());
            return Err(PersonError::Dependent { second, proposer });
        }
        Ok(())
    }

    /// Makes a change, or takes it as a proposal.
    ///
    /// # Errors
    ///
    /// [`PersonError`]; nothing is changed then.
    pub fn apply(&mut self, change: &Change, signed: Signed<'_>) -> Result<Effect, PersonError> {
        let effect = self.applied(change, signed)?;
        self.acts = self.acts.saturating_add(1);
        Ok(effect)
    }

    fn applied(&mut self, change: &Change, signed: Signed<'_>) -> Result<Effect, PersonError> {
        if self.all.is_empty() {
            return self.begin(change, signed);
        }
        self.check_signer(change, signed)?;
        if let Change::Withdraw { act } = change {
            // It may be signed by a clock that nobody believes: nothing lapses by its time.
            return self.withdraw(*act, signed);
        }
        self.proposals
            .retain(|_, waiting| waiting.is_recovery() || waiting.until() >= signed.at);
        match change {
            Change::Second { act } => return self.second(*act, signed),
            Change::Withdraw { .. }
            | Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. } => {}
        }
        self.check(change, signed.at)?;
        if !self.takes_two() {
            self.carry_out(change, &[signed.by], signed.at);
            return Ok(Effect::Done);
        }
        let proposals = self.proposals.values().filter(|one| !one.is_recovery());
        if proposals.count() >= MOST_PROPOSALS {
            return Err(PersonError::Crowded);
        }
        if let Change::End { id } = change
            && let Some(person) = self.all.get_mut(id)
        {
            person.suspended = Some(signed.at);
        }
        let proposal = Proposal {
            change: change.clone(),
            by: signed.by.to_owned(),
            at: signed.at,
            recovery: None,
            waited_ms: 0,
            by_time: false,
        };
        self.proposals.insert(signed.act, proposal);
        Ok(Effect::Proposed(signed.act))
    }

    fn begin(&mut self, change: &Change, signed: Signed<'_>) -> Result<Effect, PersonError> {
        match change {
            Change::Enrol { id, role, key, .. }
                if *role == Role::Administrator && key.id() == signed.key =>
            {
                match &self.first {
                    Some(first) if first.id != *id || first.key != signed.key.to_string() => {
                        return Err(PersonError::OtherFirst(first.id.clone()));
                    }
                    Some(_) | None => {}
                }
                self.carry_out(change, &[], signed.at);
                Ok(Effect::Done)
            }
            Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. }
            | Change::Second { .. }
            | Change::Withdraw { .. } => Err(PersonError::Nobody),
        }
    }

    /// Withdraws a proposal. Only who made it does so: an end suspends meanwhile, and nobody else lifts
    /// that. A recovery is withdrawn by anybody who may second.
    fn withdraw(&mut self, act: Digest, signed: Signed<'_>) -> Result<Effect, PersonError> {
        let waiting = self.proposals.get(&act).ok_or(PersonError::NoProposal)?;
        if !waiting.is_recovery() && waiting.by != signed.by {
            return Err(PersonError::OthersProposal(waiting.by.clone()));
        }
        // What is signed before the recovery was told would come before it when the log is read again.
        if waiting.by_time && signed.at < waiting.at {
            return Err(PersonError::Ahead(waiting.at));
        }
        if let Some(Proposal {
            change: Change::End { id },
            ..
        }) = self.proposals.remove(&act)
        {
            let suspended = self.suspended_since(&id);
            if let Some(person) = self.all.get_mut(&id) {
                person.suspended = suspended;
            }
        }
        Ok(Effect::Withdrawn)
    }

    /// Returns the time since which somebody is suspended by the ends of them that wait.
    fn suspended_since(&self, id: &str) -> Option<Timestamp> {
        let ends = self
            .proposals
            .values()
            .filter(|waiting| matches!(&waiting.change, Change::End { id: whom } if whom == id));
        ends.map(|waiting| waiting.at).max()
    }

    fn second(&mut self, act: Digest, signed: Signed<'_>) -> Result<Effect, PersonError> {
        let proposal = self
            .proposals
            .get(&act)
            .ok_or(PersonError::NoProposal)?
            .clone();
        if proposal.is_recovery() {
            return Err(PersonError::NeedsNoSecond);
        }
        let proposer = proposal.by.clone();
        if proposer == signed.by {
            return Err(PersonError::OwnProposal(proposer));
        }
        let proposes =
            |person: &Person| person.role == Role::Administrator && person.is_active(signed.at);
        if !self.all.get(&proposer).is_some_and(proposes) {
            return Err(PersonError::ProposerGone(proposer));
        }
        self.check_independent(&proposer, signed)?;
        self.check(&proposal.change, signed.at)?;
        self.proposals.remove(&act);
        self.carry_out(&proposal.change, &[&proposer, signed.by], signed.at);
        Ok(Effect::Done)
    }

    /// Ends whomever an act that does not hold would have ended or given another key: what closes
    /// stays closed when it is damaged.
    pub(super) fn close(&mut self, statement: &SignedStatement) {
        if let Some((id, at)) = act::unverified_end(statement)
            && let Some(person) = self.all.get_mut(&id)
        {
            person.ended.get_or_insert(at);
        }
    }

    fn check(&self, change: &Change, now: Timestamp) -> Result<(), PersonError> {
        match change {
            Change::Enrol { id, key, .. } => {
                if self.all.contains_key(id) {
                    return Err(PersonError::Taken(id.clone()));
                }
                self.check_key(key)
            }
            Change::End { id } => {
                let person = self.present(id)?;
                self.check_administrator(person, now)?;
                self.check_seconds(person, now)
            }
            Change::Rekey { id, key } => {
                self.present(id)?;
                self.check_key(key)
            }
            Change::Role { id, role } => {
                let person = self.present(id)?;
                if *role == Role::Administrator {
                    return Ok(());
                }
                self.check_administrator(person, now)?;
                if Action::PersonSecond.roles().contains(role) {
                    return Ok(());
                }
                self.check_seconds(person, now)
            }
            Change::Second { .. } | Change::Withdraw { .. } => Err(PersonError::NoProposal),
        }
    }

    /// Checks that this is a present administrator; nobody else is recovered.
    fn check_recovered(&self, id: &str) -> Result<(), PersonError> {
        if self.present(id)?.role != Role::Administrator {
            return Err(PersonError::NotRecovered(id.to_owned()));
        }
        Ok(())
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), PersonError> {
        match self.of_key(key.id()) {
            Some(person) => Err(PersonError::KeyTaken(person.id.clone())),
            None => Ok(()),
        }
    }

    /// Refuses to take the last administrator away.
    fn check_administrator(&self, leaves: &Person, now: Timestamp) -> Result<(), PersonError> {
        let left = self
            .all
            .values()
            .any(|person| person.id != leaves.id && person.administers() && person.is_active(now));
        if left || !leaves.administers() {
            return Ok(());
        }
        Err(PersonError::LastAdministrator(leaves.id.clone()))
    }

    /// Refuses to take the last one away who may second what an administrator proposes, for changes
    /// take two for ever.
    fn check_seconds(&self, leaves: &Person, now: Timestamp) -> Result<(), PersonError> {
        let stay = |person: &&Person| person.id != leaves.id && person.is_active(now);
        let seconds = self.all.values().filter(stay);
        let seconds = seconds.filter(|person| person.seconds()).count();
        // One of them is the administrator who proposes.
        if !self.two || seconds > 1 || !leaves.seconds() {
            return Ok(());
        }
        Err(PersonError::LastSecond(leaves.id.clone()))
    }

    fn present(&self, id: &str) -> Result<&Person, PersonError> {
        let unknown = || PersonError::Unknown(id.to_owned());
        let person = self.all.get(id).ok_or_else(unknown)?;
        match person.ended {
            Some(at) => Err(PersonError::Ended {
                person: id.to_owned(),
                at,
            }),
            None => Ok(person),
        }
    }

    fn carry_out(&mut self, change: &Change, by: &[&str], at: Timestamp) {
        let placed = || by.iter().map(|by| ((*by).to_owned(), at));
        match change {
            Change::Enrol {
                id,
                name,
                role,
                key,
            } => {
                let person = Person {
                    id: id.clone(),
                    name: name.clone(),
                    role: *role,
                    key: key.clone(),
                    former: Vec::new(),
                    enrolled_at: at,
                    enrolled_by: by.first().copied().unwrap_or_default().to_owned(),
                    placed: placed().collect(),
                    suspended: None,
                    ended: None,
                };
                self.all.insert(id.clone(), person);
            }
            Change::End { id } => {
                if let Some(person) = self.all.get_mut(id) {
                    // Who was suspended signed nothing since.
                    person.ended = Some(match person.standing(at) {
                        Standing::Suspended { since } => since,
                        Standing::Active | Standing::Ended { .. } => at,
                    });
                }
            }
            Change::Rekey { id, key } => {
                if let Some(person) = self.all.get_mut(id) {
                    let former = std::mem::replace(&mut person.key, key.clone());
                    person.former.push(FormerKey {
                        key: former,
                        until: at,
                    });
                    person.placed.extend(placed());
                }
            }
            Change::Role { id, role } => {
                if let Some(person) = self.all.get_mut(id) {
                    person.role = *role;
                    person.placed.extend(placed());
                }
            }
            Change::Second { .. } | Change::Withdraw { .. } => {}
        }
        let administrators = self.all.values().filter(|person| person.administers());
        self.two |= administrators.count() > 1;
    }
}

/// Refuses what begins a term while the time of an act is not the one that the node believes.
fn check_clock(change: &Change, at: Timestamp, now: Timestamp) -> Result<(), PersonError> {
    match change {
        Change::Withdraw { .. } => Ok(()),
        Change::Enrol { .. }
        | Change::End { .. }
        | Change::Rekey { .. }
        | Change::Role { .. }
        | Change::Second { .. } => {
            if at.millis_since(now).saturating_abs() > FRESH_MS {
                return Err(PersonError::ClockApart);
            }
            Ok(())
        }
    }
}
