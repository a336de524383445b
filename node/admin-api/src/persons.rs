//! The persons of a node, as their signed acts make them.
//!
//! ```text
//! first administrator ─enrols─▶ persons ─enrol, end, rekey, roles─▶ persons ─▶ …
//! ```
//!
//! A person is believed because of the statements that enrolled them, from the first administrator
//! on. A row in a table proves nothing. Once a node has two administrators, a change takes two
//! persons: what one of them signs is a proposal, and another one seconds it within a week. An end
//! that one person signs suspends until then. Nobody seconds for somebody who enrolled them or
//! changed their key or role within the last week, so that nobody makes their own second.
//!
//! Pure: the statements are verified by [`replay`] or by the caller, and times are arguments.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyId, KeyUse, PublicKey},
    statement::SignedStatement,
    time::Timestamp,
};

use crate::{
    act::{self, ActVerifier, Action, Enrolled, Role},
    v1::act::EnrolView,
};

/// Longest time between a proposal and its second, and shortest time after which somebody who was
/// enrolled may second for who enrolled them, in milliseconds.
pub const WEEK_MS: i64 = 7 * 24 * 3_600_000;
/// Proposals that may wait at the same time.
pub const MOST_PROPOSALS: usize = 64;
/// Longest id of a person.
pub const LONGEST_ID: usize = 64;
/// Longest name of a person, in characters.
pub const LONGEST_NAME: usize = 200;

/// Names of the parameters of an act about a person.
mod parameter {
    pub(super) const ID: &str = "id";
    pub(super) const NAME: &str = "name";
    pub(super) const ROLE: &str = "role";
    pub(super) const KEY: &str = "public-key";
    pub(super) const ACT: &str = "act";
}

/// The administrator whose enrolment begins the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Their id.
    pub id: String,
    /// Id of their key, hexadecimal.
    pub key: String,
}

/// Change of the persons that an act asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A person is enrolled.
    Enrol {
        /// Their id.
        id: String,
        /// Their full name.
        name: String,
        /// Their role.
        role: Role,
        /// Their key.
        key: PublicKey,
    },
    /// A person signs no more.
    End {
        /// Their id.
        id: String,
    },
    /// A person signs with another key.
    Rekey {
        /// Their id.
        id: String,
        /// The key from now on.
        key: PublicKey,
    },
    /// A person has another role.
    Role {
        /// Their id.
        id: String,
        /// The role from now on.
        role: Role,
    },
    /// Another person's proposal is seconded.
    Second {
        /// The proposal.
        act: Digest,
    },
}

/// Reason for which a change of persons is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// The act does not say what it has to.
    #[error("the act about a person cannot be read: {0}")]
    Unreadable(&'static str),
    /// The id is not one.
    #[error(
        "`{0}` is no person's id; write 1 to 64 small letters, digits, `.`, `_` or `-`, a letter or digit first"
    )]
    Id(String),
    /// The name is not one.
    #[error("a person's name has 1 to 200 characters, and no control characters")]
    Name,
    /// The role is not one.
    #[error("`{0}` is no role; write one of {names}", names = Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>().join(", "))]
    Role(String),
    /// The key cannot be one.
    #[error("the public key is no person's key: {0}")]
    Key(String),
    /// Nobody is enrolled, and this does not begin the chain.
    #[error("nobody is enrolled at this node yet")]
    Nobody,
    /// The node was made for another first administrator.
    #[error("this node was made for `{0}` with another key as its first administrator")]
    OtherFirst(String),
    /// The key signs for nobody any more.
    #[error("the key that signed is nobody's any more")]
    SignerGone,
    /// The id belongs, or belonged, to somebody.
    #[error("a person `{0}` is enrolled already, or was; choose another id")]
    Taken(String),
    /// The key belongs, or belonged, to somebody.
    #[error("the key is or was the key of `{0}`; one key is one person's, make another")]
    KeyTaken(String),
    /// Nobody has this id.
    #[error("no person `{0}` is enrolled; `portcullis person list` shows them")]
    Unknown(String),
    /// The person was ended.
    #[error("`{person}` was ended at {at}; enrol them under another id")]
    Ended {
        /// The person.
        person: String,
        /// Time of the end.
        at: Timestamp,
    },
    /// Nobody would be left to enrol anybody.
    #[error("`{0}` is the last administrator; enrol another one first")]
    LastAdministrator(String),
    /// The proposal does not wait here.
    #[error(
        "no such proposal waits for a second; `portcullis person proposals` shows those that do"
    )]
    NoProposal,
    /// Too many proposals wait.
    #[error("{MOST_PROPOSALS} proposals wait for a second; have some seconded, or wait a week")]
    Crowded,
    /// The proposer does not second.
    #[error("`{0}` proposed it; another person has to second it")]
    OwnProposal(String),
    /// The proposer is no longer an administrator.
    #[error("`{0}`, who proposed it, is no administrator any more; propose it anew")]
    ProposerGone(String),
    /// The second depends on the proposer.
    #[error(
        "`{second}` was enrolled, or given a key or role, by `{proposer}` less than seven days before; another person has to second it"
    )]
    Dependent {
        /// The person who seconds.
        second: String,
        /// The person who proposed.
        proposer: String,
    },
}

