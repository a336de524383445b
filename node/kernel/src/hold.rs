//! Items that wait for a person, and the one final answer that each of them gets.
//!
//! ```text
//! held ──release──▶ judged anew, as approved ──▶ admitted, or refused by what denies besides
//!      ──drop─────▶ refused under PO-04
//!      ──time over▶ refused under PO-05, or EX-18 if the record was to be deleted
//! ```
//!
//! A final answer goes through the store like the items of a frame, and the sender is told that it
//! can ask again. An item that cannot be answered for good now, because policy still holds it or
//! its originator is suspended, goes on waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use portcullis_protocol::{
    frame::Answer,
    identifiers::NodeId,
    record::{Form, RecordId},
    rules::Rule,
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use crate::{Admitted, Kernel, decide::Decider, gate::Gates, intake::Judge};
use portcullis_store::{
    DecisionNote, HELD_LIFE_MS, HeldDecision, HeldItem, HeldKey, IntakeItem, Judgement, StoreError,
    Write, Written, weight, writer::Priority,
};

/// Longest wait between two looks for items whose time is over. It holds even if the next end is
/// later, because the clock may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Most items that end at one look.
const ENDED_TOGETHER: u32 = 1024;

/// Bytes of opened records after which a ruling takes in no more: the rest is for another act.
const RULED_BYTES: usize = 64 << 20;

/// Key of one waiting item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemKey {
    /// Id of the record.
    pub record: RecordId,
    /// Peer that delivered it.
    pub peer: NodeId,
    /// Form in which it was delivered.
    pub form: Form,
}

impl ItemKey {
    /// Returns the key of an item.
    #[must_use]
    pub fn of(item: &HeldItem) -> Self {
        Self {
            record: item.sealed.id(),
            peer: item.peer.clone(),
            form: item.form,
        }
    }
}

/// Decision of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Take the item in, if nothing else forbids it.
    Release,
    /// Refuse the item.
    Drop,
}

/// Answers to items, before they are durable.
#[derive(Debug, Default)]
pub struct Ruling {
    /// Final answers, by peer.
    decisions: BTreeMap<NodeId, Vec<IntakeItem>>,
    admitted: BTreeMap<NodeId, Vec<Admitted>>,
    /// Items that go on waiting, each with the reason.
    pub stays: Vec<(ItemKey, String)>,
    /// Items that are not waiting.
    pub unknown: Vec<ItemKey>,
    /// The rules that were in force when it was made; `None` if it does not depend on that.
    under: Option<Under>,
}

/// Register, policy and closures under which a ruling was made.
struct Under {
    decider: Arc<Decider>,
    gates: Arc<Gates>,
}

impl std::fmt::Debug for Under {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epoch = self.decider.register().epoch;
        f.debug_struct("Under").field("epoch", &epoch).finish()
    }
}

impl Ruling {
    /// Takes out the writes that make the ruling durable, one for each peer.
    pub fn writes(&mut self, now: Timestamp) -> Vec<Write> {
        let decisions = std::mem::take(&mut self.decisions).into_iter();
        decisions
            .map(|(peer, items)| Write::Decide(HeldDecision { peer, now, items }))
            .collect()
    }

    /// Returns the peers that are answered, in the order of the writes.
    #[must_use]
    pub fn peers(&self) -> Vec<NodeId> {
        self.decisions.keys().cloned().collect()
    }

    /// Returns true if what it was made under is still in force.
    #[must_use]
    pub fn stands(&self, kernel: &Kernel) -> bool {
        self.under.as_ref().is_none_or(|under| {
            Arc::ptr_eq(&under.decider, &kernel.decider())
                && Arc::ptr_eq(&under.gates, &kernel.gates())
        })
    }

    /// Returns true if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    fn add(&mut self, key: &ItemKey, judgement: Judgement) {
        if let Judgement::Admit { record, note: _ } = &judgement {
            let admitted = Admitted {
                id: record.id(),
                kind: record.header().kind,
                origin: record.header().origin.clone(),
            };
            self.admitted
                .entry(key.peer.clone())
                .or_default()
                .push(admitted);
        }
        self.decisions
            .entry(key.peer.clone())
            .or_default()
            .push(IntakeItem {
                id: key.record,
                form: key.form,
                judgement,
            });
    }
}

