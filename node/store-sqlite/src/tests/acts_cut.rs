//! Claims about an act whose job fails at one of its statements: it was not done, nothing of it
//! stands, and the same act is then done once.

use portcullis_protocol::record::Kind;

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{
    Act, ActAnswer, ActOutcome, ConsignmentRow, ConsignmentStage, Effects, Fact, FactKind, Store,
    StoreError, Write, Written,
};

const ACT: &[u8] = b"an act";

/// Effects of an act: their name, and the statements that only they run.
type Deed = (&'static str, fn() -> Vec<Write>, &'static [&'static str]);

const PUBLISHING: &[&str] = &["INSERT ON statement", "INSERT ON pack"];

fn act() -> Write {
    let answer = ActAnswer::new(|written| format!("{} results", written.len()).into_bytes());
    Write::Act(Act {
        action: "publish".to_owned(),
        person: "ada".to_owned(),
        uid: None,
        at: at(0),
        statement: Some(statement(ACT)),
        concerns: String::new(),
        enrols: None,
        effects: Effects::InJob(answer),
    })
}

fn published(kind: Kind, count: usize) -> Vec<Write> {
    let drafts = (0..count).map(|_| draft(kind)).collect();
    let records = Originator::new(1).batch(drafts);
    vec![Write::Publish {
        records,
        now: at(1),
    }]
}

fn fact() -> Vec<Write> {
    vec![Write::Fact(Fact {
        kind: FactKind::Stop,
        subject: "hub".to_owned(),
        content: Some(b"a drill".to_vec()),
        at: at(1),
    })]
}

/// Attack HH5: records, act and end lay in three commits. A fault between two of them left an act
/// without records, or records of an act that said nothing of them; sent again, the act was refused
/// as a replay, and signed again it published everything twice.
#[test]
fn a_fault_at_any_statement_of_an_act_leaves_nothing_and_the_same_act_is_then_done_once() {
    let effects: [Deed; 4] = [
        ("an indicator", || published(Kind::Indicator, 1), PUBLISHING),
        // Alerts are written in another lane than indicators, and 70 records fill several packs.
        (
            "70 indicators",
            || published(Kind::Indicator, 70),
            PUBLISHING,
        ),
        ("an alert", || published(Kind::Alert, 1), PUBLISHING),
        ("a stop", fact, &["INSERT ON trust_fact"]),
    ];
    let of_all = [
        "INSERT ON act",
        "UPDATE OF answer ON act",
        "INSERT ON row_seal",
        "INSERT ON leaf",
        "INSERT ON seal_root",
    ];
    for (what, effects, own) in effects {
        for fault in of_all.iter().chain(own) {
            let told = format!("{what}, {fault}");
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::create(folder.path(), &key()).unwrap();
            let job = || std::iter::once(act()).chain(effects()).collect();
            store.write_side().fail(fault);
            match store.commit(job()) {
                Err(StoreError::Database { .. }) => {}
                other => panic!("{told}: {other:?}"),
            }
            store.write_side().mend();
            assert_eq!(store.log_end().unwrap(), 0, "{told}");
            assert_eq!(store.acts(None, 9).unwrap(), [], "{told}");
            assert_eq!(store.facts().unwrap(), [], "{told}");
            assert!(!store.act_seen(&statement(ACT)).unwrap(), "{told}");
            let written: Vec<Written> = store.commit(job()).unwrap();
            let end = store.log_end().unwrap();
            assert!(
                matches!(store.commit(job()), Err(StoreError::Replayed)),
                "{told}"
            );
            assert_eq!(store.log_end().unwrap(), end, "{told}");
            let answer = store.act_answer(&statement(ACT)).unwrap();
            let answer = String::from_utf8(answer.unwrap()).unwrap();
            assert_eq!(answer, format!("{} results", written.len()), "{told}");
            let ends: Vec<_> = store.acts(None, 9).unwrap();
            assert_eq!(ends.len(), 1, "{told}");
            assert_eq!(ends[0].outcome.as_deref(), Some("done"), "{told}");
            // What was taken back was taken out of the sums as well.
            drop(store);
            let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
            let mut part = 0;
            while store.scrub(part).unwrap().is_some() {
                part += 1;
            }
            assert_eq!(store.damaged(), [], "{told}");
        }
    }
}

/// An import ended in a commit of its own: cut before that, all of it was done and its act said that it
/// was not.
#[test]
fn a_fault_at_any_statement_of_an_imports_last_commit_leaves_its_act_open() {
    let begun = || {
        Write::Act(Act {
            action: "import-consignments".to_owned(),
            person: "ada".to_owned(),
            uid: None,
            at: at(0),
            statement: Some(statement(ACT)),
            concerns: String::new(),
            enrols: None,
            effects: Effects::Following,
        })
    };
    let last = || {
        let row = ConsignmentRow {
            reference: "last".to_owned(),
            at: at(0),
            arriving: true,
            body: b"a consignment".to_vec(),
            selectors: Vec::new(),
        };
        let ended = ActOutcome {
            statement: statement(ACT),
            outcome: Act::DONE.to_owned(),
            answer: Some(b"1 consignment".to_vec()),
        };
        vec![Write::Consignments(vec![row]), Write::ActOutcome(ended)]
    };
    for fault in ["INSERT ON consignment", "UPDATE OF answer ON act"] {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(folder.path(), &key()).unwrap();
        let arriving = || store.consignments(ConsignmentStage::Arriving).unwrap();
        store.commit(vec![begun()]).unwrap();
        store.write_side().fail(fault);
        match store.commit(last()) {
            Err(StoreError::Database { .. }) => {}
            other => panic!("{fault}: {other:?}"),
        }
        store.write_side().mend();
        assert_eq!(arriving().len(), 0, "{fault}");
        assert!(!store.act_seen(&statement(ACT)).unwrap(), "{fault}");
        // The same act goes on where it was cut.
        store.commit(vec![begun()]).unwrap();
        store.commit(last()).unwrap();
        assert_eq!(arriving().len(), 1, "{fault}");
        let answer = store.act_answer(&statement(ACT)).unwrap();
        assert_eq!(answer.as_deref(), Some(b"1 consignment".as_slice()));
        assert!(matches!(
            store.commit(vec![begun()]),
            Err(StoreError::Replayed)
        ));
    }
}
