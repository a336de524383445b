//! RC-01 and RC-02, and the limits of a question or answer about a channel.

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    frame::Generation,
    reconcile::{
        Answer, Ask, BUCKETS, Buckets, Entry, MAX_ANSWER_BYTES, MAX_ASK_BYTES, MAX_ENTRIES,
        MAX_RANGES, MAX_WANTED, MAX_WITHDRAWN, Page, Question, RangeDigest, Summary, bucket_of,
        check_answer_size, check_ask_size,
    },
    record::{Form, RecordId},
    rules::Rule,
    wire,
};
use prost::Message as _;

use crate::fixture::federation;

const GENERATION: Generation = Generation::from_bytes([7; 16]);

fn id(number: u64) -> RecordId {
    let digest = Digest::labelled("test", &[&number.to_be_bytes()]);
    RecordId::from_slice(digest.as_bytes()).unwrap()
}

fn ids(count: usize) -> Vec<RecordId> {
    (0..count as u64).map(id).collect()
}

fn range(first: u16, last: u16) -> Buckets {
    Buckets::new(first, last).unwrap()
}

fn ask(question: Question) -> wire::ReconcileAsk {
    Ask {
        generation: GENERATION,
        question,
    }
    .to_wire(&federation())
}

#[track_caller]
fn unreadable(ask: wire::ReconcileAsk) {
    let refused = Ask::read(ask, &federation()).unwrap_err();
    assert_eq!(refused.rule, Rule::ReconcileUnreadable, "{refused}");
}

#[track_caller]
fn unreadable_answer(answer: wire::ReconcileAnswer) {
    let refused = Answer::read(answer).unwrap_err();
    assert_eq!(refused.rule, Rule::ReconcileUnreadable, "{refused}");
}

