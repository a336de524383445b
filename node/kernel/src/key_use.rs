//! Keys with which this node signs, and those that wait for the register. A switch from one to
//! another is told.

use portcullis_home::keyring::Keyring;
use portcullis_protocol::{
    keys::{KeyId, KeyUse},
    register::Node,
    time::Timestamp,
};
use portcullis_store::NodeEvent;

use super::Kernel;

/// Uses of a node's signing keys.
const USES: [KeyUse; 3] = [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log];

/// Keys of one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInUse {
    /// The use.
    pub usage: KeyUse,
    /// Key in use.
    pub signs: KeyId,
    /// Newer key, which the register does not list yet.
    pub waits: Option<KeyId>,
}

/// Returns the keys in use, and those that wait for the register, of a node that it lists so.
#[must_use]
pub fn keys_in_use(keyring: &Keyring, listed: Option<&Node>, now: Timestamp) -> Vec<KeyInUse> {
    let known = |id: &KeyId| {
        let mut keys = listed.into_iter().flat_map(|node| &node.keys);
        keys.any(|key| key.public.id() == *id)
    };
    let newest: Vec<_> = keyring.public_keys();
    let of_use = |usage: KeyUse, signs: KeyId| {
        let newest = newest.iter().find(|key| key.usage() == usage);
        let waits = newest.map(|key| key.id());
        KeyInUse {
            usage,
            signs,
            waits: waits.filter(|id| listed.is_some() && *id != signs && !known(id)),
        }
    };
    let signing = USES.map(|usage| of_use(usage, keyring.signing(usage, listed, now).id()));
    let in_use = |node: &Node| {
        let mut keys = node.keys.iter().filter(|key| key.signs_at(now));
        keys.rfind(|key| key.public.usage() == KeyUse::Agreement)
            .map(|key| key.public.id())
    };
    let agreement = listed.and_then(in_use);
    let agreement = agreement.map(|signs| of_use(KeyUse::Agreement, signs));
    signing.into_iter().chain(agreement).collect()
}

/// Returns the uses of which another key is in use than before, with both.
#[must_use]
pub fn switches(before: &[KeyInUse], after: &[KeyInUse]) -> Vec<(KeyUse, KeyId, KeyId)> {
    let switch = |now: &KeyInUse| {
        let then = before.iter().find(|one| one.usage == now.usage)?;
        (then.signs != now.signs).then_some((now.usage, then.signs, now.signs))
    };
    after.iter().filter_map(switch).collect()
}

impl Kernel {
    /// Returns the keys in use, and those that wait for the register.
    #[must_use]
    pub fn keys_in_use(&self) -> Vec<KeyInUse> {
        let decider = self.decider();
        let listed = decider.register().node(&self.me().node);
        keys_in_use(&self.keyring(), listed.map(|(_, node)| node), self.now())
    }

    /// Tells of keys that are in use instead of those before, in the log and as an event. Returns
    /// the keys in use.
    pub async fn tell_key_switches(&self, before: Vec<KeyInUse>) -> Vec<KeyInUse> {
        let after = self.keys_in_use();
        for (usage, old, new) in switches(&before, &after) {
            tracing::info!(%usage, %old, %new, "this node goes on with another key");
            self.note(NodeEvent {
                at: self.now(),
                kind: "key-switched".to_owned(),
                peer: None,
                detail: format!("the {usage} key is `{new}` instead of `{old}`"),
            })
            .await;
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::key;

    /// Newcomer B16: the switch to a new key was told nowhere.
    #[test]
    fn a_switch_is_told_once_and_only_for_its_use() {
        let one = |usage, seed| KeyInUse {
            usage,
            signs: key(seed, usage).id(),
            waits: None,
        };
        let before = [one(KeyUse::Sealing, 1), one(KeyUse::Hop, 1)];
        let after = [one(KeyUse::Sealing, 1), one(KeyUse::Hop, 2)];
        let told = switches(&before, &after);
        assert_eq!(told, [(KeyUse::Hop, before[1].signs, after[1].signs)]);
        assert_eq!(switches(&after, &after), []);
        assert_eq!(switches(&[], &after), []);
    }
}