/// Rules on these items as a person has chosen. Nothing is written yet. Only what is released is
/// opened, one item after the other, so that a damaged item can be dropped. What is too much for one
/// ruling goes on waiting.
///
/// # Errors
///
/// [`StoreError`] if the held items cannot be read.
pub fn rule(kernel: &Kernel, choice: Choice, keys: &[ItemKey]) -> Result<Ruling, StoreError> {
    let store = kernel.store();
    let wanted: BTreeSet<&ItemKey> = keys.iter().collect();
    let under = Under {
        decider: kernel.decider(),
        gates: kernel.gates(),
    };
    let mut ruling = Ruling::default();
    let mut opened = 0_usize;
    for key in wanted {
        let Some(held) = store.held_key(&key.record, &key.peer, key.form)? else {
            ruling.unknown.push(key.clone());
            continue;
        };
        if choice == Choice::Drop {
            ruling.add(key, refused(Rule::HeldDropped));
            continue;
        }
        let ruled = if opened >= RULED_BYTES {
            Err("it is too much for one act; release it with another".to_owned())
        } else {
            match store.held_item(&held)? {
                Some(item) => {
                    opened = opened.saturating_add(weight(&item.sealed));
                    released(kernel, &under, &item)
                }
                None => Err("it is damaged in the store; it can be dropped".to_owned()),
            }
        };
        match ruled {
            Ok(judgement) => ruling.add(key, judgement),
            Err(why) => ruling.stays.push((key.clone(), why)),
        }
    }
    ruling.under = (choice == Choice::Release).then_some(under);
    Ok(ruling)
}

impl From<HeldKey> for ItemKey {
    fn from(key: HeldKey) -> Self {
        let HeldKey {
            n: _,
            record,
            peer,
            form,
            at: _,
            ends_at: _,
        } = key;
        Self { record, peer, form }
    }
}

fn refused(rule: Rule) -> Judgement {
    Judgement::Refuse {
        rule,
        note: DecisionNote::default(),
    }
}

/// Returns a final judgement, or the reason for which the item goes on waiting.
fn released(kernel: &Kernel, under: &Under, item: &HeldItem) -> Result<Judgement, String> {
    let Under { decider, gates } = under;
    if decider.register().node(&item.peer).is_none() {
        return Err(format!(
            "`{}`, who delivered it, is no member any more; it can be dropped",
            item.peer
        ));
    }
    let judge = Judge {
        decider,
        first_seen: &|record| kernel.first_seen(record),
        gates,
        own: &kernel.me().authority,
        peer: &item.peer,
        exercises: kernel.exercises(),
        now: kernel.now(),
    };
    match judge.approved(item) {
        judgement @ (Judgement::Admit { .. } | Judgement::Refuse { .. }) => Ok(judgement),
        Judgement::RefuseForNow { rule } => Err(format!("{rule}; {}", rule.remedy())),
        Judgement::Hold { note, .. } => Err(format!(
            "policy {} holds it whoever approves; it can be dropped, or the policy changed",
            note.policies.join(", ")
        )),
    }
}

/// Announces the answers once they are durable: to the desk, and to the peers that wait for them.
pub fn announce(kernel: &Kernel, ruling: &mut Ruling, peers: Vec<(NodeId, Vec<Answer>)>) {
    for (peer, answers) in peers {
        let admitted = ruling.admitted.remove(&peer).unwrap_or_default();
        kernel.received(&peer, &answers, admitted);
        kernel.tell_answers_ready(peer);
    }
}

/// Makes a ruling durable together with other writes, and announces it. Returns the answers by
/// peer.
///
/// # Errors
///
/// [`StoreError`] if the commit fails; nothing is written then.
pub async fn carry_out(
    kernel: &Kernel,
    mut ruling: Ruling,
    beside: Vec<Write>,
) -> Result<Vec<(NodeId, Vec<Answer>)>, StoreError> {
    let peers = ruling.peers();
    let mut writes = beside;
    writes.extend(ruling.writes(kernel.now()));
    let written = kernel.commit(Priority::Urgent, writes).await?;
    let answered = answered(&peers, &written);
    announce(kernel, &mut ruling, answered.clone());
    Ok(answered)
}

