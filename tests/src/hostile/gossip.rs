//! Attacks of a member with gossip about trust: it asks the target, and the target asks it.
//!
//! The target asks whoever claims to know more; the answers are the attack. After each answer the
//! target has the same register, freshness and suspensions as before, and still serves its honest
//! peer.

use portcullis_peering::rpc::exchange_client::ExchangeClient;
use portcullis_protocol::{
    digest::Digest,
    freshness::{Freshness, MAX_VALIDITY_MS, SignedFreshness},
    gossip::MAX_EPOCHS,
    keys::{KeyUse, SigningKey},
    register::{Register, SignedRegister},
    suspension::{Suspension, encode},
    wire,
};
use portcullis_store::NodeEvent;
use prost::bytes::Bytes;

use super::{
    Behaviour,
    caller::channel,
    receipts::Receiver,
    stage::{Theatre, online_key},
};
use crate::{
    behaviours,
    federation::{FEDERATION, eventually, governance_key},
};

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_140_an_epoch_that_a_stranger_signed,
    hp_141_an_epoch_that_is_skipped_or_old,
    hp_142_a_fork_of_the_epoch_in_force,
    hp_143_a_freshness_statement_that_does_not_hold,
    hp_144_an_older_freshness_statement,
    hp_145_a_forged_suspension_of_an_honest_member,
    hp_146_more_epochs_than_an_answer_holds,
    hp_147_a_member_that_always_claims_to_know_more,
];

/// The target's epoch, register digest, time of the freshness statement in milliseconds since 1970,
/// and digest of the suspensions. No answer may change them.
fn trust(stage: &Theatre) -> (u64, Digest, Option<i64>, Digest) {
    let standing = stage.target.kernel.standing();
    let freshness = standing.freshness_issued.map(|time| time.as_millis());
    (
        standing.epoch,
        standing.register,
        freshness,
        standing.suspensions,
    )
}

/// Answers like a peer that knows exactly what the asker knows.
fn level(ask: &wire::TrustAsk) -> wire::TrustAnswer {
    wire::TrustAnswer {
        epoch: ask.epoch,
        register: ask.register.clone(),
        ..wire::TrustAnswer::default()
    }
}

/// Claims to the target, over a new connection, that mallory knows more.
async fn claim(stage: &Theatre) {
    let own = stage.target.kernel.standing().to_wire();
    let ask = wire::TrustAsk {
        epoch: own.epoch + 5,
        register: vec![7; 32].into(),
        ..own
    };
    let line = channel(stage.connection(&stage.mallory).await).await;
    ExchangeClient::new(line).compare(ask).await.unwrap();
}

