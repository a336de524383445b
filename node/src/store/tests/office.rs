//! What every engine has to hold, second part: registers, persons, acts, consignments, scores.

use super::conformance::claims;
use crate::store::Store;

claims![an_empty_store_answers_every_question];

fn an_empty_store_answers_every_question(store: &dyn Store) {
    assert_eq!(store.log_end().unwrap(), 0);
    assert!(store.registers().unwrap().is_empty());
    assert!(store.persons().unwrap().is_empty());
    assert!(store.events(9).unwrap().is_empty());
    assert!(store.scores(9).unwrap().is_empty());
    assert!(store.held_items().unwrap().is_empty());
    assert_eq!(store.score("x").unwrap(), None);
    assert_eq!(store.consignment("x").unwrap(), None);
}