/// Returns the answers by peer, from the results of a job that makes a ruling durable. Other writes
/// of the job answer nobody.
#[must_use]
pub fn answered(peers: &[NodeId], written: &[Written]) -> Vec<(NodeId, Vec<Answer>)> {
    let answers = written.iter().filter_map(|written| match written {
        Written::Answers(answers) => Some(answers.clone()),
        Written::Done | Written::Destroyed(_) | Written::Refused(_) | Written::OutOfSequence(_) => {
            None
        }
    });
    peers.iter().cloned().zip(answers).collect()
}

/// Gives items their final answer once their time is over, until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    loop {
        let wait = match end(&kernel).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "what is held cannot be looked through");
                LONGEST_WAIT
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Ends the items whose time is over. Returns the time until the next look.
async fn end(kernel: &Arc<Kernel>) -> Result<Duration, StoreError> {
    let reading = Arc::clone(kernel);
    let (ruling, next) = portcullis_store::apart::spawn(move || {
        let (store, now) = (reading.store(), reading.now());
        let next = store.next_held_end()?;
        let ruling = match next {
            Some(next) if next <= now => over(store.held_over(now, ENDED_TOGETHER)?, now),
            Some(_) | None => Ruling::default(),
        };
        Ok::<_, StoreError>((ruling, next))
    })
    .await
    .map_err(|_| StoreError::Stopped)??;
    if !ruling.is_empty() {
        carry_out(kernel, ruling, Vec::new()).await?;
        return Ok(Duration::ZERO);
    }
    let wait = next.map_or(i64::MAX, |next| next.millis_since(kernel.now()).max(1));
    let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX));
    Ok(wait.min(LONGEST_WAIT))
}

fn over(held: Vec<HeldKey>, now: Timestamp) -> Ruling {
    let mut ruling = Ruling::default();
    for item in held.into_iter().filter(|item| item.ends_at <= now) {
        let lived = item.at.plus_millis(HELD_LIFE_MS) <= now;
        let rule = if lived {
            Rule::HeldEnded
        } else {
            Rule::Expired
        };
        ruling.add(&item.into(), refused(rule));
    }
    ruling
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed as testbed;
    use portcullis_testbed::NOW;

    fn held(at: Timestamp, ends_at: Timestamp) -> HeldItem {
        let sealed = testbed::seal(1, vec![testbed::indicator()], 1).remove(0);
        HeldItem {
            peer: "rotterdam-1".parse().unwrap(),
            form: sealed.claimed_form(),
            rule: Rule::PolicyHeld.id().to_owned(),
            at,
            ends_at,
            sealed,
        }
    }

    #[track_caller]
    fn ends_under(item: &HeldItem, now: Timestamp, expected: Option<Rule>) {
        let key = HeldKey {
            n: 1,
            record: item.sealed.id(),
            peer: item.peer.clone(),
            form: item.form,
            at: item.at,
            ends_at: item.ends_at,
        };
        let ruling = over(vec![key], now);
        let found = ruling.decisions.values().flatten().next();
        let rule = found.map(|item| match &item.judgement {
            Judgement::Refuse { rule, .. } => *rule,
            other @ (Judgement::Admit { .. }
            | Judgement::RefuseForNow { .. }
            | Judgement::Hold { .. }) => panic!("{other:?}"),
        });
        assert_eq!(rule, expected);
    }

    #[test]
    fn po_05_what_nobody_decides_on_gets_a_final_answer() {
        let six_days = 6 * 24 * 3_600_000;
        let item = held(NOW, NOW.plus_millis(six_days));
        ends_under(&item, NOW.plus_millis(six_days - 1), None);
        ends_under(&item, NOW.plus_millis(six_days), Some(Rule::HeldEnded));
    }

    #[test]
    fn what_was_to_be_deleted_meanwhile_ends_as_expired() {
        let item = held(NOW, NOW.plus_millis(1_000));
        ends_under(&item, NOW.plus_millis(999), None);
        ends_under(&item, NOW.plus_millis(1_000), Some(Rule::Expired));
    }
}
