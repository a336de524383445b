//! Sealing as a whole: any flipped bit fails, and only the forms of a record verify under its id.

use std::collections::BTreeSet;

use portcullis_protocol::{
    body::{Body, BodyError},
    evaluation::{Admiralty, Evaluation},
    keys::{KeyUse, SigningKey},
    marking::{Marking, Pap, Purpose, SectionMarking, Tlp},
    record::{Form, Kind, SectionTag},
    rules::Rule,
    seal::{Draft, MAX_RECORD_BYTES, SealError, SealedRecord, Sealer},
    statement::SignedStatement,
    time::Timestamp,
    verify::{FormError, Occasion, VerifiedRecord, Verifier},
    wire,
};
use proptest::prelude::*;
use prost::Message as _;
use std::sync::Arc;

use crate::{
    fixture::{
        Keys, NOW, Seeded, assessment, federation, indicator, indicator_draft, marking, origin,
        persons, seal, sealing_key, subject, verify,
    },
    forge::{altered, flipped},
};

fn try_seal(drafts: Vec<Draft>) -> Result<Vec<SealedRecord>, SealError> {
    let (federation, origin, key) = (federation(), origin(), sealing_key());
    let sealer = Sealer {
        federation: &federation,
        origin: &origin,
        key: &key,
        now: NOW,
    };
    sealer.seal(drafts, &mut Seeded(1))
}

