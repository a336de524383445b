//! Loading of plans, page by page. No more records are opened than one frame takes, and no more
//! entries are looked at than it has places.
//!
//! The first page is small, because the size of the records is not known yet. Pages grow while the
//! records turn out to be small. Records due for another try are loaded only when nothing is on its
//! way.

use crate::dispatch::error::PlanError;
use portcullis_protocol::frame::Lane;

use super::{
    backfill,
    plan::{Draft, Footing, Plan, Planner},
};
use portcullis_store::{Relay, Store, ends_page};

/// Records of the first page.
const FIRST_PAGE: usize = 32;
/// Records of the largest page.
const LARGEST_PAGE: usize = 256;
/// Records tried again that one frame takes at most; the rest of the frame is for new records.
const MAX_RETRIED: u32 = 64;

/// Result of planning.
#[derive(Debug)]
pub enum Loaded {
    /// The plan, which may be empty.
    Planned(Box<Plan>),
    /// The footing belongs to a generation that is no longer in force.
    Outdated,
}

/// Plans what comes after `footing`; without one, what comes after the durable position.
///
/// # Errors
///
/// [`PlanError`].
pub fn plan(
    planner: Planner<'_>,
    store: &dyn Store,
    relay: Relay,
    footing: Option<Footing>,
) -> Result<Loaded, PlanError> {
    let (peer, lane, now) = (planner.peer, planner.lane, planner.now);
    let mut draft = match footing {
        Some(footing) if store.generation()? != footing.generation => return Ok(Loaded::Outdated),
        Some(footing) => planner.draft(footing),
        None => {
            let position = store.position(peer, lane)?;
            let mut draft = planner.draft(position.into());
            draft.retry(store.due(peer, lane, now, MAX_RETRIED)?);
            draft
        }
    };
    let mut page = FIRST_PAGE;
    while !draft.is_full() && draft.looked_at() < planner.most {
        let limit = page.min(planner.most - draft.looked_at());
        let entries = store.outbox(lane, relay, draft.cursor(), count(limit))?;
        let is_last = entries.len() < limit && !ends_page(&entries);
        let logged: Vec<_> = entries
            .iter()
            .map(|entry| (entry.sequence, entry.logged.id()))
            .collect();
        let earlier = store.disclosures_to(peer, &logged)?;
        draft.add(entries, earlier);
        if is_last {
            break;
        }
        page = next_page(page, &draft);
    }
    let next_due = match footing {
        Some(_) => None,
        None => {
            // Older records come after all new ones, and never in an urgent frame.
            if lane == Lane::Bulk && draft.found_nothing_new() {
                backfill::fill(&mut draft, planner, store, relay)?;
            }
            store.next_due(peer, lane, now)?
        }
    };
    Ok(Loaded::Planned(Box::new(draft.conclude(next_due)?)))
}

/// Returns the size of the next page: four times this one, limited by the frame's remaining room at
/// the average size of its records.
fn next_page(page: usize, draft: &Draft<'_>) -> usize {
    let each = draft.bytes() / draft.len().max(1);
    let room = draft.room() / each.max(1);
    (page * 4).min(LARGEST_PAGE).min(room.max(1))
}

