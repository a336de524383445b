//! Archive of all sealing keys that ever counted. A record admitted under a key stays verifiable
//! after the key's owner has left, or is listed without it.
//!
//! A key whose owner has left can be named as compromised by its id alone (`Register::former`).
//!
//! An archive admits nothing new: a record that arrives needs a key of the register in force.

use std::collections::BTreeMap;

use super::{Register, RegisteredKey};
use crate::{
    identifiers::AuthorityId,
    keys::{KeyId, KeyUse, PublicKey},
    time::Timestamp,
    verify::{KeyStanding, SealingKeys},
};

/// Every sealing key of every epoch, in the state in which it was listed last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive(BTreeMap<(AuthorityId, KeyId), RegisteredKey>);

impl Archive {
    /// Collects the keys of these epochs, which must be in ascending order.
    #[must_use]
    pub fn of<'a>(epochs: impl IntoIterator<Item = &'a Register>) -> Self {
        let mut archive = Self::default();
        for register in epochs {
            archive.add(register);
        }
        archive
    }

    /// Returns the ids of the keys that somebody else may have used.
    pub fn compromised(&self) -> impl Iterator<Item = KeyId> {
        let ended = |key: &&RegisteredKey| key.compromised_since.is_some();
        self.0.values().filter(ended).map(|key| key.public.id())
    }

    /// Adds the keys of a newer epoch.
    pub fn add(&mut self, register: &Register) {
        for (authority, node) in register.nodes() {
            let sealing = |key: &&RegisteredKey| key.public.usage() == KeyUse::Sealing;
            for key in node.keys.iter().filter(sealing) {
                let name = (authority.id.clone(), key.public.id());
                let before = self.0.get(&name).and_then(|known| known.compromised_since);
                let mut listed = key.clone();
                // A compromise once stated is not withdrawn by listing the key again.
                listed.compromised_since = earlier(before, listed.compromised_since);
                self.0.insert(name, listed);
            }
        }
        for ((_, id), key) in &mut self.0 {
            if let Some(since) = register.former.get(id) {
                key.compromised_since = earlier(key.compromised_since, Some(*since));
            }
        }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

impl SealingKeys for Archive {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        let found = self.0.get(&(origin.clone(), *key))?;
        Some((&found.public, found.standing()))
    }
}
