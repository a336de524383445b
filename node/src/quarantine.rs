//! What is set apart: records that were first seen since their key is compromised (EX-21).
//!
//! Nothing marks them in the store. Whoever reads a record verifies it again, so that from the
//! moment the register says so they are not shown, not passed on and not scored; this lists them.

use std::collections::BTreeSet;

use portcullis_protocol::{keys::KeyId, rules::Rule};

use crate::{
    core::Core,
    store::{HeldRecord, StoreError},
};

/// A record that is set apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SetApart {
    /// The record as it is held.
    pub held: HeldRecord,
    /// The rule that sets it apart.
    pub rule: Rule,
    /// Which key, whose, and since when.
    pub why: String,
}

/// Lists what is set apart, by record id, at most `limit`. Without a compromised key in any epoch
/// nothing is read.
///
/// # Errors
///
/// [`StoreError`].
pub fn list(core: &Core, limit: usize) -> Result<Vec<SetApart>, StoreError> {
    let (decider, now) = (core.decider(), core.now());
    let keys: BTreeSet<KeyId> = decider.archive().compromised().collect();
    let mut apart = Vec::new();
    if keys.is_empty() {
        return Ok(apart);
    }
    for id in core.store().ids_with_prefix("", u32::MAX)? {
        if apart.len() >= limit {
            break;
        }
        // Known by its id alone: refused, held or erased.
        let Some(held) = core.store().record(&id)? else {
            continue;
        };
        if !keys.contains(&held.sealed.statement().key_id()) {
            continue;
        }
        match decider.verify_held(&held, now) {
            Err(refusal) if refusal.rule == Rule::KeyCompromised => apart.push(SetApart {
                held,
                rule: refusal.rule,
                why: refusal.detail,
            }),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(apart)
}
