//! Makes the next epoch without a request: members that leave, keys that end, freshness keys.
//!
//! An empty amendment, a member or key that is not listed, and a present epoch that its own
//! governance has not signed are refused. A key that has ended stays listed, with its end: records
//! that it sealed before stay verifiable.

use portcullis_protocol::{
    identifiers::AuthorityId,
    keys::KeyId,
    register::{Authority, FreshnessKeys, Register, RegisterError, RegisteredKey, SignedRegister},
    rules::Rule,
    time::Timestamp,
};

use super::governance::Signatures;

/// End of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEnd {
    /// The key is used no more.
    Retired,
    /// Somebody else may have used the key since this time.
    CompromisedSince(Timestamp),
}

/// Changes that the next epoch makes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Amendment {
    /// Members that leave.
    pub remove: Vec<AuthorityId>,
    /// Keys that end.
    pub ended: Vec<(KeyId, KeyEnd)>,
    /// Freshness keys that replace the listed ones.
    pub freshness: Option<FreshnessKeys>,
    /// Earlier epochs, which are searched for keys of members that left.
    pub earlier: Vec<SignedRegister>,
}

/// Error of an epoch that is not made. It is the governance's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmendError {
    /// The present epoch cannot be read, or the next one would contradict itself.
    #[error(transparent)]
    Content(#[from] RegisterError),
    /// The present epoch has too few signatures.
    #[error(
        "the present epoch has {valid} of {threshold} signatures of its governance; let it be signed first with `portcullis federation sign`"
    )]
    Unsigned {
        /// Number of signatures that verify.
        valid: usize,
        /// Number of signatures needed.
        threshold: usize,
    },
    /// There is no such member.
    #[error("`{0}` is no member; `portcullis federation show` lists them")]
    NoMember(AuthorityId),
    /// No listed node has this key.
    #[error(
        "no member's node has key `{0}`; `portcullis federation show` lists them. If its member left, name an epoch that lists it with `--earlier FILE` and say since when it is compromised"
    )]
    NoKey(KeyId),
    /// The owner of the key leaves in the same epoch, and its keys are retired with it.
    #[error(
        "key `{key}` is of `{owner}`, which leaves and retires its keys with it; name it as compromised, or not at all"
    )]
    LeavesWithKey {
        /// Id of the key.
        key: KeyId,
        /// Authority that owns it.
        owner: AuthorityId,
    },
    /// The time of a compromise lies in the future.
    #[error(
        "key `{0}` cannot be compromised since {1}, which is still to come; say since when somebody else may have used it"
    )]
    Later(KeyId, Timestamp),
    /// The amendment changes nothing.
    #[error(
        "name what the next epoch has otherwise: a member that leaves, a key that ends, or freshness keys"
    )]
    Nothing,
    /// The number of the present epoch is the last possible one.
    #[error("there is no epoch after {0}")]
    LastEpoch(u64),
}

impl AmendError {
    /// Returns the rule on which the refusal stands, if it is one between nodes.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Content(RegisterError::Unreadable) => Some(Rule::RegisterUnreadable),
            Self::Content(_) => Some(Rule::RegisterContent),
            Self::Unsigned { .. } => Some(Rule::RegisterSignatures),
            Self::NoMember(_)
            | Self::NoKey(_)
            | Self::LeavesWithKey { .. }
            | Self::Later(..)
            | Self::Nothing
            | Self::LastEpoch(_) => None,
        }
    }
}

/// Makes the unsigned epoch after `present`, with the amendment.
///
/// # Errors
///
/// [`AmendError`] if the present epoch or the amendment is refused.
pub fn amend(
    present: &SignedRegister,
    amendment: Amendment,
    now: Timestamp,
) -> Result<SignedRegister, AmendError> {
    let Amendment {
        remove,
        ended,
        freshness,
        earlier,
    } = amendment;
    let mut register = present.unverified()?;
    let signatures = Signatures::of(&register, present);
    if !signatures.suffice() {
        return Err(AmendError::Unsigned {
            valid: signatures.valid.len(),
            threshold: signatures.threshold,
        });
    }
    if remove.is_empty() && ended.is_empty() && freshness.is_none() {
        return Err(AmendError::Nothing);
    }
    for (id, end) in ended {
        if let KeyEnd::CompromisedSince(since) = end
            && since > now
        {
            return Err(AmendError::Later(id, since));
        }
        let owner = owner_of(&mut register, id);
        let stays = owner.filter(|owner| !remove.contains(&owner.id));
        match (stays, end) {
            (Some(owner), _) => {
                let keys = owner.nodes.iter_mut().flat_map(|node| &mut node.keys);
                keys.filter(|key| key.public.id() == id)
                    .for_each(|key| mark(key, end, now));
            }
            (None, KeyEnd::CompromisedSince(since)) => {
                require_listed(&mut register, &earlier, id)?;
                let known = register.former.entry(id).or_insert(since);
                *known = since.min(*known);
            }
            (None, KeyEnd::Retired) => return Err(ended_with_owner(&mut register, id)),
        }
    }
    for id in remove {
        if register.authorities.remove(&id).is_none() {
            return Err(AmendError::NoMember(id));
        }
    }
    if let Some(freshness) = freshness {
        register.freshness = freshness;
    }
    let last = AmendError::LastEpoch(register.epoch);
    register.epoch = register.epoch.checked_add(1).ok_or(last)?;
    register.previous = Some(present.digest());
    register.issued_at = now;
    Ok(SignedRegister::unsigned(&register)?)
}

