//! Attacks of a member with the comparison of channels: with its questions to the target and with
//! its answers to the target's questions.
//!
//! An answer speaks for the peer's own side alone. After each attack the target holds what it held
//! before, and has given back nothing but the asker's own records.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use portcullis_kernel::{
    Kernel,
    calls::Call,
    gate::state::{Switch, Whom},
};
use portcullis_peering::rpc::exchange_client::ExchangeClient;
use portcullis_protocol::{
    frame::Generation,
    reconcile::{
        Answer, Ask, Buckets, Entry, MAX_RANGES, MAX_WANTED, Page, Question, Summary, bucket_of,
    },
    record::{Form, Kind, RecordId},
    wire,
};
use portcullis_store::{DisclosureState, NodeEvent, ReconciliationRow};
use prost::bytes::Bytes;
use tonic::{Code, Status, transport::Channel};

use super::{
    Behaviour,
    caller::{channel, shake, tls},
    forge::{Loose, Who},
    receipts::{Receiver, Reconciled},
    stage::{Mallory, Theatre, draft},
};
use crate::{
    behaviours,
    federation::{FEDERATION, eventually},
};

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_150_a_question_that_asks_nothing_or_two_things,
    hp_151_a_question_with_more_than_questions_hold,
    hp_152_a_question_in_another_federation,
    hp_153_asks_at_once_without_end,
    hp_154_asks_back_what_it_did_not_make,
    hp_155_asks_back_while_release_to_it_is_stopped,
    hp_156_asks_while_it_is_cut_off,
    hp_157_claims_to_have_withdrawn_what_others_made,
    hp_158_answers_another_question,
    hp_159_an_answer_larger_than_answers_are,
    hp_160_claims_to_have_received_what_was_never_sent,
    hp_161_gives_back_what_was_not_asked_for,
];

const GENERATION: Generation = Generation::from_bytes([3; 16]);

fn question(question: Question) -> wire::ReconcileAsk {
    let ask = Ask {
        generation: GENERATION,
        question,
    };
    ask.to_wire(&FEDERATION.parse().unwrap())
}

fn everything() -> wire::ReconcileAsk {
    question(Question::Digests(vec![Buckets::ALL]))
}

type Client = ExchangeClient<Channel>;

async fn client(stage: &Theatre, peer: &Mallory) -> Client {
    ExchangeClient::new(channel(stage.connection(peer).await).await)
        .max_decoding_message_size(9 << 20)
}

async fn asked(client: &mut Client, ask: wire::ReconcileAsk) -> Result<Answer, Status> {
    let answer = client.reconcile(ask).await?.into_inner();
    Ok(Answer::read(answer).unwrap())
}

/// Sends a question of mallory's, which the target must refuse with this status code and, unless
/// `rule` is empty, this rule.
async fn refused(stage: &Theatre, ask: wire::ReconcileAsk, code: Code, rule: &str) {
    let mut client = client(stage, &stage.mallory).await;
    let status = asked(&mut client, ask).await.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(rule), "{status}");
}

async fn hp_150_a_question_that_asks_nothing_or_two_things(stage: &mut Theatre) {
    // From here on mallory answers when the target compares.
    receiver(stage).await;
    let nothing = wire::ReconcileAsk {
        ranges: Vec::new(),
        ..everything()
    };
    let two = wire::ReconcileAsk {
        wanted: Bytes::from_static(&[7; 32]),
        ..everything()
    };
    let reversed = wire::ReconcileAsk {
        ranges: vec![wire::Buckets { first: 5, last: 4 }],
        ..everything()
    };
    let beyond = wire::ReconcileAsk {
        ranges: vec![wire::Buckets {
            first: 0,
            last: 4096,
        }],
        ..everything()
    };
    let half_an_id = wire::ReconcileAsk {
        ranges: Vec::new(),
        wanted: Bytes::from_static(&[7; 31]),
        ..everything()
    };
    let no_generation = wire::ReconcileAsk {
        generation: Bytes::from_static(&[1; 15]),
        ..everything()
    };
    for ask in [nothing, two, reversed, beyond, half_an_id, no_generation] {
        refused(stage, ask, Code::InvalidArgument, "RC-01").await;
    }
}