/// Effect of an act about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The change is made.
    Done,
    /// The change waits for a second person, under this id. An end suspends meanwhile.
    Proposed(Digest),
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

    fn is_active(&self, now: Timestamp) -> bool {
        self.standing(now) == Standing::Active
    }

    fn administers(&self) -> bool {
        self.role == Role::Administrator && self.ended.is_none()
    }
}

/// A change that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The change.
    pub change: Change,
    /// Id of the person who proposed it.
    pub by: String,
    /// Time at which it was signed.
    pub at: Timestamp,
}

/// The persons of a node, and the changes that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Persons {
    first: Option<First>,
    all: BTreeMap<String, Person>,
    proposals: BTreeMap<Digest, Proposal>,
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

    /// Lists the changes that wait for a second person at `now`.
    pub fn proposals(&self, now: Timestamp) -> impl Iterator<Item = (&Digest, &Proposal)> {
        let waits =
            move |(_, proposal): &(&Digest, &Proposal)| now.millis_since(proposal.at) <= WEEK_MS;
        self.proposals.iter().filter(waits)
    }

    /// Returns the change that a proposal asks for.
    #[must_use]
    pub fn proposed(&self, act: &Digest) -> Option<&Change> {
        self.proposals.get(act).map(|proposal| &proposal.change)
    }

    /// Lists those whose signature counts at `now`.
    #[must_use]
    pub fn signers(&self, now: Timestamp) -> Vec<Enrolled> {
        let active = self.all.values().filter(|person| person.is_active(now));
        active
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

    /// Returns true if a change takes two persons.
    #[must_use]
    pub fn takes_two(&self) -> bool {
        self.all
            .values()
            .filter(|person| person.administers())
            .count()
            > 1
    }

    /// Makes a change, or takes it as a proposal.
    ///
    /// # Errors
    ///
    /// [`PersonError`]; nothing is changed then.
    pub fn apply(&mut self, change: &Change, signed: Signed<'_>) -> Result<Effect, PersonError> {
        if self.all.is_empty() {
            return self.begin(change, signed);
        }
        let signs = |person: &Person| person.key.id() == signed.key && person.is_active(signed.at);
        if !self.all.get(signed.by).is_some_and(signs) {
            return Err(PersonError::SignerGone);
        }
        self.proposals
            .retain(|_, waiting| signed.at.millis_since(waiting.at) <= WEEK_MS);
        if let Change::Second { act } = change {
            return self.second(*act, signed);
        }
        self.check(change, signed.at)?;
        if !self.takes_two() {
            self.carry_out(change, &[signed.by], signed.at);
            return Ok(Effect::Done);
        }
        if self.proposals.len() >= MOST_PROPOSALS {
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
            | Change::Second { .. } => Err(PersonError::Nobody),
        }
    }

    fn second(&mut self, act: Digest, signed: Signed<'_>) -> Result<Effect, PersonError> {
        let proposal = self
            .proposals
            .get(&act)
            .ok_or(PersonError::NoProposal)?
            .clone();
        let proposer = proposal.by.clone();
        if proposer == signed.by {
            return Err(PersonError::OwnProposal(proposer));
        }
        let proposes =
            |person: &Person| person.role == Role::Administrator && person.is_active(signed.at);
        if !self.all.get(&proposer).is_some_and(proposes) {
            return Err(PersonError::ProposerGone(proposer));
        }
        let placed = self
            .all
            .get(signed.by)
            .and_then(|second| second.placed.get(&proposer));
        if placed.is_some_and(|at| signed.at.millis_since(*at) < WEEK_MS) {
            let second = signed.by.to_owned();
            return Err(PersonError::Dependent { second, proposer });
        }
        self.check(&proposal.change, signed.at)?;
        self.proposals.remove(&act);
        self.carry_out(&proposal.change, &[&proposer, signed.by], signed.at);
        Ok(Effect::Done)
    }

    /// Ends whomever an act that does not hold would have ended or given another key: what closes
    /// stays closed when it is damaged.
    fn close(&mut self, statement: &SignedStatement) {
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
                self.check_left(person, now)
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
                self.check_left(person, now)
            }
            Change::Second { .. } => Err(PersonError::NoProposal),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), PersonError> {
        match self.of_key(key.id()) {
            Some(person) => Err(PersonError::KeyTaken(person.id.clone())),
            None => Ok(()),
        }
    }

    /// Refuses to take the last administrator away.
    fn check_left(&self, leaves: &Person, now: Timestamp) -> Result<(), PersonError> {
        let left = self
            .all
            .values()
            .any(|person| person.id != leaves.id && person.administers() && person.is_active(now));
        if left || !leaves.administers() {
            return Ok(());
        }
        Err(PersonError::LastAdministrator(leaves.id.clone()))
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
            Change::Second { .. } => {}
        }
    }
}

