//! What is set apart: records that were first seen since their key is compromised (EX-21), and
//! items that failed verification when they came.
//!
//! Nothing marks such a record in the store. Whoever reads a record verifies it again, so that from
//! the moment the register says so it is not shown, not passed on and not scored; this lists them.
//! A bad item is no record: it is refused, and kept as it came, bounded, for whoever looks into it.

use std::collections::BTreeSet;

use portcullis_protocol::{
    frame::ReceivedFrame, identifiers::NodeId, keys::KeyId, rules::Rule, seal::SealedRecord,
    time::Timestamp,
};

use crate::{Kernel, decide::Decider};
use portcullis_store::{BadItem, HeldRecord, Intake, Judgement, StoreError};

/// Items of one frame that are kept: enough to see what is wrong with it.
const MOST_OF_FRAME: usize = 64;

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
pub fn list(kernel: &Kernel, limit: usize) -> Result<Vec<SetApart>, StoreError> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let keys: BTreeSet<KeyId> = decider.archive().compromised().collect();
    let mut apart = Vec::new();
    if keys.is_empty() {
        return Ok(apart);
    }
    for id in kernel.store().ids_with_prefix("", u32::MAX)? {
        if apart.len() >= limit {
            break;
        }
        // Known by its id alone: refused, held or erased.
        let Some(held) = kernel.store().record(&id)? else {
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

/// The items of a frame that failed verification, the first of them.
#[must_use]
pub fn bad_items(
    decider: &Decider,
    peer: &NodeId,
    frame: &ReceivedFrame,
    intake: &Intake,
) -> Vec<BadItem> {
    let judged = intake.items.iter().zip(&frame.records);
    let bad = judged.filter_map(|(item, sealed)| match item.judgement {
        Judgement::Refuse { rule, .. } if is_bad(rule) => Some((rule, sealed)),
        Judgement::Refuse { .. }
        | Judgement::Admit { .. }
        | Judgement::RefuseForNow { .. }
        | Judgement::Hold { .. } => None,
    });
    bad.take(MOST_OF_FRAME)
        .map(|(rule, sealed)| BadItem {
            peer: peer.clone(),
            sealed: sealed.clone(),
            rule,
            detail: how(decider, sealed, rule, intake.now),
            at: intake.now,
        })
        .collect()
}

/// Whether what breaks this rule was changed on the way, or forged.
fn is_bad(rule: Rule) -> bool {
    rule.id().starts_with("RE-") || [Rule::BatchSignature, Rule::KeyCompromised].contains(&rule)
}

/// How the rule is broken, as verification says.
fn how(decider: &Decider, sealed: &SealedRecord, rule: Rule, now: Timestamp) -> String {
    match decider.verify_arriving(sealed, now) {
        Err(refusal) if refusal.rule == rule => refusal.detail,
        Ok(_) | Err(_) => String::new(),
    }
}