fn owner_of(register: &mut Register, id: KeyId) -> Option<&mut Authority> {
    register.authorities.values_mut().find(|authority| {
        let mut keys = authority.nodes.iter().flat_map(|node| &node.keys);
        keys.any(|key| key.public.id() == id)
    })
}

/// Refuses a key that neither the present epoch nor an earlier one lists, because a typing error
/// would otherwise go unseen.
fn require_listed(
    present: &mut Register,
    earlier: &[SignedRegister],
    id: KeyId,
) -> Result<(), AmendError> {
    if owner_of(present, id).is_some() || present.former.contains_key(&id) {
        return Ok(());
    }
    for epoch in earlier {
        if owner_of(&mut epoch.unverified()?, id).is_some() {
            return Ok(());
        }
    }
    Err(AmendError::NoKey(id))
}

/// Returns the error of a retired key that belongs to no member that stays.
fn ended_with_owner(register: &mut Register, key: KeyId) -> AmendError {
    match owner_of(register, key) {
        Some(owner) => AmendError::LeavesWithKey {
            key,
            owner: owner.id.clone(),
        },
        None => AmendError::NoKey(key),
    }
}

/// Marks the end of a key. A retirement can only become earlier. A compromise is never taken back
/// or made later.
fn mark(key: &mut RegisteredKey, end: KeyEnd, now: Timestamp) {
    match end {
        KeyEnd::Retired => {
            let before = key.retired_at;
            key.retired_at = Some(before.map_or(now, |known| known.min(now)));
        }
        KeyEnd::CompromisedSince(time) => {
            let before = key.compromised_since;
            key.compromised_since = Some(before.map_or(time, |known| known.min(time)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_protocol::{
        keys::KeyUse,
        register::{Archive, VerifiedRegister},
        verify::{KeyStanding, SealingKeys as _},
    };
    use portcullis_testbed as testbed;
    use portcullis_testbed::{NOW, key};

    fn amended(amendment: Amendment) -> Result<VerifiedRegister, AmendError> {
        let present = testbed::register();
        let mut next = amend(present.signed(), amendment, NOW.plus_millis(5))?;
        next.sign(&key(9, KeyUse::Governance)).unwrap();
        Ok(present.next(next).unwrap())
    }

    fn standing(register: &VerifiedRegister, id: KeyId) -> KeyStanding {
        let nodes = register.register().nodes();
        let mut keys = nodes.flat_map(|(_, node)| &node.keys);
        keys.find(|key| key.public.id() == id).unwrap().standing()
    }

    #[test]
    fn a_member_that_leaves_is_listed_no_more_and_the_epoch_follows() {
        let next = amended(Amendment {
            remove: vec!["terminal".parse().unwrap()],
            ..Amendment::default()
        })
        .unwrap();
        assert_eq!(next.register().epoch, 2);
        assert_eq!(next.register().authorities.len(), 3);
    }

    #[test]
    fn a_key_ends_as_it_is_said_and_a_compromise_is_not_taken_back() {
        let id = key(1, KeyUse::Sealing).id();
        let end = |ended: Vec<(KeyId, KeyEnd)>| {
            let amendment = Amendment {
                ended,
                ..Amendment::default()
            };
            standing(&amended(amendment).unwrap(), id)
        };
        let (early, late) = (NOW.plus_millis(-9), NOW.plus_millis(-3));
        assert_eq!(
            end(vec![(id, KeyEnd::Retired)]),
            KeyStanding::RetiredSince(NOW.plus_millis(5))
        );
        let twice = [early, late].map(|time| (id, KeyEnd::CompromisedSince(time)));
        assert_eq!(end(twice.to_vec()), KeyStanding::CompromisedSince(early));
    }

    #[test]
    fn a_key_of_who_leaves_is_retired_by_that_and_compromised_in_the_same_epoch() {
        let key = key(4, KeyUse::Sealing).id();
        let owner: AuthorityId = "terminal".parse().unwrap();
        let leaves = |end| {
            amended(Amendment {
                remove: vec![owner.clone()],
                ended: vec![(key, end)],
                ..Amendment::default()
            })
        };
        let since = NOW.plus_millis(-7);
        let next = leaves(KeyEnd::CompromisedSince(since)).unwrap();
        assert_eq!(next.register().former, [(key, since)].into());
        let archive = Archive::of([testbed::register().register(), next.register()]);
        let (_, standing) = archive.sealing_key(&owner, &key).unwrap();
        assert_eq!(standing, KeyStanding::CompromisedSince(since));
        let retired = leaves(KeyEnd::Retired);
        let owner = owner.clone();
        assert_eq!(retired, Err(AmendError::LeavesWithKey { key, owner }));
    }

    #[test]
    fn a_key_of_who_left_long_ago_is_called_compromised_by_its_id() {
        let (id, owner) = (key(4, KeyUse::Sealing).id(), "terminal".parse().unwrap());
        let first = testbed::register();
        let second = amended(Amendment {
            remove: vec!["terminal".parse().unwrap()],
            ..Amendment::default()
        })
        .unwrap();
        let third = |since: Timestamp, earlier: Vec<SignedRegister>, of: &VerifiedRegister| {
            let amendment = Amendment {
                ended: vec![(id, KeyEnd::CompromisedSince(since))],
                earlier,
                ..Amendment::default()
            };
            let mut next = amend(of.signed(), amendment, NOW.plus_millis(9))?;
            next.sign(&key(9, KeyUse::Governance)).unwrap();
            Ok(of.next(next).unwrap())
        };
        let (early, late) = (NOW.plus_millis(-9), NOW.plus_millis(-3));
        let unseen = third(early, Vec::new(), &second);
        assert_eq!(
            unseen,
            Err(AmendError::NoKey(id)),
            "no epoch at hand lists it"
        );
        let marked = third(late, vec![first.signed().clone()], &second).unwrap();
        let again = third(early, vec![first.signed().clone()], &marked).unwrap();
        let later = third(late, vec![first.signed().clone()], &again).unwrap();
        assert_eq!(
            later.register().former,
            [(id, early)].into(),
            "never made later"
        );
        let epochs = [&first, &second, &marked, &again];
        let archive = Archive::of(epochs.map(VerifiedRegister::register));
        assert_eq!(archive.compromised().collect::<Vec<_>>(), [id]);
        let (_, standing) = archive.sealing_key(&owner, &id).unwrap();
        assert_eq!(standing, KeyStanding::CompromisedSince(early));
        // It comes back under no register.
        let mut back = later.register().clone();
        back.authorities.clone_from(&first.register().authorities);
        assert!(SignedRegister::unsigned(&back).is_err());
    }

    #[test]
    fn freshness_keys_are_listed_with_their_threshold() {
        let keys = FreshnessKeys {
            threshold: 1,
            keys: vec![key(8, KeyUse::Freshness).public()],
        };
        let next = amended(Amendment {
            freshness: Some(keys.clone()),
            ..Amendment::default()
        })
        .unwrap();
        assert_eq!(next.register().freshness, keys);
    }

    #[test]
    fn nothing_strangers_and_an_unsigned_epoch_are_refused() {
        assert_eq!(amended(Amendment::default()), Err(AmendError::Nothing));
        let nobody: AuthorityId = "nobody".parse().unwrap();
        let remove = amended(Amendment {
            remove: vec![nobody.clone()],
            ..Amendment::default()
        });
        assert_eq!(remove, Err(AmendError::NoMember(nobody)));
        let stranger = key(8, KeyUse::Sealing).id();
        let unknown = amended(Amendment {
            ended: vec![(stranger, KeyEnd::Retired)],
            ..Amendment::default()
        });
        assert_eq!(unknown, Err(AmendError::NoKey(stranger)));
        let unsigned = SignedRegister::unsigned(testbed::register().register()).unwrap();
        let amendment = Amendment {
            remove: vec!["hub".parse().unwrap()],
            ..Amendment::default()
        };
        let refused = amend(&unsigned, amendment, NOW);
        assert!(matches!(refused, Err(AmendError::Unsigned { .. })));
    }
}
