//! Quarantine: records that were first seen after their key was compromised (EX-21), and items that
//! failed verification on arrival.
//!
//! Nothing marks such a record in the store. Every reader verifies a record again, so from the
//! moment that the register names the compromise, the record is not shown, not passed on and not
//! scored. This module lists such records. A bad item is not a record: it is refused, and kept as
//! it came, within a bound, for inspection.

use std::collections::BTreeSet;

use portcullis_protocol::{
    frame::ReceivedFrame, identifiers::NodeId, keys::KeyId, record::RecordId, rules::Rule,
    seal::SealedRecord, time::Timestamp,
};

use crate::{Kernel, decide::Decider};
use portcullis_store::{BadItem, HeldRecord, Intake, Judgement, StoreError};

/// Bad items kept of one frame, enough to see its fault.
const MOST_OF_FRAME: usize = 64;

/// Ids read at a time.
const PAGE: u32 = 4_096;

/// A record that is set apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SetApart {
    /// The record as it is held.
    pub held: HeldRecord,
    /// The rule that sets it apart.
    pub rule: Rule,
    /// The key, its owner, and the time since which it is compromised.
    pub why: String,
}

/// Lists the records that are set apart, by record id, at most `limit`. If no key is compromised in
/// any epoch, nothing is read.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub fn list(kernel: &Kernel, limit: usize) -> Result<Vec<SetApart>, StoreError> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let keys: BTreeSet<KeyId> = decider.archive().compromised().collect();
    let mut apart = Vec::new();
    if keys.is_empty() {
        return Ok(apart);
    }
    let mut after = None;
    loop {
        let page = kernel.store().ids_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(apart);
        };
        after = Some(*last);
        for id in &page {
            if apart.len() >= limit {
                return Ok(apart);
            }
            apart.extend(set_apart(kernel, (&decider, &keys, now), id)?);
        }
    }
}

/// Returns a record if a compromised key sets it apart.
fn set_apart(
    kernel: &Kernel,
    (decider, keys, now): (&Decider, &BTreeSet<KeyId>, Timestamp),
    id: &RecordId,
) -> Result<Option<SetApart>, StoreError> {
    let held = match kernel.store().record(id) {
        // The store tells of a damaged record, which keeps back no other one.
        Err(StoreError::Damaged(_)) => return Ok(None),
        other => other?,
    };
    // Without a record, its id alone is known: it was refused, held or erased.
    let Some(held) = held.filter(|held| keys.contains(&held.sealed.statement().key_id())) else {
        return Ok(None);
    };
    Ok(match decider.verify_held(&held, now) {
        Err(refusal) if refusal.rule == Rule::KeyCompromised => Some(SetApart {
            held,
            rule: refusal.rule,
            why: refusal.detail,
        }),
        Ok(_) | Err(_) => None,
    })
}

/// Returns the first items of a frame that failed verification.
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

/// Returns true if a record that breaks this rule was changed on the way, or forged.
fn is_bad(rule: Rule) -> bool {
    rule.id().starts_with("RE-") || [Rule::BatchSignature, Rule::KeyCompromised].contains(&rule)
}

/// Returns the detail that verification gives for a broken rule.
fn how(decider: &Decider, sealed: &SealedRecord, rule: Rule, now: Timestamp) -> String {
    match decider.verify_arriving(sealed, now) {
        Err(refusal) if refusal.rule == rule => refusal.detail,
        Ok(_) | Err(_) => String::new(),
    }
}