impl Change {
    /// Reads the change that an act asks for; `None` if the act is about no person. `enrolment` is
    /// the content of an enrolment whose parameters do not say it, as earlier versions sign it.
    ///
    /// # Errors
    ///
    /// [`PersonError`] says what is missing.
    pub fn read(
        action: Action,
        parameters: &BTreeMap<String, String>,
        enrolment: Option<&EnrolView>,
    ) -> Result<Option<Self>, PersonError> {
        let of = |name: &str, missing| {
            let value = parameters.get(name).cloned();
            value.ok_or(PersonError::Unreadable(missing))
        };
        let id = || of(parameter::ID, "it names nobody");
        let change = match action {
            Action::Enrol if parameters.is_empty() => {
                let view = enrolment.ok_or(PersonError::Unreadable("it names nobody"))?;
                Self::Enrol {
                    id: view.id.clone(),
                    name: view.name.clone(),
                    role: role(&view.role)?,
                    key: key(&view.public_key)?,
                }
            }
            Action::Enrol => Self::Enrol {
                id: id()?,
                name: of(parameter::NAME, "it gives no name")?,
                role: role(&of(parameter::ROLE, "it gives no role")?)?,
                key: key(&of(parameter::KEY, "it gives no key")?)?,
            },
            Action::PersonEnd => Self::End { id: id()? },
            Action::PersonRekey => Self::Rekey {
                id: id()?,
                key: key(&of(parameter::KEY, "it gives no key")?)?,
            },
            Action::PersonRole => Self::Role {
                id: id()?,
                role: role(&of(parameter::ROLE, "it gives no role")?)?,
            },
            Action::PersonSecond => Self::Second {
                act: of(parameter::ACT, "it names no proposal")?
                    .parse()
                    .map_err(|_| PersonError::NoProposal)?,
            },
            Action::Publish
            | Action::Alert
            | Action::Advisory
            | Action::ImportConsignments
            | Action::PublishProfile
            | Action::Reload
            | Action::PeerBlock
            | Action::PeerUnblock
            | Action::ReleaseStop
            | Action::ReleaseResume
            | Action::HoldRelease
            | Action::HoldDrop
            | Action::DispatchRetry
            | Action::Backfill
            | Action::BackfillCancel
            | Action::Backup
            | Action::ReadLog
            | Action::ConfirmClock
            | Action::QuarantineDrop
            | Action::AcceptSettings => return Ok(None),
        };
        Ok(Some(change))
    }

    /// Checks id and name of somebody who is to be enrolled now. Earlier versions took any.
    ///
    /// # Errors
    ///
    /// [`PersonError::Id`] or [`PersonError::Name`].
    pub fn check_names(&self) -> Result<(), PersonError> {
        let Self::Enrol { id, name, .. } = self else {
            return Ok(());
        };
        if !is_slug(id) {
            let shown: String = id
                .chars()
                .take(LONGEST_ID)
                .flat_map(char::escape_default)
                .collect();
            return Err(PersonError::Id(shown));
        }
        let length = name.chars().count();
        let plain = !name.chars().any(|one| one.is_control() || turns(one));
        if name.trim().is_empty() || length > LONGEST_NAME || !plain {
            return Err(PersonError::Name);
        }
        Ok(())
    }

