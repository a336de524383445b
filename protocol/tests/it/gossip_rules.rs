//! TR-01 and TR-02, and the answers that a hostile member can make: forks, skips, rollbacks,
//! endless chains, and more than a message may hold.

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    gossip::{
        Answer, MAX_ANSWER_BYTES, MAX_ASK_BYTES, MAX_EPOCHS, Standing, check_answer_size,
        check_ask_size, follow,
    },
    register::VerifiedRegister,
    rules::Rule,
    time::Timestamp,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused, federation},
    members::{first, following, signed},
};

fn next(before: &VerifiedRegister, by: &[u8], issued: i64) -> (Bytes, Option<VerifiedRegister>) {
    let mut register = following(before);
    register.issued_at = NOW.plus_millis(issued);
    let signed = signed(&register, by);
    let bytes = signed.encode().into();
    (bytes, before.next(signed).ok())
}

/// Epochs 2 to `last`, properly signed.
fn chain(last: u64) -> Vec<Bytes> {
    let mut newest = first();
    let mut out = Vec::new();
    while newest.register().epoch < last {
        let (bytes, verified) = next(&newest, &[200, 201], 1);
        newest = verified.unwrap();
        out.push(bytes);
    }
    out
}

fn standing(epoch: u64) -> Standing {
    Standing {
        federation: federation(),
        epoch,
        register: Digest::from_bytes([1; 32]),
        freshness_issued: None,
        suspensions: Digest::from_bytes([2; 32]),
    }
}

#[track_caller]
fn refused(epochs: &[Bytes], taken: usize, rule: Rule) {
    let followed = follow(&first(), epochs);
    assert_eq!(followed.taken.len(), taken);
    assert_eq!(followed.refused.map(|refusal| refusal.rule), Some(rule));
}

#[test]
fn epochs_are_followed_one_by_one_and_known_ones_passed_over() {
    let epochs = chain(5);
    let followed = follow(&first(), &epochs);
    assert_eq!(followed.refused, None);
    let numbers: Vec<u64> = followed
        .taken
        .iter()
        .map(|one| one.register().epoch)
        .collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    let at_three = &followed.taken[1];
    let again = follow(at_three, &epochs);
    assert_eq!(again.refused, None);
    assert_eq!(again.taken, followed.taken[2..]);
    let rollback = follow(&followed.taken[3], &epochs);
    assert_eq!(rollback.taken, []);
    assert_eq!(rollback.refused, None);
}

#[test]
fn a_fork_is_refused_with_the_rule_that_names_it() {
    let (second, _) = next(&first(), &[200, 201], 1);
    let (fork, _) = next(&first(), &[200, 201], 2);
    refused(&[second.clone(), fork.clone()], 1, Rule::RegisterChain);
    // The fork's own successor does not follow either.
    let forked =
        first().next(portcullis_protocol::register::SignedRegister::decode(&fork).unwrap());
    let (third, _) = next(&forked.unwrap(), &[200, 201], 3);
    refused(&[second, third], 1, Rule::RegisterChain);
}

#[test]
fn a_skipped_epoch_is_refused() {
    let epochs = chain(4);
    refused(
        &[epochs[0].clone(), epochs[2].clone()],
        1,
        Rule::RegisterEpoch,
    );
}

#[test]
fn signatures_are_counted_before_the_content_is_read() {
    // The content is no register at all, but the refusal names the missing signatures.
    let unsigned = wire::SignedRegister {
        payload: vec![0xff; 64].into(),
        signatures: Vec::new(),
    };
    let bytes = Bytes::from(unsigned.encode_to_vec());
    refused(&[bytes], 0, Rule::RegisterSignatures);
    let (by_one, _) = next(&first(), &[200], 1);
    refused(&[by_one], 0, Rule::RegisterSignatures);
    let (by_strangers, _) = next(&first(), &[210, 211, 212], 1);
    refused(&[by_strangers], 0, Rule::RegisterSignatures);
}

#[test]
fn nothing_after_a_refused_epoch_is_looked_at() {
    let mut epochs = chain(4);
    epochs.insert(1, Bytes::from_static(&[0xff]));
    let followed = follow(&first(), &epochs);
    assert_eq!(followed.taken.len(), 1);
    assert!(followed.refused.is_some());
}