/// Ranges are counted before anything is decoded, and the size of a question is limited.
async fn hp_151_a_question_with_more_than_questions_hold(stage: &mut Theatre) {
    let ranges = question(Question::Digests(vec![Buckets::ALL; MAX_RANGES + 1]));
    let large = wire::ReconcileAsk {
        withdrawn: Bytes::from(vec![7; 65 << 10]),
        ranges: Vec::new(),
        ..everything()
    };
    for ask in [ranges, large] {
        refused(stage, ask, Code::OutOfRange, "EX-12").await;
    }
    let ids = vec![RecordId::from_slice(&[7; 32]).unwrap(); MAX_WANTED + 1];
    let wanted = question(Question::Wanted(ids));
    refused(stage, wanted, Code::InvalidArgument, "RC-01").await;
}

async fn hp_152_a_question_in_another_federation(stage: &mut Theatre) {
    let ask = wire::ReconcileAsk {
        federation: "elsewhere".to_owned(),
        ..everything()
    };
    refused(stage, ask, Code::InvalidArgument, "RC-02").await;
}

/// The hub asks until it is told to ask later; mallory is still answered.
async fn hp_153_asks_at_once_without_end(stage: &mut Theatre) {
    let mut greedy = client(stage, &stage.hub).await;
    let mut answered = 0;
    let status = loop {
        match asked(&mut greedy, everything()).await {
            Ok(_) => answered += 1,
            Err(status) => break status,
        }
        assert!(answered <= 120, "{answered} questions were answered");
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let mut modest = client(stage, &stage.mallory).await;
    asked(&mut modest, everything()).await.unwrap();
}

/// States that the target's ledger holds for a record and mallory, each with its policies.
fn told(stage: &Theatre, id: &RecordId) -> Vec<(DisclosureState, Vec<String>)> {
    let store = stage.target.kernel.store();
    let rows = store.disclosure_history(id, &"mallory".parse().unwrap());
    let rows = rows.unwrap().into_iter();
    rows.map(|row| (row.state, row.note.policies)).collect()
}

fn given_back() -> Vec<(DisclosureState, Vec<String>)> {
    vec![(DisclosureState::Intended, vec!["given-back".to_owned()])]
}

/// Delivers a record of mallory's, which the target then holds.
async fn lent(stage: &mut Theatre) -> RecordId {
    let item = stage.seal_one(&stage.mallory, draft(Kind::Indicator));
    assert_eq!(stage.deliver(Who::Mallory, &item).await, "accepted");
    stage.allowed.insert(item.id());
    item.id()
}

async fn hp_154_asks_back_what_it_did_not_make(stage: &mut Theatre) {
    let own = lent(stage).await;
    let others = stage.honest_record(draft(Kind::Indicator)).await.id();
    let unknown = RecordId::from_slice(&[9; 32]).unwrap();
    let mut client = client(stage, &stage.mallory).await;
    let wanted = question(Question::Wanted(vec![others, own, unknown]));
    let given = asked(&mut client, wanted).await.unwrap().records;
    let given: Vec<_> = given.iter().map(|record| record.id()).collect();
    assert_eq!(given, [own]);
    assert_eq!(told(stage, &own), given_back());
    let of_others = told(stage, &others).into_iter();
    assert!(of_others.clone().all(|row| row.1 != ["given-back"]));
}

async fn hp_155_asks_back_while_release_to_it_is_stopped(stage: &mut Theatre) {
    let own = lent(stage).await;
    let mut client = client(stage, &stage.mallory).await;
    let wanted = || question(Question::Wanted(vec![own]));
    for whom in [Whom::Peer("mallory".parse().unwrap()), Whom::Everyone] {
        stop(stage, &whom, Switch::Close).await;
        let status = asked(&mut client, wanted()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert_eq!(told(stage, &own), []);
        // Digests disclose only what mallory delivered itself.
        asked(&mut client, everything()).await.unwrap();
        stop(stage, &whom, Switch::Open).await;
    }
    let given = asked(&mut client, wanted()).await.unwrap();
    assert_eq!(given.records.len(), 1);
    assert_eq!(told(stage, &own), given_back());
}

async fn stop(stage: &Theatre, whom: &Whom, switch: Switch) {
    let (kernel, now) = (&stage.target.kernel, stage.now());
    let moved = kernel.change_gates(|state| state.with_stop(whom, switch, now), Vec::new());
    moved.await.unwrap();
}

async fn block(stage: &Theatre, switch: Switch) {
    let (kernel, now) = (&stage.target.kernel, stage.now());
    let mallory = "mallory".parse().unwrap();
    let moved = kernel.change_gates(|state| state.with_block(&mallory, switch, now), Vec::new());
    moved.await.unwrap();
}

async fn hp_156_asks_while_it_is_cut_off(stage: &mut Theatre) {
    let mut open = client(stage, &stage.mallory).await;
    asked(&mut open, everything()).await.unwrap();
    block(stage, Switch::Close).await;
    asked(&mut open, everything()).await.unwrap_err();
    // A new connection fails before a question can be asked.
    let config = tls(Some(Arc::new(stage.mallory.identity())), &[b"h2"]);
    if let Ok(connection) = shake(config, stage.target_address()).await {
        let mut client = ExchangeClient::new(channel(connection).await);
        asked(&mut client, everything()).await.unwrap_err();
    }
    block(stage, Switch::Open).await;
    let mut again = client(stage, &stage.mallory).await;
    asked(&mut again, everything()).await.unwrap();
}

/// The target no longer sends the record to mallory; nothing else changes.
async fn hp_157_claims_to_have_withdrawn_what_others_made(stage: &mut Theatre) {
    let record = stage.honest_record(draft(Kind::Indicator)).await.id();
    let mut client = client(stage, &stage.mallory).await;
    let withdrawn = question(Question::Withdrawn(vec![record]));
    let answer = asked(&mut client, withdrawn).await.unwrap();
    assert!(answer.records.is_empty() && answer.entries.is_empty());
    assert_eq!(stage.times_held(&record), 1);
    let id = record.to_string();
    let held = stage.target.kernel.store().ids_with_prefix(&id, 2).unwrap();
    assert_eq!(held, [record]);
}

// ---- answers to the target's questions ----

fn empty() -> Answer {
    Answer::empty(GENERATION)
}

/// Answers like a peer to which nothing was ever sent.
fn level(ask: &wire::ReconcileAsk) -> Reconciled {
    let nothing: Summary = [].iter().collect();
    let ask = Ask::read(ask.clone(), &FEDERATION.parse().unwrap()).unwrap();
    let ranges = match ask.question {
        Question::Digests(ranges) => ranges.iter().map(|range| nothing.of(*range)).collect(),
        Question::Page(_) | Question::Withdrawn(_) | Question::Wanted(_) => Vec::new(),
    };
    let answer = Answer { ranges, ..empty() };
    Ok(answer.to_wire())
}

/// Answers that one more record was delivered to it, the one with this id.
fn claiming(claimed: RecordId) -> impl FnMut(&wire::ReconcileAsk) -> Reconciled + Send + 'static {
    let entry = Entry {
        id: claimed,
        form: Form::from_bits(0b11),
    };
    let summary: Summary = [entry].iter().collect();
    move |ask| {
        let ask = Ask::read(ask.clone(), &FEDERATION.parse().unwrap()).unwrap();
        let answer = match ask.question {
            Question::Digests(ranges) => Answer {
                ranges: ranges.iter().map(|range| summary.of(*range)).collect(),
                ..empty()
            },
            Question::Page(Page { of, after: _ }) => Answer {
                entries: [entry]
                    .into_iter()
                    .filter(|one| of.contains(&one.id))
                    .collect(),
                ..empty()
            },
            Question::Withdrawn(_) | Question::Wanted(_) => empty(),
        };
        Ok(answer.to_wire())
    }
}

/// Returns an id that no record has, a different one each time.
fn invented() -> RecordId {
    /// Number of the next invented id.
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    RecordId::from_slice(&[number; 32]).unwrap()
}

async fn receiver(stage: &mut Theatre) {
    let receiver = match stage.receiver.take() {
        Some(receiver) => receiver,
        None => Receiver::start(stage).await,
    };
    receiver.reconcile_with(level);
    stage.receiver = Some(receiver);
}

fn compared(kernel: &Kernel) -> Option<ReconciliationRow> {
    let rows = kernel.store().reconciliations().unwrap().into_iter();
    rows.into_iter().find(|row| row.peer.as_str() == "mallory")
}

fn events(kernel: &Kernel, kind: &str) -> Vec<NodeEvent> {
    let events = kernel.store().events(u32::MAX).unwrap().into_iter();
    events
        .filter(|one| {
            one.kind == kind
                && one
                    .peer
                    .as_ref()
                    .is_some_and(|peer| peer.as_str() == "mallory")
        })
        .collect()
}

/// Has the target ask mallory, which answers with `says`, until `holds`. Then mallory answers
/// correctly again and the comparison of the channel completes.
async fn answering(
    stage: &mut Theatre,
    says: impl FnMut(&wire::ReconcileAsk) -> Reconciled + Send + 'static,
    mut holds: impl FnMut(&Kernel, &Receiver) -> bool,
) {
    receiver(stage).await;
    let receiver = stage.receiver.take().unwrap();
    let kernel = Arc::clone(&stage.target.kernel);
    eventually(&kernel, || compared(&kernel).is_some()).await;
    receiver.reconcile_with(says);
    kernel.call_to_compare(Call::With("mallory".parse().unwrap()));
    eventually(&kernel, || holds(&kernel, &receiver)).await;
    let before = compared(&kernel).unwrap().at;
    receiver.reconcile_with(level);
    kernel.call_to_compare(Call::With("mallory".parse().unwrap()));
    eventually(&kernel, || compared(&kernel).unwrap().at > before).await;
    stage.receiver = Some(receiver);
}

/// An answer that does not match the question is dropped, and the comparison is abandoned.
async fn hp_158_answers_another_question(stage: &mut Theatre) {
    let fewer = |_: &wire::ReconcileAsk| Ok(empty().to_wire());
    answering(stage, fewer, |_, receiver| receiver.reconciled() > 0).await;
    let elsewhere = invented();
    let other_page = move |ask: &wire::ReconcileAsk| {
        if ask.page.is_none() {
            return claiming(elsewhere)(ask);
        }
        let bucket = bucket_of(&elsewhere);
        let mut bytes = *elsewhere.as_bytes();
        bytes[0] ^= 0x80;
        let id = RecordId::from_slice(&bytes).unwrap();
        assert_ne!(bucket_of(&id), bucket);
        let form = Form::from_bits(1);
        let answer = Answer {
            entries: vec![Entry { id, form }],
            ..empty()
        };
        Ok(answer.to_wire())
    };
    let paged = |_: &Kernel, receiver: &Receiver| receiver.reconciled() > 2;
    answering(stage, other_page, paged).await;
    assert_eq!(told(stage, &elsewhere), []);
}

/// Ranges are counted, and the size is checked, before anything is decoded.
async fn hp_159_an_answer_larger_than_answers_are(stage: &mut Theatre) {
    let many = |ask: &wire::ReconcileAsk| {
        let mut answer = level(ask)?;
        let range = answer.ranges[0].clone();
        answer.ranges = vec![range; MAX_RANGES + 1];
        Ok(answer)
    };
    answering(stage, many, |_, receiver| receiver.reconciled() > 0).await;
    let large = |_: &wire::ReconcileAsk| {
        let mut answer = empty().to_wire();
        answer.ids = Bytes::from(vec![7; 10 << 20]);
        Ok(answer)
    };
    answering(stage, large, |_, receiver| receiver.reconciled() > 0).await;
}

/// The ledger notes the disclosure as reported by the peer (`reconciled`). Nothing is sent and
/// nothing is given back.
async fn hp_160_claims_to_have_received_what_was_never_sent(stage: &mut Theatre) {
    let claimed = invented();
    let learned =
        |store: &dyn portcullis_store::Store| store.learned(&"mallory".parse().unwrap()).unwrap();
    let before = learned(stage.target.kernel.store().as_ref());
    answering(stage, claiming(claimed), move |kernel, _| {
        learned(kernel.store().as_ref()) > before
    })
    .await;
    let rows = told(stage, &claimed);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].1, ["reconciled"]);
    assert_eq!(stage.times_held(&claimed), 0);
}

async fn hp_161_gives_back_what_was_not_asked_for(stage: &mut Theatre) {
    let claimed = invented();
    let foreign = stage.seal(&stage.mallory, vec![draft(Kind::Indicator)]);
    let item = Loose::of(&foreign[0]);
    let sealed = foreign[0].sealed().clone();
    let mut claims = claiming(claimed);
    let says = move |ask: &wire::ReconcileAsk| {
        if ask.wanted.is_empty() {
            return claims(ask);
        }
        let answer = Answer {
            records: vec![sealed.clone()],
            ..empty()
        };
        Ok(answer.to_wire())
    };
    let refused = |kernel: &Kernel, _: &Receiver| {
        let events = events(kernel, "recovery-refused");
        events.iter().any(|event| event.detail.contains("RC-03"))
    };
    answering(stage, says, refused).await;
    assert_eq!(stage.times_held(&item.id()), 0);
    assert_eq!(stage.times_held(&claimed), 0);
}