    /// Returns the action that asks for this change.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Enrol { .. } => Action::Enrol,
            Self::End { .. } => Action::PersonEnd,
            Self::Rekey { .. } => Action::PersonRekey,
            Self::Role { .. } => Action::PersonRole,
            Self::Second { .. } => Action::PersonSecond,
        }
    }

    /// Returns the parameters of an act that asks for this change.
    #[must_use]
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let hex = |key: &PublicKey| data_encoding::HEXLOWER.encode(&key.to_bytes());
        let pairs = match self {
            Self::Enrol {
                id,
                name,
                role,
                key,
            } => vec![
                (parameter::ID, id.clone()),
                (parameter::NAME, name.clone()),
                (parameter::ROLE, role.name().to_owned()),
                (parameter::KEY, hex(key)),
            ],
            Self::End { id } => vec![(parameter::ID, id.clone())],
            Self::Rekey { id, key } => {
                vec![(parameter::ID, id.clone()), (parameter::KEY, hex(key))]
            }
            Self::Role { id, role } => vec![
                (parameter::ID, id.clone()),
                (parameter::ROLE, role.name().to_owned()),
            ],
            Self::Second { act } => vec![(parameter::ACT, act.to_string())],
        };
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        pairs.into_iter().map(named).collect()
    }

    /// Describes the change in a line.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Enrol { id, role, .. } => format!("enrol `{id}` as {}", role.name()),
            Self::End { id } => format!("end `{id}`"),
            Self::Rekey { id, key } => {
                format!("give `{id}` the key `{:.12}`", key.id().to_string())
            }
            Self::Role { id, role } => format!("give `{id}` the role {}", role.name()),
            Self::Second { act } => format!("second `{:.12}`", act.to_string()),
        }
    }
}

/// Returns true for a short name that no terminal and no log misreads.
#[must_use]
pub fn is_slug(id: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    id.len() <= LONGEST_ID
        && id.as_bytes().first().is_some_and(plain)
        && id
            .bytes()
            .all(|byte| plain(&byte) || b"._-".contains(&byte))
}

/// Returns true for a character that turns or hides what is written beside it.
const fn turns(one: char) -> bool {
    matches!(one, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn role(text: &str) -> Result<Role, PersonError> {
    Role::named(text).ok_or_else(|| PersonError::Role(text.escape_debug().take(40).collect()))
}

fn key(hex: &str) -> Result<PublicKey, PersonError> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(hex.as_bytes())
        .map_err(|error| PersonError::Key(error.to_string()))?;
    PublicKey::from_slice(KeyUse::Person, &bytes)
        .map_err(|error| PersonError::Key(error.to_string()))
}

/// The persons that a log of acts makes, and what in the store no act accounts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The persons.
    pub persons: Persons,
    /// Rows and acts that do not count, in words.
    pub unproven: Vec<String>,
}

/// Builds the persons from the acts about persons, in the order in which they were carried out.
/// `rows` are the enrolments that the store lists: an earlier version signed only their digest.
#[must_use]
pub fn replay(
    verifier: &ActVerifier<'_>,
    first: Option<First>,
    log: &[SignedStatement],
    rows: &[EnrolView],
) -> Replayed {
    let contents: BTreeMap<String, &EnrolView> = rows
        .iter()
        .filter_map(|row| {
            Some((
                act::body_digest(&serde_json::to_vec(row).ok()?).to_string(),
                row,
            ))
        })
        .collect();
    let mut persons = Persons::before(first);
    let mut unproven = Vec::new();
    let mut seen = BTreeSet::new();
    for statement in log {
        let id = act::id(statement);
        // The same statement again undoes nothing that came between.
        if !seen.insert(id) {
            continue;
        }
        if let Err(reason) = again(&mut persons, verifier, statement, &contents) {
            persons.close(statement);
            unproven.push(format!(
                "the act `{:.12}` in the log: {reason}",
                id.to_string()
            ));
        }
    }
    for row in rows {
        let proven = persons.all.get(&row.id).is_some_and(|person| {
            let key = person
                .former
                .first()
                .map_or(&person.key, |first| &first.key);
            key.to_bytes().as_slice() == row.key_bytes().unwrap_or_default()
        });
        if !proven {
            let id: String = row
                .id
                .chars()
                .take(LONGEST_ID)
                .flat_map(char::escape_default)
                .collect();
            unproven.push(format!(
                "the person `{id}` in the table: no act enrolled them"
            ));
        }
    }
    Replayed { persons, unproven }
}

