//! Changes of the persons, as acts ask for them: read, checked for what they name, and described.

use std::collections::BTreeMap;

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, PublicKey},
    time::Timestamp,
};

use crate::{
    act::{Action, Role},
    v1::act::EnrolView,
};

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
    /// A proposal or a recovery waits no more.
    Withdraw {
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
    /// Nobody would be left to second anything.
    #[error(
        "`{0}` is the last who may second what an administrator proposes; enrol another one first"
    )]
    LastSecond(String),
    /// The proposal does not wait here.
    #[error(
        "no such proposal waits for a second; `portcullis person proposals` shows those that do"
    )]
    NoProposal,
    /// Nobody ends themselves, for the second would have nobody to second.
    #[error("you cannot end yourself or give up your own role; another administrator proposes it")]
    Oneself,
    /// A recovery is not seconded.
    #[error(
        "it needs no second: it counts by itself from the time that `portcullis person proposals` shows"
    )]
    NeedsNoSecond,
    /// The times of the act and of the node lie apart, though the act was signed just now.
    #[error(
        "the machine's clock was set, and the node does not believe it: terms of persons would begin at a wrong time; an administrator confirms it first with `portcullis clock confirm`"
    )]
    ClockApart,
    /// A withdrawal is signed before what it withdraws.
    #[error("it was told at {0}, which lies ahead; look at the clocks, and try again then")]
    Ahead(Timestamp),
    /// A proposal is withdrawn by who proposed it.
    #[error("`{0}` proposed it, and nobody else withdraws it; it lapses if nobody seconds it")]
    OthersProposal(String),
    /// Another kind of person is recovered.
    #[error(
        "`{0}` is no administrator; an administrator gives them another key with `portcullis person rekey`"
    )]
    NotRecovered(String),
    /// One recovery of a person waits at a time.
    #[error(
        "a recovery of `{person}` waits already; withdraw it first with `portcullis person withdraw {recovery}`, or wait until it counts, and then make the other one"
    )]
    RecoveryWaits {
        /// The person.
        person: String,
        /// The recovery that waits.
        recovery: Digest,
    },
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
            Action::PersonWithdraw => Self::Withdraw {
                act: of(parameter::ACT, "it names no proposal")?
                    .parse()
                    .map_err(|_| PersonError::NoProposal)?,
            },
            Action::Publish
            | Action::Alert
            | Action::Advisory
            | Action::ImportConsignments
            | Action::CloseConsignment
            | Action::PruneConsignments
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
            Self::Withdraw { .. } => Action::PersonWithdraw,
        }
    }

    /// Returns the id of the person whom it changes; `None` if it is about another change.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        match self {
            Self::Enrol { id, .. }
            | Self::End { id }
            | Self::Rekey { id, .. }
            | Self::Role { id, .. } => Some(id),
            Self::Second { .. } | Self::Withdraw { .. } => None,
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
            Self::Second { act } | Self::Withdraw { act } => {
                vec![(parameter::ACT, act.to_string())]
            }
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
            Self::Withdraw { act } => format!("withdraw `{:.12}`", act.to_string()),
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