/// Flips every bit of one field of a record in a batch of four, one at a time.
#[track_caller]
fn every_flip_fails(
    field: impl Fn(&wire::Record) -> bytes::Bytes,
    set: impl Fn(&mut wire::Record, bytes::Bytes),
) {
    let good = seal(vec![indicator_draft(); 4], 5).remove(0);
    let bytes = field(good.wire());
    assert!(!bytes.is_empty());
    for bit in 0..bytes.len() * 8 {
        let bad = altered(&good, |record| set(record, flipped(&bytes, bit)));
        assert!(verify(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn any_flipped_bit_of_the_header_fails() {
    every_flip_fails(|r| r.header.clone(), |r, bytes| r.header = bytes);
}

#[test]
fn any_flipped_bit_of_a_body_or_a_salt_fails() {
    for at in 0..4 {
        every_flip_fails(
            |r| r.sections[at].body.clone(),
            |r, bytes| r.sections[at].body = bytes,
        );
        every_flip_fails(
            |r| r.sections[at].salt.clone(),
            |r, bytes| r.sections[at].salt = bytes,
        );
    }
}

#[test]
fn any_flipped_bit_of_blind_or_path_fails() {
    every_flip_fails(|r| r.blind.clone(), |r, bytes| r.blind = bytes);
    every_flip_fails(|r| r.path.clone(), |r, bytes| r.path = bytes);
}

#[test]
fn any_flipped_bit_of_a_leaf_or_an_index_fails() {
    let good = seal(vec![indicator_draft(); 4], 5).remove(0);
    for bit in 0..32 {
        let leaf = altered(&good, |record| record.leaf ^= 1 << bit);
        assert!(verify(&leaf).is_err(), "leaf, bit {bit}");
        for at in 0..4 {
            let index = altered(&good, |record| record.sections[at].index ^= 1 << bit);
            assert!(verify(&index).is_err(), "section {at}, bit {bit}");
        }
    }
}

#[test]
fn any_flipped_bit_of_the_statement_fails() {
    let good = indicator();
    let statement = wire::SignedStatement::from(good.statement().as_ref());
    let verdict = |statement: wire::SignedStatement| {
        let statement = Arc::new(SignedStatement::try_from(statement).unwrap());
        verify(&SealedRecord::new(good.wire().clone(), statement))
    };
    for bit in 0..statement.payload.len() * 8 {
        let mut bad = statement.clone();
        bad.payload = flipped(&bad.payload, bit);
        assert!(verdict(bad).is_err(), "payload, bit {bit}");
    }
    for bit in 0..256 {
        let mut bad = statement.clone();
        bad.key_id = flipped(&bad.key_id, bit);
        assert!(verdict(bad).is_err(), "key id, bit {bit}");
    }
    for bit in 0..512 {
        let mut bad = statement.clone();
        bad.signature = flipped(&bad.signature, bit);
        assert_eq!(verdict(bad).unwrap_err().rule, Rule::BatchSignature);
    }
}

/// Checks that what verifies is a form of the good record, down to the bytes.
#[track_caller]
fn assert_a_form_of(good: &VerifiedRecord, found: &VerifiedRecord) {
    assert_eq!(found.id(), good.id());
    assert!(found.form().is_within(good.form()));
    assert_eq!(found, &good.withhold(found.form()).unwrap());
}

#[test]
fn a_flipped_bit_of_the_encoding_leaves_a_form_of_the_record_or_nothing() {
    let good = seal(vec![indicator_draft(); 2], 5).remove(0);
    let verified = verify(&good).unwrap();
    let encoded = good.wire().encode_to_vec();
    for bit in 0..encoded.len() * 8 {
        let Ok(record) = wire::Record::decode(flipped(&encoded, bit)) else {
            continue;
        };
        let record = wire::Record { batch: 0, ..record };
        let sealed = SealedRecord::new(record, Arc::clone(good.statement()));
        if let Ok(found) = verify(&sealed) {
            assert_a_form_of(&verified, &found);
        }
    }
}

#[test]
fn every_form_that_cuts_no_group_verifies_under_the_same_id() {
    let mut draft = indicator_draft();
    draft.decoys.clear();
    draft
        .sections
        .push(portcullis_protocol::seal::DraftSection {
            body: persons(),
            stricter: None,
        });
    let whole = verify(&seal(vec![draft], 2).remove(0)).unwrap();
    let group = Form::from_bits(0b11);
    for bits in 0..64 {
        let form = Form::from_bits(bits);
        let cut = !form.intersection(group).is_empty() && !group.is_within(form);
        let expected = match bits {
            0 => Err(FormError::Nothing),
            32.. => Err(FormError::NotHeld),
            _ if cut => Err(FormError::GroupCut),
            _ => Ok(form),
        };
        let thinner = whole.withhold(form);
        assert_eq!(
            thinner.as_ref().map(VerifiedRecord::form).map_err(|e| *e),
            expected
        );
        if let Ok(thinner) = thinner {
            let again = verify(thinner.sealed()).unwrap();
            assert_eq!(again, thinner);
            assert_eq!(again.id(), whole.id());
            assert_eq!(again.header_bytes(), whole.header_bytes());
        }
    }
}

#[test]
fn what_was_withheld_leaves_nothing_behind() {
    let whole = verify(&indicator()).unwrap();
    let thinner = whole.withhold(Form::from_bits(0b11)).unwrap();
    let encoded = thinner.to_wire(0).encode_to_vec();
    for section in &whole.sealed().wire().sections[2..] {
        let holds = |needle: &[u8]| encoded.windows(needle.len()).any(|part| part == needle);
        assert!(!holds(&section.body) && !holds(&section.salt));
    }
}

#[test]
fn forms_join_again_and_forms_of_other_records_do_not() {
    let mut records = seal(vec![indicator_draft(); 2], 9);
    let other = verify(&records.remove(1)).unwrap();
    let whole = verify(&records.remove(0)).unwrap();
    let subject = whole.withhold(Form::from_bits(0b0011)).unwrap();
    let story = whole.withhold(Form::from_bits(0b0100)).unwrap();
    let joined = story.extended(&subject).unwrap();
    assert_eq!(joined, whole.withhold(Form::from_bits(0b0111)).unwrap());
    assert_eq!(verify(joined.sealed()).unwrap(), joined);
    assert_eq!(joined.extended(&story).unwrap(), joined);
    assert_eq!(subject.extended(&other), Err(FormError::OtherRecord));
}

/// Seals a batch and checks every record of it, at its own place and at its neighbour's.
fn check_batch(size: usize) {
    let records = seal(vec![indicator_draft(); size], size as u64);
    let (federation, keys) = (federation(), Keys::usual());
    let verifier = Verifier {
        federation: &federation,
        keys: &keys,
        now: NOW,
        occasion: Occasion::Arriving,
    };
    let batch = verifier.batch(records[0].statement()).unwrap();
    let (mut places, mut salts) = (BTreeSet::new(), BTreeSet::new());
    for (position, record) in records.iter().enumerate() {
        assert!(
            verifier.record(record, &batch).is_ok(),
            "{position} of {size}"
        );
        assert!(places.insert(record.wire().leaf));
        for section in &record.wire().sections {
            assert!(salts.insert(section.salt.clone()), "a salt is used twice");
        }
        let neighbour = &records[(position + 1) % size];
        let moved = altered(record, |record| {
            record.leaf = neighbour.wire().leaf;
            record.path = neighbour.wire().path.clone();
        });
        assert_eq!(verifier.record(&moved, &batch).is_err(), size > 1);
    }
    let depth = records[0].wire().path.len() / 32;
    assert_eq!(
        1 << depth,
        size.next_power_of_two(),
        "padded to a power of two"
    );
    let in_order = places.len() == size && records.is_sorted_by_key(|record| record.wire().leaf);
    assert!(size < 16 || !in_order, "leaves are shuffled");
}

#[test]
fn batches_of_every_kind_of_size_verify() {
    for size in [1, 2, 3, 4, 5, 16, 17, 255, 256, 257, 1023, 1024] {
        check_batch(size);
    }
    for size in [0, 1025] {
        let error = try_seal(vec![indicator_draft(); size]).unwrap_err();
        assert!(matches!(error, SealError::BatchSize(found) if found == size));
    }
}

#[test]
fn a_drafted_decoy_is_for_source_or_persons_only() {
    for tag in SectionTag::ALL {
        let mut draft = Draft::new(
            Kind::Advisory,
            marking(),
            Evaluation::default(),
            vec![assessment()],
        );
        draft.decoys.insert(*tag);
        let sealed = try_seal(vec![draft]);
        if matches!(tag, SectionTag::Source | SectionTag::Persons) {
            assert!(verify(&sealed.unwrap().remove(0)).is_ok());
        } else {
            assert!(matches!(sealed, Err(SealError::Decoy(found)) if found == *tag));
        }
    }
    // A risk profile has neither section, so it has no decoy for one.
    let mut draft = indicator_draft();
    draft.kind = Kind::RiskProfile;
    assert!(matches!(try_seal(vec![draft]), Err(SealError::Sections(_))));
}

#[test]
fn the_table_of_a_record_with_decoys_is_that_of_one_without() {
    let full = [
        subject("CSQU3054383"),
        assessment(),
        Body::Narrative("story".to_owned()),
        Body::Source("source".to_owned()),
        persons(),
    ];
    let tags = [SectionTag::Source, SectionTag::Persons];
    // Both, one or neither of the two sections, and the draft in either order.
    for (kept, backwards) in [(5, false), (4, false), (3, true), (5, true)] {
        let mut bodies = full[..kept].to_vec();
        if backwards {
            bodies.reverse();
        }
        let mut draft = Draft::new(Kind::Indicator, marking(), Evaluation::default(), bodies);
        draft.decoys = tags.into();
        let verified = verify(&try_seal(vec![draft]).unwrap().remove(0)).unwrap();
        let table: Vec<_> = verified
            .header()
            .sections
            .iter()
            .map(|entry| (entry.index, entry.tag))
            .collect();
        assert_eq!(
            table,
            (0..)
                .zip(SectionTag::ALL[..5].iter().copied())
                .collect::<Vec<_>>()
        );
        assert_eq!(verified.header().groups, [Form::from_bits(0b11)]);
    }
    let without_source = vec![persons(), assessment(), subject("CSQU3054383")];
    let mut draft = Draft::new(
        Kind::Indicator,
        marking(),
        Evaluation::default(),
        without_source,
    );
    draft.decoys = tags.into();
    // Persons with subject, given by their positions in the draft: their indexes are 3 and 0.
    draft.groups = Some(vec![Form::from_bits(0b101)]);
    let verified = verify(&try_seal(vec![draft]).unwrap().remove(0)).unwrap();
    assert_eq!(verified.header().groups, [Form::from_bits(0b1001)]);
    assert_eq!(verified.header().entry(2).unwrap().tag, SectionTag::Source);
    assert_eq!(verified.form(), Form::from_bits(0b1011));
}

#[test]
fn a_decoy_is_in_no_group() {
    let mut draft = indicator_draft();
    draft.groups = Some(vec![Form::from_bits(0b1_0011)]);
    assert!(matches!(try_seal(vec![draft]), Err(SealError::Group)));
}

#[test]
fn what_would_be_lost_on_the_wire_is_not_sealed() {
    let lost = |change: fn(&mut Draft)| {
        let mut draft = indicator_draft();
        change(&mut draft);
        assert!(matches!(try_seal(vec![draft]), Err(SealError::Lossy)));
    };
    lost(|draft| draft.marking.handling.h3 = Some(String::new()));
    lost(|draft| draft.marking.delete_at = Some(Timestamp::from_millis(0)));
    let mut draft = indicator_draft();
    draft.groups = Some(vec![Form::from_bits(0b1)]);
    assert!(matches!(try_seal(vec![draft]), Err(SealError::Refused(_))));
}

#[test]
fn a_record_that_no_frame_could_carry_is_not_sealed() {
    use portcullis_protocol::body::Attachment;
    let file = |bytes: usize| {
        Body::Attachments(vec![Attachment {
            name: "photo".to_owned(),
            media_type: "image/jpeg".to_owned(),
            content: vec![0; bytes].into(),
        }])
    };
    let with = |files: Body, text: Body| {
        let mut draft = indicator_draft();
        draft.sections[2].body = text;
        draft.sections[3].body = files;
        try_seal(vec![draft])
    };
    assert!(with(file(4_000_000), Body::Narrative("x".into())).is_ok());
    let error = with(file(5_000_000), Body::Narrative("x".into())).unwrap_err();
    assert!(matches!(error, SealError::Body(BodyError::TooLarge { .. })));
    let many = Draft::new(
        Kind::RiskProfile,
        marking(),
        Evaluation::default(),
        vec![cells(3); 3],
    );
    assert!(
        matches!(try_seal(vec![many]), Err(SealError::TooLarge(bytes)) if bytes > MAX_RECORD_BYTES)
    );
}

/// Cells of at least about `mib` mebibytes.
fn cells(mib: usize) -> Body {
    use portcullis_protocol::body::{Cell, Cells};
    let text = "x".repeat(240);
    let cell = |number: usize| Cell {
        key: vec![
            format!("{number:08}{text}"),
            text.clone(),
            text.clone(),
            text.clone(),
        ],
        controls: 1,
        findings: 0,
    };
    Body::Cells(Cells {
        schema: portcullis_protocol::digest::Digest::from_bytes([1; 32]),
        period: "2020".to_owned(),
        contributors: [origin()].into(),
        part: 1,
        parts: 1,
        cells: (0..mib * 1180).map(cell).collect(),
    })
}

#[test]
fn a_finding_is_in_outcomes_and_nowhere_else() {
    let mut draft = indicator_draft();
    draft.kind = Kind::Outcome;
    let error = try_seal(vec![draft]).unwrap_err();
    assert!(matches!(
        error,
        SealError::Body(BodyError::Value("finding"))
    ));
}

fn any_marking() -> impl Strategy<Value = Marking> {
    let purposes = proptest::sample::subsequence(Purpose::ALL, 0..=Purpose::ALL.len());
    let list = proptest::option::of(proptest::sample::subsequence(
        vec!["a", "b-c", "kr-police"],
        0..=3,
    ));
    let dates = (
        proptest::option::of(-2..3_i64),
        proptest::option::of(-2..3_i64),
    );
    (
        proptest::sample::select(Tlp::ALL),
        proptest::sample::select(Pap::ALL),
        purposes,
        list,
        dates,
        proptest::option::of("\\PC{0,3}"),
        any::<[bool; 5]>(),
    )
        .prop_map(
            |(tlp, pap, purposes, list, (review, delete), h3, [h0, h1, h2, relay, control])| {
                let mut marking = Marking::new(tlp, purposes);
                marking.pap = pap;
                marking.release_to =
                    list.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
                marking.review_at = review.map(Timestamp::from_millis);
                marking.delete_at = delete.map(Timestamp::from_millis);
                marking.handling = portcullis_protocol::marking::HandlingCodes { h0, h1, h2, h3 };
                marking.relay = relay;
                marking.originator_control = control;
                marking
            },
        )
}

fn any_body() -> impl Strategy<Value = (Body, Option<SectionMarking>)> {
    let bodies = vec![
        subject("CSQU3054383"),
        assessment(),
        Body::Narrative("story".to_owned()),
        Body::Source("source".to_owned()),
        persons(),
        Body::Attachments(Vec::new()),
    ];
    let stricter = (
        proptest::option::of(proptest::sample::select(Tlp::ALL)),
        proptest::option::of(proptest::sample::select(Pap::ALL)),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(tlp, pap, h1, h2)| SectionMarking { tlp, pap, h1, h2 });
    (
        proptest::sample::select(bodies),
        proptest::option::weighted(0.1, stricter),
    )
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let extra = proptest::collection::vec(any_body(), 0..4);
    let groups = proptest::option::weighted(0.5, proptest::collection::vec(0..64_u64, 0..3));
    let decoys = proptest::sample::subsequence(SectionTag::ALL, 0..=2);
    let evaluation = prop_oneof![
        Just(Evaluation::default()),
        "[A-F][1-6]".prop_map(|code| Evaluation::from(code.parse::<Admiralty>().unwrap())),
    ];
    (
        proptest::sample::select(Kind::ALL),
        any_marking(),
        evaluation,
        extra,
        groups,
        decoys,
    )
        .prop_map(|(kind, marking, evaluation, extra, groups, decoys)| {
            let mut draft = Draft::new(
                kind,
                marking,
                evaluation,
                vec![subject("CSQU3054383"), assessment()],
            );
            for (body, stricter) in extra {
                draft
                    .sections
                    .push(portcullis_protocol::seal::DraftSection { body, stricter });
            }
            draft.groups = groups.map(|groups| groups.into_iter().map(Form::from_bits).collect());
            draft.decoys = decoys.into_iter().collect();
            draft
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// A draft is refused by its originator's own node, or by nobody; a sealed draft reads as it
    /// was written.
    #[test]
    fn whatever_seals_verifies_and_says_the_same(draft in any_draft()) {
        if let Ok(mut sealed) = try_seal(vec![draft.clone()]) {
            let verified = verify(&sealed.remove(0)).unwrap();
            prop_assert_eq!(&verified.header().marking, &draft.marking);
            prop_assert_eq!(verified.header().evaluation, draft.evaluation);
            let mut drafted = draft.sections.clone();
            drafted.sort_by_key(|section| section.body.tag().number());
            prop_assert_eq!(verified.sections().len(), drafted.len());
            for (open, drafted) in verified.sections().iter().zip(&drafted) {
                prop_assert_eq!(&open.body, &drafted.body);
                let entry = verified.header().entry(open.section.index).unwrap();
                prop_assert_eq!(&entry.stricter, &drafted.stricter);
            }
        }
    }

    /// Bytes changed, cut off or repeated: the result verifies as a form of the record or not at
    /// all.
    #[test]
    fn mangled_encodings_verify_as_a_form_or_not_at_all(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let good = seal(vec![indicator_draft(); 2], 5).remove(0);
        let verified = verify(&good).unwrap();
        let mut encoded = good.wire().encode_to_vec();
        for (at, byte, how) in edits {
            let at = at.index(encoded.len());
            match how {
                0 => encoded[at] = byte,
                1 => drop(encoded.remove(at)),
                2 => encoded.insert(at, byte),
                _ => encoded.extend_from_within(at..),
            }
        }
        if let Ok(record) = wire::Record::decode(encoded.as_slice()) {
            let record = wire::Record { batch: 0, ..record };
            let sealed = SealedRecord::new(record, Arc::clone(good.statement()));
            if let Ok(found) = verify(&sealed) {
                assert_a_form_of(&verified, &found);
            }
        }
    }

    /// Nothing verifies from another federation, or under a key that the register does not list.
    #[test]
    fn keys_of_other_seeds_or_federations_never_verify(seed in 2_u8..=255, name in "[a-z]{1,8}") {
        let key = SigningKey::from_seed(KeyUse::Sealing, [seed; 32]);
        let (other, origin) = (name.parse().unwrap(), origin());
        let foreign = Sealer { federation: &other, origin: &origin, key: &sealing_key(), now: NOW }
            .seal(vec![indicator_draft()], &mut Seeded(1)).unwrap().remove(0);
        prop_assert_eq!(verify(&foreign).unwrap_err().rule, Rule::RecordFederation);
        let unknown = Sealer { federation: &federation(), origin: &origin, key: &key, now: NOW }
            .seal(vec![indicator_draft()], &mut Seeded(1)).unwrap().remove(0);
        prop_assert_eq!(verify(&unknown).unwrap_err().rule, Rule::SealingKey);
    }
}