fn again(
    persons: &mut Persons,
    verifier: &ActVerifier<'_>,
    statement: &SignedStatement,
    contents: &BTreeMap<String, &EnrolView>,
) -> Result<(), String> {
    let key = statement.key_id();
    let signer = match persons.of_key(key) {
        Some(person) if person.key.id() == key => person.key.clone(),
        Some(person) => return Err(format!("the key was no longer that of `{}`", person.id)),
        None if persons.is_empty() => {
            // The first enrolment is signed by the key that it enrols.
            act::unverified_enrolment(statement, contents).ok_or("nobody signed it")?
        }
        None => return Err("nobody's key signed it".to_owned()),
    };
    let told = |error: &dyn std::error::Error| error.to_string();
    let logged = verifier
        .logged(statement, &signer)
        .map_err(|error| told(&error))?;
    let content = contents.get(&logged.body).copied();
    let change = Change::read(logged.action, &logged.parameters, content)
        .map_err(|error| told(&error))?
        .ok_or("it is about no person")?;
    let by = match persons.of_key(key) {
        Some(person) if person.is_active(logged.at) => {
            if !logged.action.roles().contains(&person.role) {
                return Err(format!(
                    "`{}` had the role `{}`",
                    person.id,
                    person.role.name()
                ));
            }
            person.id.clone()
        }
        Some(person) => return Err(format!("`{}` was ended", person.id)),
        None => String::new(),
    };
    let signed = Signed {
        by: &by,
        key,
        act: act::id(statement),
        at: logged.at,
    };
    persons
        .apply(&change, signed)
        .map(drop)
        .map_err(|error| told(&error))
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::keys::SigningKey;

    use super::*;
    use crate::act::Request;

    const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);
    const HOUR: i64 = 3_600_000;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(KeyUse::Person, [seed; 32])
    }

    /// A node's persons with the log that made them.
    struct Node {
        persons: Persons,
        log: Vec<SignedStatement>,
        now: Timestamp,
    }

    fn enrol(id: &str, role: Role, seed: u8) -> Change {
        Change::Enrol {
            id: id.to_owned(),
            name: id.to_owned(),
            role,
            key: key(seed).public(),
        }
    }

    fn end(id: &str) -> Change {
        Change::End { id: id.to_owned() }
    }

    impl Node {
        /// Makes a node with administrator `ada` (key 1).
        fn new() -> Self {
            let mut node = Self {
                persons: Persons::before(None),
                log: Vec::new(),
                now: START,
            };
            node.does(1, &enrol("ada", Role::Administrator, 1)).unwrap();
            node
        }

        /// Makes a node with administrators `ada` and `bea` (keys 1 and 2) and supervisor `sue` (3),
        /// all enrolled more than a week ago.
        fn of_two() -> Self {
            let mut node = Self::new();
            node.does(1, &enrol("sue", Role::Supervisor, 3)).unwrap();
            node.does(1, &enrol("bea", Role::Administrator, 2)).unwrap();
            node.now = node.now.plus_millis(WEEK_MS);
            node
        }

        /// Has the owner of a key sign a change, as the node does it: verified, applied, logged.
        fn does(&mut self, seed: u8, change: &Change) -> Result<Effect, String> {
            self.now = self.now.plus_millis(1);
            let text = statement(change.action(), change.parameters(), self.now, seed);
            let signers = if self.persons.is_empty() {
                vec![Enrolled {
                    id: "ada".to_owned(),
                    role: Role::Administrator.name().to_owned(),
                    public_key: key(seed).public().to_bytes().to_vec(),
                }]
            } else {
                self.persons.signers(self.now)
            };
            let verified =
                with_verifier(self.now, |verifier| verifier.verify(&text, b"", &signers));
            let act = verified.map_err(|error| error.to_string())?;
            let signed = Signed {
                by: &act.person.id,
                key: act.statement.key_id(),
                act: act::id(&act.statement),
                at: act.at,
            };
            let effect = self.persons.apply(change, signed);
            let effect = effect.map_err(|error| error.to_string())?;
            self.log.push(act.statement);
            Ok(effect)
        }

        fn proposes(&mut self, seed: u8, change: &Change) -> Change {
            match self.does(seed, change).unwrap() {
                Effect::Proposed(act) => Change::Second { act },
                Effect::Done => panic!("{} was done", change.describe()),
            }
        }

        #[track_caller]
        fn refuses(&mut self, seed: u8, change: &Change, says: &str) {
            let (before, lines) = (self.persons.clone(), self.log.len());
            let refused = self.does(seed, change).unwrap_err();
            assert!(refused.contains(says), "{refused}");
            assert_eq!(self.persons.all, before.all);
            assert_eq!(self.log.len(), lines);
        }

        fn signs(&self, id: &str) -> bool {
            let signers = self.persons.signers(self.now);
            signers.iter().any(|signer| signer.id == id)
        }

        fn replayed(&self) -> Replayed {
            replayed(None, &self.log, &[])
        }
    }

    fn statement(
        action: Action,
        parameters: BTreeMap<String, String>,
        at: Timestamp,
        seed: u8,
    ) -> String {
        of_body(action, parameters, b"", at, seed)
    }

    fn of_body(
        action: Action,
        parameters: BTreeMap<String, String>,
        body: &[u8],
        at: Timestamp,
        seed: u8,
    ) -> String {
        let request = Request {
            federation: "ports",
            node: "antwerp-1",
            action,
            parameters,
            body,
            at,
            nonce: [0; 16],
        };
        act::sign(&request, &key(seed)).unwrap()
    }

    fn with_verifier<T>(now: Timestamp, of: impl FnOnce(&ActVerifier<'_>) -> T) -> T {
        let (federation, node) = ("ports".parse().unwrap(), "antwerp-1".parse().unwrap());
        of(&ActVerifier {
            federation: &federation,
            node: &node,
            now,
        })
    }

    fn replayed(first: Option<First>, log: &[SignedStatement], rows: &[EnrolView]) -> Replayed {
        with_verifier(START, |verifier| replay(verifier, first, log, rows))
    }

    fn row(id: &str, role: Role, seed: u8) -> EnrolView {
        EnrolView {
            id: id.to_owned(),
            name: id.to_owned(),
            role: role.name().to_owned(),
            public_key: data_encoding::HEXLOWER.encode(&key(seed).public().to_bytes()),
        }
    }

    /// Newcomer A4: one key was enrolled under several ids.
    #[test]
    fn one_key_is_one_persons_even_after_it_was_replaced_or_ended() {
        let mut node = Node::new();
        node.refuses(1, &enrol("eve", Role::Supervisor, 1), "key of `ada`");
        node.does(1, &enrol("bob", Role::Analyst, 5)).unwrap();
        node.refuses(1, &enrol("bob", Role::Analyst, 6), "`bob` is enrolled");
        let rekey = Change::Rekey {
            id: "bob".to_owned(),
            key: key(6).public(),
        };
        node.does(1, &rekey).unwrap();
        node.refuses(1, &enrol("eve", Role::Analyst, 5), "key of `bob`");
        node.does(1, &end("bob")).unwrap();
        node.refuses(1, &enrol("eve", Role::Analyst, 6), "key of `bob`");
        node.refuses(1, &enrol("bob", Role::Analyst, 7), "`bob` is enrolled");
    }

    /// Attack M7: a stolen key counted for ever.
    #[test]
    fn who_is_ended_rekeyed_or_given_a_role_is_so_at_once_and_after_a_replay() {
        let mut node = Node::new();
        node.does(1, &enrol("bob", Role::Administrator, 5)).unwrap();
        node.now = node.now.plus_millis(WEEK_MS);
        let enrolled = node.persons.all["bob"].enrolled_at;
        assert!(enrolled > node.persons.all["ada"].enrolled_at);
        let role = Change::Role {
            id: "bob".to_owned(),
            role: Role::Analyst,
        };
        let second = node.proposes(1, &role);
        node.does(5, &second).unwrap();
        let rekey = Change::Rekey {
            id: "bob".to_owned(),
            key: key(6).public(),
        };
        node.does(1, &rekey).unwrap();
        node.refuses(5, &end("ada"), "no enrolled person");
        let bob = node.persons.all["bob"].clone();
        assert_eq!(bob.former[0].until, node.now.plus_millis(-1));
        node.does(1, &end("bob")).unwrap();
        assert!(!node.signs("bob"));
        node.refuses(6, &end("ada"), "no enrolled person");
        let again = node.replayed();
        assert_eq!(again.unproven, [""; 0]);
        assert_eq!(again.persons.all, node.persons.all);
    }

    #[test]
    fn the_last_administrator_stays() {
        let mut node = Node::new();
        let last = "`ada` is the last administrator";
        node.refuses(1, &end("ada"), last);
        let role = Change::Role {
            id: "ada".to_owned(),
            role: Role::Analyst,
        };
        node.refuses(1, &role, last);
        let mut two = Node::of_two();
        two.proposes(1, &end("bea"));
        two.refuses(1, &end("ada"), last);
    }

    /// Attack M7: an administrator enrolled a second key of their own as supervisor.
    #[test]
    fn once_there_are_two_administrators_nobody_changes_persons_alone() {
        let mut node = Node::of_two();
        let eve = enrol("eve", Role::Supervisor, 9);
        let second = node.proposes(1, &eve);
        assert!(!node.persons.all.contains_key("eve"));
        node.refuses(1, &second, "`ada` proposed it");
        let Change::Second { act } = second else {
            panic!();
        };
        node.refuses(
            3,
            &Change::Second {
                act: Digest::labelled("x", &[]),
            },
            "no such proposal",
        );
        node.does(3, &Change::Second { act }).unwrap();
        assert!(node.signs("eve"));
        node.refuses(2, &Change::Second { act }, "no such proposal");
        assert_eq!(node.replayed().persons, node.persons);
    }

    #[test]
    fn nobody_seconds_for_who_placed_them_within_a_week() {
        let mut node = Node::of_two();
        let second = node.proposes(1, &enrol("eve", Role::Supervisor, 9));
        node.does(2, &second).unwrap();
        for proposer in [1, 2] {
            let mallory = enrol("mallory", Role::Supervisor, 10 + proposer);
            let second = node.proposes(proposer, &mallory);
            node.refuses(9, &second, "less than seven days");
        }
        node.now = node.now.plus_millis(WEEK_MS);
        let second = node.proposes(1, &enrol("tom", Role::Analyst, 13));
        node.does(9, &second).unwrap();
        // A new key is as good as a new person.
        let rekey = Change::Rekey {
            id: "eve".to_owned(),
            key: key(14).public(),
        };
        let second = node.proposes(1, &rekey);
        node.does(2, &second).unwrap();
        let second = node.proposes(1, &enrol("una", Role::Analyst, 15));
        node.refuses(14, &second, "less than seven days");
    }

    #[test]
    fn an_end_that_one_signs_suspends_for_a_week_and_no_longer() {
        let mut node = Node::of_two();
        let second = node.proposes(1, &end("bea"));
        assert!(!node.signs("bea"));
        node.refuses(2, &second, "no enrolled person");
        // Suspending the other administrator does not make one alone.
        node.proposes(1, &enrol("eve", Role::Administrator, 9));
        node.now = node.now.plus_millis(WEEK_MS);
        assert!(node.signs("bea"));
        node.refuses(3, &second, "no such proposal");
        let second = node.proposes(1, &end("bea"));
        let since = node.now;
        node.now = node.now.plus_millis(HOUR);
        node.does(3, &second).unwrap();
        node.now = node.now.plus_millis(2 * WEEK_MS);
        let standing = node.persons.all["bea"].standing(node.now);
        assert_eq!(standing, Standing::Ended { at: since });
        assert_eq!(node.replayed().persons.all, node.persons.all);
    }

    #[test]
    fn what_somebody_proposed_who_is_no_administrator_any_more_is_not_seconded() {
        let mut node = Node::of_two();
        let second = node.proposes(2, &enrol("eve", Role::Supervisor, 9));
        node.proposes(1, &end("bea"));
        node.refuses(3, &second, "no administrator any more");
    }

    /// Attack H1, M6: a row in the table acted with full rights.
    #[test]
    fn a_row_without_an_act_is_nobody_and_is_named() {
        let node = Node::of_two();
        let rows = [
            row("ada", Role::Administrator, 1),
            row("bea", Role::Administrator, 2),
            row("eve", Role::Administrator, 9),
            row("sue", Role::Administrator, 9),
        ];
        let Replayed { persons, unproven } = replayed(None, &node.log, &rows);
        assert_eq!(persons, node.persons);
        assert_eq!(unproven.len(), 2);
        assert!(unproven[0].contains("`eve`") && unproven[1].contains("`sue`"));
        let none = replayed(None, &[], &rows);
        assert!(none.persons.is_empty());
        assert_eq!(none.unproven.len(), 4);
    }

    #[test]
    fn an_act_that_is_moved_repeated_changed_or_of_another_node_makes_nobody() {
        let mut node = Node::of_two();
        let second = node.proposes(1, &end("sue"));
        node.does(2, &second).unwrap();
        // The same acts again bring nobody back.
        let twice = [node.log.clone(), node.log.clone()].concat();
        assert_eq!(replayed(None, &twice, &[]).persons, node.persons);
        // Without the first enrolment nobody is anybody.
        let without = replayed(None, &node.log[1..], &[]);
        assert!(without.persons.is_empty());
        assert_eq!(without.unproven.len(), node.log.len() - 1);
        // A stranger cannot begin the chain of a node that names its first administrator.
        let first = First {
            id: "ada".to_owned(),
            key: key(1).public().id().to_string(),
        };
        let mut stranger = Node {
            persons: Persons::before(None),
            log: Vec::new(),
            now: START,
        };
        stranger
            .does(8, &enrol("ada", Role::Administrator, 8))
            .unwrap();
        let log = [stranger.log, node.log.clone()].concat();
        let Replayed { persons, unproven } = replayed(Some(first), &log, &[]);
        assert_eq!(persons.all, node.persons.all);
        assert_eq!(unproven.len(), 1);
        assert!(unproven[0].contains("another key as its first administrator"));
    }

    #[test]
    fn enrolments_of_earlier_versions_are_proven_by_the_digest_that_was_signed() {
        let rows = [
            row("Ada B.", Role::Administrator, 1),
            row("bob", Role::Analyst, 5),
        ];
        let sign = |row: &EnrolView, seed| {
            let body = serde_json::to_vec(row).unwrap();
            let text = of_body(Action::Enrol, BTreeMap::new(), &body, START, seed);
            let signer = Enrolled {
                id: String::new(),
                role: Role::Administrator.name().to_owned(),
                public_key: key(seed).public().to_bytes().to_vec(),
            };
            let act = with_verifier(START, |verifier| verifier.verify(&text, &body, &[signer]));
            act.unwrap().statement
        };
        let log = [sign(&rows[0], 1), sign(&rows[1], 1)];
        let Replayed { persons, unproven } = replayed(None, &log, &rows);
        assert_eq!(unproven, [""; 0]);
        assert_eq!(persons.all().count(), 2);
        // A raised role, another name or another key is another content.
        let mut raised = rows.clone();
        raised[1].role = Role::Administrator.name().to_owned();
        let Replayed { persons, unproven } = replayed(None, &log, &raised);
        assert_eq!(persons.all().count(), 1);
        assert_eq!(unproven.len(), 2);
        // A row of somebody whom only themselves enrolled, after the first.
        let eve = [
            row("Ada B.", Role::Administrator, 1),
            row("eve", Role::Administrator, 9),
        ];
        let own = [log[0].clone(), sign(&eve[1], 9)];
        assert_eq!(replayed(None, &own, &eve).persons.all().count(), 1);
    }

    /// Attack HM5: what closes stays closed when it is damaged.
    #[test]
    fn a_damaged_end_ends_and_a_damaged_enrolment_enrols_nobody() {
        let mut node = Node::new();
        node.does(1, &enrol("bob", Role::Analyst, 5)).unwrap();
        node.does(1, &end("bob")).unwrap();
        let damaged = |statement: &SignedStatement| {
            let mut signature = *statement.signature();
            signature[3] ^= 1;
            let wire = portcullis_protocol::wire::SignedStatement {
                signature: signature.to_vec().into(),
                ..statement.into()
            };
            SignedStatement::try_from(wire).unwrap()
        };
        let [ada, bob, gone] = &node.log[..] else {
            panic!();
        };
        let ends = replayed(None, &[ada.clone(), bob.clone(), damaged(gone)], &[]);
        assert_eq!(ends.unproven.len(), 1);
        assert_eq!(ends.persons.signers(node.now).len(), 1);
        let enrols = replayed(None, &[ada.clone(), damaged(bob)], &[]);
        assert_eq!(enrols.persons.all().count(), 1);
    }

    /// Attack M7: ids that are empty, huge, or turn what stands beside them.
    #[test]
    fn an_id_is_a_short_plain_word_and_a_name_is_one_line() {
        let checks = |id: &str, name: &str| {
            let change = Change::Enrol {
                id: id.to_owned(),
                name: name.to_owned(),
                role: Role::Analyst,
                key: key(1).public(),
            };
            change.check_names()
        };
        for id in ["a", "anna.claes", "b-2_x", "9", &"x".repeat(64)] {
            assert_eq!(checks(id, "Anna Claës"), Ok(()), "{id}");
        }
        let long = "x".repeat(65);
        for id in [
            "",
            " ",
            "Anna",
            "a b",
            "a\n",
            "\u{1b}[2J",
            "é",
            "-a",
            ".",
            "a\u{202e}",
            &long,
        ] {
            assert!(
                matches!(checks(id, "Anna"), Err(PersonError::Id(_))),
                "{id:?}"
            );
        }
        let long = "x".repeat(201);
        for name in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}", "\u{7}", &long] {
            assert_eq!(checks("anna", name), Err(PersonError::Name), "{name:?}");
        }
    }
}