fn count(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, sync::Arc};

    use portcullis_policy::{Bundle, Engine};
    use portcullis_protocol::{
        body::{Attachment, Body},
        frame::{Chain, Generation},
        identifiers::NodeId,
        keys::{KeyUse, SigningKey},
        seal::{Draft as Sealing, DraftSection},
    };

    use super::*;
    use portcullis_kernel::decide::Decider;
    use portcullis_store::{Backfill, Intend, NewGeneration, Write};
    use portcullis_store_sqlite::SqliteStore;
    use portcullis_testbed as testbed;
    use portcullis_testbed::NOW;

    /// Drafts that differ in their narrative.
    fn several(count: usize, like: &Sealing) -> Vec<Sealing> {
        let mut drafts = vec![like.clone(); count];
        for (number, draft) in drafts.iter_mut().enumerate() {
            draft.sections[2].body = Body::Narrative(format!("story {number}"));
        }
        drafts
    }

    /// Rotterdam with a store of its own, and antwerp to plan for.
    struct Office {
        store: SqliteStore,
        _folder: tempfile::TempDir,
        decider: Arc<Decider>,
        key: SigningKey,
        me: NodeId,
        peer: NodeId,
    }

    impl Office {
        fn new(drafts: Vec<Sealing>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = [3; 32];
            let store = SqliteStore::create(folder.path(), &key).unwrap();
            let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
            let own = "rotterdam".parse().unwrap();
            let decider = Arc::new(Decider::new(testbed::register(), engine, own).unwrap());
            let records = testbed::seal(1, drafts, 1)
                .iter()
                .map(|sealed| decider.verify_arriving(sealed, NOW).unwrap())
                .collect();
            let publish = Write::Publish { records, now: NOW };
            store.commit(vec![publish]).unwrap();
            Self {
                store,
                _folder: folder,
                decider,
                key: testbed::key(1, KeyUse::Hop),
                me: "rotterdam-1".parse().unwrap(),
                peer: "antwerp-1".parse().unwrap(),
            }
        }

        fn load(&self, footing: Option<Footing>) -> Loaded {
            let (authority, _) = self.decider.register().node(&self.peer).unwrap();
            let planner = Planner {
                decider: &self.decider,
                sender: &self.me,
                authority,
                peer: &self.peer,
                lane: Lane::Bulk,
                key: &self.key,
                now: NOW,
                most: portcullis_protocol::frame::MAX_ITEMS,
                spoken: portcullis_kernel::dialect::Spoken::default(),
            };
            plan(planner, &self.store, Relay::OwnOnly, footing).unwrap()
        }

        /// Returns the log number of the n-th record.
        fn place(&self, n: u32) -> u64 {
            let entries = self.store.outbox(Lane::Bulk, Relay::OwnOnly, 0, n).unwrap();
            entries.last().unwrap().sequence
        }

        #[track_caller]
        fn plan(&self, footing: Option<Footing>) -> Plan {
            match self.load(footing) {
                Loaded::Planned(plan) => *plan,
                Loaded::Outdated => panic!("no other generation was started"),
            }
        }
    }

    #[test]
    fn a_frame_takes_all_pages_of_the_log_and_the_next_goes_on_behind_it() {
        let office = Office::new(several(100, &testbed::indicator()));
        let first = office.plan(None);
        let frame = first.frame.as_ref().unwrap();
        assert_eq!(frame.frame().items().len(), 100);
        assert_eq!(first.settles, Some(office.place(100)));
        assert_eq!(first.next_sequence, 101);
        let behind = Footing {
            cursor: office.place(100),
            next_sequence: 101,
            ..first.footing
        };
        assert!(office.plan(Some(behind)).is_empty());
    }

    #[test]
    fn a_frame_ahead_claims_what_is_settled_and_no_more() {
        let office = Office::new(several(3, &testbed::indicator()));
        let footing = Footing {
            generation: office.store.generation().unwrap(),
            cursor: office.place(1),
            next_sequence: 50,
            settled_sequence: 40,
            chain: Chain::from_slice(&[7; 32]).unwrap(),
        };
        let plan = office.plan(Some(footing));
        let frame = plan.frame.unwrap();
        let head = frame.frame().head();
        assert_eq!((head.first_sequence, head.settled_sequence), (50, 40));
        assert_eq!(head.chain, footing.chain);
        assert_eq!(frame.frame().items().len(), 2);
    }

    /// A record so large that a frame takes only two.
    fn large() -> Sealing {
        let mut large = testbed::indicator();
        large.sections.push(DraftSection {
            body: Body::Attachments(vec![Attachment {
                name: "photo".to_owned(),
                media_type: "image/jpeg".to_owned(),
                content: vec![0; 1_500_000].into(),
            }]),
            stricter: None,
        });
        large
    }

    #[test]
    fn records_that_fill_a_frame_leave_the_rest_to_the_next() {
        let office = Office::new(several(5, &large()));
        let plan = office.plan(None);
        assert_eq!(plan.frame.unwrap().frame().items().len(), 2);
        assert_eq!(plan.settles, Some(office.place(2)));
    }

    /// Attack H3: thirty-two records of seven MiB were opened before a size was looked at.
    #[test]
    fn a_page_of_large_records_ends_before_it_fills_the_memory() {
        let office = Office::new(several(5, &large()));
        let page = |cursor| {
            office
                .store
                .outbox(Lane::Bulk, Relay::OwnOnly, cursor, 32)
                .unwrap()
        };
        let first = page(0);
        assert_eq!(first.len(), 3);
        assert!(ends_page(&first));
        let rest = page(first[2].sequence);
        assert_eq!(rest.len(), 2);
        assert!(!ends_page(&rest));
    }

    #[test]
    fn older_records_come_behind_all_that_is_new_and_slice_by_slice() {
        let office = Office::new(several(5, &large()));
        let meet = Write::Meet(vec![office.peer.clone()]);
        office.store.commit(vec![meet]).unwrap();
        assert!(office.plan(None).is_empty(), "a new peer begins at the end");
        let backfill = Write::Backfill(Backfill {
            peer: office.peer.clone(),
            since: NOW,
            until: NOW.plus_millis(1),
            now: NOW,
        });
        office.store.commit(vec![backfill]).unwrap();
        let plan = office.plan(None);
        let frame = plan.frame.as_ref().unwrap().frame();
        let filled = plan.filled.unwrap();
        assert_eq!(frame.items().len() as u64, filled.sent);
        assert_eq!((filled.sent, filled.ended), (2, false));
        assert_eq!(
            (plan.passes, plan.settles),
            (None, None),
            "the cursor stays"
        );
        assert_eq!(
            filled.next,
            office.place(u32::try_from(filled.sent).unwrap())
        );
        // Moves the range as the receipt of that frame would. The next slice begins behind it.
        let moves = |filled| {
            let intend = Write::Intend(Intend {
                peer: office.peer.clone(),
                lane: Lane::Bulk,
                now: NOW,
                generation: plan.footing.generation,
                first_sequence: None,
                entries: Vec::new(),
                cursor: None,
                filled: Some(filled),
                awaits: Vec::new(),
            });
            office.store.commit(vec![intend]).unwrap();
        };
        moves(filled);
        let mut sent = filled.sent;
        while let Some(filled) = office.plan(None).filled {
            sent += filled.sent;
            moves(filled);
        }
        assert_eq!(sent, 5);
        assert!(office.plan(None).is_empty());
    }

    #[test]
    fn nothing_is_planned_ahead_in_a_generation_that_has_ended() {
        let office = Office::new(vec![testbed::indicator()]);
        let footing = office.plan(None).footing;
        let new = NewGeneration {
            shown: None,
            instead_of: footing.generation,
            generation: Generation::from_bytes([9; 16]),
            at: NOW,
            why: "a test".to_owned(),
        };
        office
            .store
            .commit(vec![Write::StartGeneration(new)])
            .unwrap();
        assert!(matches!(office.load(Some(footing)), Loaded::Outdated));
        let plan = office.plan(None);
        assert_eq!(plan.footing.generation, Generation::from_bytes([9; 16]));
    }
}