/// Repeats the claim until the target has asked. A claim that arrives while the target is still
/// processing the previous answer has no effect.
async fn is_asked(stage: &Theatre, receiver: &Receiver) {
    let asked = async {
        while receiver.compared() == 0 {
            claim(stage).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, asked).await.unwrap();
}

async fn receiver(stage: &mut Theatre) -> Receiver {
    match stage.receiver.take() {
        Some(receiver) => receiver,
        None => Receiver::start(stage).await,
    }
}

/// Answers the target's questions with `says` until it has asked. The target's trust must not
/// change. If `expected` is given, as kind and rule, an event of that kind whose detail contains
/// the rule must be recorded for mallory.
async fn told(
    stage: &mut Theatre,
    expected: Option<(&str, &str)>,
    says: impl FnMut(&wire::TrustAsk) -> wire::TrustAnswer + Send + 'static,
) {
    let receiver = receiver(stage).await;
    let kernel = std::sync::Arc::clone(&stage.target.kernel);
    let noted = || -> Vec<NodeEvent> {
        let events = kernel.store().events(u32::MAX).unwrap();
        let fits = |event: &NodeEvent| {
            expected.is_some_and(|(kind, rule)| {
                event.kind == kind
                    && event.detail.contains(rule)
                    && event.peer == Some("mallory".parse().unwrap())
            })
        };
        events.into_iter().filter(fits).collect()
    };
    let (had, before) = (noted().len(), trust(stage));
    receiver.compare_with(says);
    is_asked(stage, &receiver).await;
    if expected.is_some() {
        eventually(&kernel, || noted().len() > had).await;
    }
    assert_eq!(trust(stage), before);
    // Once mallory shows what it claims to know, the target asks it again like any peer.
    let shown = freshness(stage, |_| (), &online_key());
    receiver.compare_with(move |ask| brings_freshness(ask, &shown));
    is_asked(stage, &receiver).await;
    eventually(&kernel, || trust(stage) != before).await;
    stage.receiver = Some(receiver);
}

/// An answer that claims the epoch after the asker's and carries these bytes for it.
fn epochs(ask: &wire::TrustAsk, epochs: Vec<Bytes>) -> wire::TrustAnswer {
    wire::TrustAnswer {
        epoch: ask.epoch + 1,
        register: vec![7; 32].into(),
        epochs,
        ..wire::TrustAnswer::default()
    }
}

/// An epoch that follows the target's, without the honest peer, signed with this key.
fn next(stage: &Theatre, change: impl FnOnce(&mut Register), key: &SigningKey) -> Bytes {
    let decider = stage.target.kernel.decider();
    let present = decider.verified_register();
    let mut register = present.register().clone();
    register.epoch += 1;
    register.previous = Some(present.digest());
    register
        .authorities
        .remove(&"rotterdam".parse().unwrap())
        .unwrap();
    change(&mut register);
    let mut signed = SignedRegister::unsigned(&register).unwrap();
    signed.sign(key).unwrap();
    signed.encode().into()
}

async fn hp_140_an_epoch_that_a_stranger_signed(stage: &mut Theatre) {
    let stranger = SigningKey::from_seed(KeyUse::Governance, [31; 32]);
    let forged = next(stage, |_| (), &stranger);
    told(stage, Some(("trust-refused", "RG-03")), move |ask| {
        epochs(ask, vec![forged.clone()])
    })
    .await;
    // The epoch names a governance of its own, which signs it and which the previous epoch does not
    // know.
    let usurped = next(
        stage,
        |register| register.governance = vec![stranger.public()],
        &stranger,
    );
    told(stage, Some(("trust-refused", "RG-03")), move |ask| {
        epochs(ask, vec![usurped.clone()])
    })
    .await;
}

/// Even an epoch that the governance signed is accepted only in its place in the sequence.
async fn hp_141_an_epoch_that_is_skipped_or_old(stage: &mut Theatre) {
    let skipping = next(stage, |register| register.epoch += 1, &governance_key());
    let old: Vec<Bytes> = stage
        .target
        .kernel
        .store()
        .registers()
        .unwrap()
        .iter()
        .map(|epoch| epoch.encode().into())
        .collect();
    told(stage, Some(("trust-refused", "RG-04")), move |ask| {
        epochs(ask, vec![skipping.clone()])
    })
    .await;
    // Old epochs are known and skipped.
    told(stage, None, move |ask| epochs(ask, old.clone())).await;
}

async fn hp_142_a_fork_of_the_epoch_in_force(stage: &mut Theatre) {
    told(stage, Some(("register-fork", "RG-05")), |ask| {
        wire::TrustAnswer {
            register: vec![9; 32].into(),
            ..level(ask)
        }
    })
    .await;
    let other = Digest::labelled("another epoch", &[]);
    let forked = next(
        stage,
        |register| register.previous = Some(other),
        &governance_key(),
    );
    told(stage, Some(("trust-refused", "RG-05")), move |ask| {
        epochs(ask, vec![forked.clone()])
    })
    .await;
}

fn freshness(stage: &Theatre, change: impl FnOnce(&mut Freshness), key: &SigningKey) -> Bytes {
    let decider = stage.target.kernel.decider();
    let mut freshness = Freshness::of(decider.verified_register(), stage.now());
    change(&mut freshness);
    let mut signed = SignedFreshness::unsigned(&freshness);
    signed.sign(key).unwrap();
    signed.encode().into()
}

fn brings_freshness(ask: &wire::TrustAsk, freshness: &Bytes) -> wire::TrustAnswer {
    wire::TrustAnswer {
        freshness: freshness.clone(),
        ..level(ask)
    }
}

async fn hp_143_a_freshness_statement_that_does_not_hold(stage: &mut Theatre) {
    let stranger = SigningKey::from_seed(KeyUse::Freshness, [32; 32]);
    let unsigned = freshness(stage, |_| (), &stranger);
    let longer = |freshness: &mut Freshness| {
        freshness.valid_until = freshness.valid_until.plus_millis(MAX_VALIDITY_MS);
    };
    let long = freshness(stage, longer, &online_key());
    let elsewhere = freshness(
        stage,
        |freshness| freshness.register = Digest::labelled("another epoch", &[]),
        &online_key(),
    );
    for (statement, rule) in [(unsigned, "FR-03"), (elsewhere, "FR-04"), (long, "FR-05")] {
        told(stage, Some(("trust-refused", rule)), move |ask| {
            brings_freshness(ask, &statement)
        })
        .await;
    }
}

/// A statement that was once true does not shorten the validity in force.
async fn hp_144_an_older_freshness_statement(stage: &mut Theatre) {
    let older = freshness(
        stage,
        |freshness| {
            freshness.issued_at = freshness.issued_at.plus_millis(-3_600_000);
            freshness.valid_until = freshness.valid_until.plus_millis(-3_600_000);
        },
        &online_key(),
    );
    let newer = freshness(stage, |_| (), &online_key());
    let kernel = &stage.target.kernel;
    assert!(kernel.offer_freshness(&newer).await.unwrap());
    let until = kernel.gates().stage.until();
    told(stage, None, move |ask| brings_freshness(ask, &older)).await;
    assert!(stage.target.kernel.gates().stage.until() >= until);
}

async fn hp_145_a_forged_suspension_of_an_honest_member(stage: &mut Theatre) {
    let suspension = Suspension {
        federation: FEDERATION.parse().unwrap(),
        authority: "rotterdam".parse().unwrap(),
        epoch: stage.target.kernel.decider().register().epoch,
        from: stage.now(),
        until: stage.now().plus_millis(3_600_000),
        reason: "mallory says so".to_owned(),
    };
    let stranger = SigningKey::from_seed(KeyUse::Governance, [33; 32]);
    let by_stranger: Bytes = encode(&suspension.sign(&stranger).unwrap()).into();
    let too_long = Suspension {
        until: suspension.from.plus_millis(73 * 3_600_000),
        ..suspension
    };
    let too_long: Bytes = encode(&too_long.sign(&governance_key()).unwrap()).into();
    for (statement, rule) in [(by_stranger, "SU-03"), (too_long, "SU-04")] {
        told(stage, Some(("trust-refused", rule)), move |ask| {
            wire::TrustAnswer {
                suspensions: vec![statement.clone()],
                ..level(ask)
            }
        })
        .await;
        assert!(stage.target.kernel.gates().suspended.is_empty());
    }
}

/// Epochs are counted before anything is decoded.
async fn hp_146_more_epochs_than_an_answer_holds(stage: &mut Theatre) {
    told(stage, None, |ask| {
        epochs(ask, vec![Bytes::from_static(b"epoch"); MAX_EPOCHS + 1])
    })
    .await;
    told(stage, Some(("trust-refused", "RG-0")), |ask| {
        epochs(ask, vec![Bytes::from_static(b"epoch"); MAX_EPOCHS])
    })
    .await;
}

/// The interval between questions to it grows, however often it claims.
async fn hp_147_a_member_that_always_claims_to_know_more(stage: &mut Theatre) {
    const CLAIMS: usize = 40;
    let receiver = receiver(stage).await;
    receiver.compare_with(|ask| epochs(ask, Vec::new()));
    let kernel = std::sync::Arc::clone(&stage.target.kernel);
    for _ in 0..CLAIMS {
        claim(stage).await;
    }
    eventually(&kernel, || receiver.compared() >= 1).await;
    let asked = receiver.compared();
    assert!(asked < CLAIMS / 4, "asked {asked} times");
    stage.receiver = Some(receiver);
}