fn entries(count: usize) -> Vec<Entry> {
    let mut all: Vec<_> = ids(count)
        .into_iter()
        .map(|id| Entry {
            id,
            form: Form::from_bits(0b101),
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn rc_01_unreadable_question_or_answer_about_a_channel() {
    let page = Page {
        of: range(0, 9),
        after: Some(id(1)),
    };
    let good = ask(Question::Page(page));
    unreadable(wire::ReconcileAsk {
        page: None,
        ..good.clone()
    });
    unreadable(wire::ReconcileAsk {
        wanted: Bytes::from(vec![0; 32]),
        ..good.clone()
    });
    unreadable(wire::ReconcileAsk {
        generation: Bytes::from(vec![0; 15]),
        ..good.clone()
    });
    for (first, last) in [(5, 4), (0, u32::from(BUCKETS)), (1 << 16, 1 << 16)] {
        let of = Some(wire::Buckets { first, last });
        unreadable(wire::ReconcileAsk {
            page: Some(wire::PageAsk {
                of,
                after: Bytes::new(),
            }),
            ..good.clone()
        });
    }
    for after in [31, 33, 64] {
        unreadable(wire::ReconcileAsk {
            page: Some(wire::PageAsk {
                of: Some(range(0, 9).into()),
                after: Bytes::from(vec![0; after]),
            }),
            ..good.clone()
        });
    }
    unreadable(ask(Question::Wanted(ids(MAX_WANTED + 1))));
    unreadable(ask(Question::Withdrawn(ids(MAX_WITHDRAWN + 1))));
    unreadable(ask(Question::Digests(vec![Buckets::ALL; MAX_RANGES + 1])));
    let answer = Answer {
        entries: entries(3),
        ..Answer::empty(GENERATION)
    }
    .to_wire();
    let mut turned = entries(3);
    turned.reverse();
    for wrong in [turned, vec![entries(1)[0]; 2]] {
        unreadable_answer(
            Answer {
                entries: wrong,
                ..Answer::empty(GENERATION)
            }
            .to_wire(),
        );
    }
    unreadable_answer(wire::ReconcileAnswer {
        forms: vec![1, 2],
        ..answer.clone()
    });
    unreadable_answer(wire::ReconcileAnswer {
        ranges: vec![wire::RangeDigest {
            count: 1,
            digest: Bytes::from(vec![0; 31]),
        }],
        ..answer.clone()
    });
    unreadable_answer(wire::ReconcileAnswer {
        records: vec![wire::Record::default()],
        ..answer
    });
    assert_eq!(
        check_ask_size(&[0xff]).unwrap_err().rule,
        Rule::ReconcileUnreadable
    );
}

#[test]
fn rc_02_question_about_a_channel_in_another_federation() {
    let mut ask = ask(Question::Wanted(ids(1)));
    ask.federation = "another".to_owned();
    let refused = Ask::read(ask, &federation()).unwrap_err();
    assert_eq!(refused.rule, Rule::ReconcileFederation);
}

#[test]
fn every_question_and_answer_reads_as_it_was_written_and_fits() {
    let questions = [
        Question::Digests(Buckets::ALL.parts(64)),
        Question::Page(Page {
            of: range(17, 17),
            after: None,
        }),
        Question::Withdrawn(ids(MAX_WITHDRAWN)),
        Question::Wanted(ids(MAX_WANTED)),
    ];
    for question in questions {
        let wire = ask(question.clone());
        check_ask_size(&wire.encode_to_vec()).unwrap();
        let read = Ask::read(wire, &federation()).unwrap();
        assert_eq!((read.generation, read.question), (GENERATION, question));
    }
    let answer = Answer {
        ranges: vec![
            RangeDigest {
                count: 5,
                digest: Digest::from_bytes([3; 32]),
            };
            MAX_RANGES
        ],
        entries: entries(MAX_ENTRIES),
        more: true,
        ..Answer::empty(GENERATION)
    };
    let wire = answer.to_wire();
    check_answer_size(&wire.encode_to_vec()).unwrap();
    assert_eq!(Answer::read(wire).unwrap(), answer);
}

#[test]
fn ex_12_what_is_larger_is_refused_before_it_is_decoded() {
    let refused = check_ask_size(&vec![0; MAX_ASK_BYTES + 1]).unwrap_err();
    assert_eq!(refused.rule, Rule::Oversized);
    let refused = check_answer_size(&vec![0; MAX_ANSWER_BYTES + 1]).unwrap_err();
    assert_eq!(refused.rule, Rule::Oversized);
    let many = wire::ReconcileAnswer {
        records: vec![wire::Record::default(); MAX_WANTED + 1],
        ..wire::ReconcileAnswer::default()
    };
    let refused = check_answer_size(&many.encode_to_vec()).unwrap_err();
    assert_eq!(refused.rule, Rule::Oversized);
}

#[test]
fn buckets_are_the_first_twelve_bits_and_parts_cover_a_range_once() {
    let mut bytes = [0xff; 32];
    bytes[..2].copy_from_slice(&[0xab, 0xcd]);
    assert_eq!(bucket_of(&RecordId::from_slice(&bytes).unwrap()), 0xabc);
    for (whole, count) in [(Buckets::ALL, 64), (range(3, 9), 64), (range(0, 99), 7)] {
        let parts = whole.parts(count);
        assert!(parts.len() <= usize::from(count));
        let covered: Vec<u16> = parts
            .iter()
            .flat_map(|part| part.first()..=part.last())
            .collect();
        assert_eq!(covered, (whole.first()..=whole.last()).collect::<Vec<_>>());
    }
}

#[test]
fn a_digest_tells_ids_forms_and_counts_apart_and_only_where_they_differ() {
    let all = entries(300);
    let whole: Summary = all.iter().collect();
    assert_eq!(whole.of(Buckets::ALL).count, 300);
    let mut other = all.clone();
    other[17].form = Form::EMPTY;
    let changed = bucket_of(&other[17].id);
    let other: Summary = other.iter().collect();
    let lacking: Summary = all.iter().filter(|entry| **entry != all[17]).collect();
    for bucket in 0..BUCKETS {
        let one = range(bucket, bucket);
        let same = bucket != changed;
        assert_eq!(whole.of(one) == other.of(one), same);
        assert_eq!(whole.of(one) == lacking.of(one), same);
    }
    assert_ne!(whole.of(Buckets::ALL), other.of(Buckets::ALL));
    assert_eq!(
        whole.of(Buckets::ALL),
        all.iter().collect::<Summary>().of(Buckets::ALL)
    );
}