#[test]
fn a_chain_without_end_is_taken_in_pieces() {
    let epochs = chain(u64::try_from(MAX_EPOCHS).unwrap() + 3);
    let followed = follow(&first(), &epochs);
    assert_eq!(followed.taken.len(), MAX_EPOCHS);
    let answer = Answer::new(&standing(9), epochs, None, Vec::new());
    assert_eq!(answer.epochs.len(), MAX_EPOCHS);
}

#[test]
fn an_answer_holds_as_many_epochs_as_fit() {
    let large = Bytes::from(vec![7; MAX_ANSWER_BYTES / 4]);
    let answer = Answer::new(&standing(9), vec![large; 8], None, Vec::new());
    assert_eq!(answer.epochs.len(), 3);
    let encoded = answer.to_wire().encode_to_vec();
    check_answer_size(&encoded).unwrap();
    assert_eq!(Answer::read(answer.to_wire()).unwrap(), answer);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_decoded() {
    assert_refused(check_ask_size(&vec![0; MAX_ASK_BYTES + 1]), Rule::Oversized);
    let bytes = vec![0; MAX_ANSWER_BYTES + 1];
    assert_refused(check_answer_size(&bytes), Rule::Oversized);
    // Empty epochs and empty suspensions, two bytes each on the wire.
    for (tag, most) in [(0x1a, MAX_EPOCHS), (0x2a, 1024)] {
        let within = [tag, 0].repeat(most);
        assert!(check_answer_size(&within).is_ok());
        let beyond = [tag, 0].repeat(most + 1);
        assert_refused(check_answer_size(&beyond), Rule::Oversized);
    }
    // An epoch with an excess of signatures is not decoded either.
    let many = Bytes::from([0x12, 0].repeat(129));
    refused(&[many], 0, Rule::Oversized);
}

#[test]
fn tr_01_unreadable_question_or_answer_about_trust() {
    assert_refused(check_answer_size(&[0xff]), Rule::TrustUnreadable);
    let good = standing(3).to_wire();
    assert_eq!(Standing::read(good.clone(), &federation()), Ok(standing(3)));
    for length in [0, 31, 33] {
        let register = wire::TrustAsk {
            register: vec![1; length].into(),
            ..good.clone()
        };
        let suspensions = wire::TrustAsk {
            suspensions: vec![1; length].into(),
            ..good.clone()
        };
        for ask in [register, suspensions] {
            assert_refused(Standing::read(ask, &federation()), Rule::TrustUnreadable);
        }
        let answer = wire::TrustAnswer {
            register: vec![1; length].into(),
            ..Answer::new(&standing(3), [], None, Vec::new()).to_wire()
        };
        assert_refused(Answer::read(answer), Rule::TrustUnreadable);
    }
    let good = Answer::new(&standing(3), [], None, Vec::new()).to_wire();
    let freshness = wire::TrustAnswer {
        freshness: vec![1; (16 << 10) + 1].into(),
        ..good.clone()
    };
    let suspension = wire::TrustAnswer {
        suspensions: vec![vec![1; (2 << 10) + 1].into()],
        ..good
    };
    for answer in [freshness, suspension] {
        assert_refused(Answer::read(answer), Rule::TrustUnreadable);
    }
}

#[test]
fn tr_02_question_about_trust_in_another_federation() {
    let ask = standing(3).to_wire();
    let other = "us-ports".parse().unwrap();
    assert_refused(Standing::read(ask, &other), Rule::TrustFederation);
}

#[test]
fn who_lacks_what_is_told_by_what_each_has() {
    let three = standing(3);
    assert!(!three.lacks(&three));
    assert!(three.lacks(&standing(4)));
    assert!(!three.lacks(&standing(2)));
    let fresher = Standing {
        freshness_issued: Some(Timestamp::from_millis(5)),
        ..three.clone()
    };
    assert!(three.lacks(&fresher));
    assert!(!fresher.lacks(&three));
    let suspending = Standing {
        suspensions: Digest::from_bytes([3; 32]),
        ..three.clone()
    };
    assert!(three.lacks(&suspending));
    let fork = Standing {
        register: Digest::from_bytes([9; 32]),
        ..three.clone()
    };
    assert!(three.forks_from(&fork));
    assert!(!three.forks_from(&suspending));
    assert!(!three.forks_from(&standing(4)));
}
