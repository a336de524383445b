//! RE-13 to RE-16: a record has to be in its batch, and the two have to agree.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_protocol::{
    rules::Rule,
    seal::SealedRecord,
    verify::{Occasion, Verifier},
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{Keys, NOW, assert_refused, federation, indicator, indicator_draft, seal, verify},
    forge::{Forgery, altered, flipped, labelled, sign, sign_payload},
    record_rules::{check_altered, check_header},
};

fn batch_of_four() -> Vec<SealedRecord> {
    seal(vec![indicator_draft(); 4], 11)
}

#[test]
fn re_13_batch_path_of_the_wrong_shape() {
    let record = &batch_of_four()[0];
    let check = |change: fn(&mut wire::Record)| {
        assert_refused(verify(&altered(record, change)), Rule::PathShape);
    };
    check(|record| record.path = record.path.slice(..32));
    check(|record| record.path = [&record.path[..], &[0; 32]].concat().into());
    check(|record| record.path = record.path.slice(..63));
    check(|record| record.path = Bytes::new());
    check(|record| record.leaf = 4);
    check(|record| record.leaf = u32::MAX);
    check(|record| record.blind = Bytes::from_static(&[0; 15]));
    check(|record| record.blind = Bytes::new());
}

#[test]
fn re_14_record_that_is_not_in_its_batch() {
    let records = batch_of_four();
    for leaf in (0..4).filter(|leaf| *leaf != records[0].wire().leaf) {
        let moved = altered(&records[0], |record| record.leaf = leaf);
        assert_refused(verify(&moved), Rule::PathRoot);
    }
    let blind = altered(&records[0], |record| {
        record.blind = flipped(&record.blind, 3)
    });
    assert_refused(verify(&blind), Rule::PathRoot);
    let path = altered(&records[0], |record| {
        record.path = flipped(&record.path, 300)
    });
    assert_refused(verify(&path), Rule::PathRoot);
    let path = altered(&records[0], |record| {
        record.path = records[1].wire().path.clone()
    });
    assert_refused(verify(&path), Rule::PathRoot);
}

#[test]
fn re_14_record_that_is_not_in_its_batch_though_its_header_reads() {
    // Loosened by a hub: the header can still be read, but hashes to another leaf.
    let mut header = wire::Header::decode(indicator().wire().header.clone()).unwrap();
    header.marking.as_mut().unwrap().tlp = wire::Tlp::Clear.into();
    check_altered(Rule::PathRoot, |record| {
        record.header = header.encode_to_vec().into()
    });
}

#[test]
fn re_14_record_that_is_not_in_its_batch_but_an_inner_node_of_it() {
    // The attacker needs `blind ‖ header digest` to hash to an inner node; the labels differ.
    let records = batch_of_four();
    let record = records[0].wire();
    let id = labelled("portcullis record v1", &[&record.header]);
    let leaf = labelled("portcullis batch leaf v1", &[&record.blind, &id]);
    let sibling: [u8; 32] = record.path[..32].try_into().unwrap();
    let pair = if record.leaf.is_multiple_of(2) {
        [leaf, sibling]
    } else {
        [sibling, leaf]
    };
    let inner = labelled("portcullis batch node v1", &[&pair[0], &pair[1]]);
    // The inner node's own place and path lead to the root, but no leaf hashes to it…
    let collapsed = altered(&records[0], |record| {
        record.leaf /= 2;
        record.path = record.path.slice(32..);
    });
    // …and the path is one sibling shorter than the statement's tree size requires.
    assert_refused(verify(&collapsed), Rule::PathShape);
    // A statement over the collapsed tree would need the originator's signature.
    let mut forgery = Forgery::of(&records[0]);
    forgery.statement.tree_size = 2;
    let outer: [u8; 32] = record.path[32..].try_into().unwrap();
    let halves = if record.leaf / 2 == 0 {
        [inner, outer]
    } else {
        [outer, inner]
    };
    let root = labelled("portcullis batch node v1", &[&halves[0], &halves[1]]);
    assert_eq!(
        root[..],
        forgery.statement.root[..],
        "the tree is the one of docs/design.md"
    );
    let statement = sign(&forgery.statement, &forgery.key);
    let resigned = SealedRecord::new(collapsed.wire().clone(), statement);
    assert_refused(verify(&resigned), Rule::PathRoot);
}

#[test]
fn re_15_malformed_batch_statement() {
    let check = |change: &dyn Fn(&mut wire::BatchStatement)| {
        let mut forgery = Forgery::of_indicator();
        change(&mut forgery.statement);
        let good = indicator();
        let statement = sign(&forgery.statement, &forgery.key);
        let sealed = SealedRecord::new(good.wire().clone(), statement);
        assert_refused(verify(&sealed), Rule::BatchStatement);
    };
    for size in [0, 3, 1023, 2048, 1 << 31] {
        check(&|statement| statement.tree_size = size);
    }
    check(&|statement| statement.root = Bytes::from_static(&[0; 31]));
    check(&|statement| statement.root = Bytes::new());
    check(&|statement| statement.key_id = Bytes::from_static(&[0; 31]));
    check(&|statement| statement.key_id = Bytes::from_static(&[9; 32]));
    check(&|statement| statement.origin = String::new());
    // Padded with an unknown field.
    let mut padded = Forgery::of_indicator().statement.encode_to_vec();
    padded.extend([0xa2, 0x06, 0xff, 0x07]);
    padded.extend([0; 1023]);
    let padded = sign_payload(padded, &Forgery::of_indicator().key);
    let sealed = SealedRecord::new(indicator().wire().clone(), padded);
    assert_refused(verify(&sealed), Rule::BatchStatement);
    let garbage = sign_payload(vec![0xff; 9], &Forgery::of_indicator().key);
    let sealed = SealedRecord::new(indicator().wire().clone(), garbage);
    assert_refused(verify(&sealed), Rule::BatchStatement);
}

#[test]
fn re_16_header_and_batch_statement_disagree() {
    check_header(Rule::BatchMismatch, |header| {
        header.origin = "kr-police".to_owned()
    });
    check_header(Rule::BatchMismatch, |header| {
        header.key_id = Bytes::from_static(&[9; 32])
    });
    check_header(Rule::BatchMismatch, |header| header.sealed_at_ms += 1);
}

#[test]
fn re_16_header_and_batch_statement_disagree_when_another_batch_is_brought() {
    let (federation, keys) = (federation(), Keys::usual());
    let verifier = Verifier {
        federation: &federation,
        keys: &keys,
        now: NOW,
        occasion: Occasion::Arriving,
    };
    let (first, second) = (indicator(), seal(vec![indicator_draft()], 8).remove(0));
    let batch = verifier.batch(second.statement()).unwrap();
    assert_refused(verifier.record(&first, &batch), Rule::BatchMismatch);
    let moved = SealedRecord::new(first.wire().clone(), Arc::clone(second.statement()));
    assert_refused(verifier.record(&moved, &batch), Rule::PathRoot);
}
