//! Repairs of the differences that comparing channels found.
//!
//! A record that a peer lost is retried as an exception, and so decided on anew by policy. Its row
//! in the ledger stays as it was answered, because the ledger keeps every disclosure. A disclosure
//! that the ledger lost gets a new row that says how it was learned. A record that either side
//! withdrew, or that is past its date of deletion, is not sent.

use std::collections::{BTreeMap, btree_map};

use portcullis_protocol::{
    frame::{Generation, Lane},
    identifiers::NodeId,
    reconcile::Entry,
    record::RecordId,
    time::Timestamp,
};
use portcullis_store::{
    DecisionNote, DisclosureState, Found, GiveBack, LedgerEntry, NodeEvent, ReconciliationRow,
    Repair, StoreError,
};

use super::{
    decode::{named, node, unreadable, unsigned},
    differences::{Difference, DifferenceWriter},
    disclosure::Posting,
    error::SqlError,
    events::EventWriter,
    exceptions::ExceptionWriter,
    ledger::LedgerWriter,
    pack::{Directory, Head, header_of, heads, pack_of, slot_of},
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// Policy name in a ledger row for a disclosure that the peer reported.
const LEARNED: &str = "reconciled";
/// Policy name in a ledger row for a record that was given back to the authority that made it.
const GIVEN_BACK: &str = "given-back";
/// Most records of which a peer may say that it withdrew them.
const MAX_WITHDRAWN: i64 = 65_536;
/// Kind of the event that reports the result of comparing channels.
const RECONCILED: &str = "reconciled";

/// Returns a ledger entry that no policy decided, with `why` in place of a policy.
fn said(why: &str, entry: &Entry) -> LedgerEntry {
    LedgerEntry {
        sequence: None,
        record: entry.id,
        form: entry.form,
        withheld: 0,
        note: DecisionNote {
            policies: vec![why.to_owned()],
            bundle: None,
        },
    }
}

/// Heads of the entries of the packs that a repair read, each pack once.
type Heads = BTreeMap<i64, Vec<Option<Head>>>;

/// Writer of repairs and of what comparing a channel found.
pub(super) struct ReconciliationWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> ReconciliationWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Carries out a repair.
    pub(super) fn repair(&mut self, repair: &Repair) -> Result<(), SqlError> {
        let Repair {
            peer,
            at,
            owed,
            learned,
            withdrawn,
        } = repair;
        let mut packs = BTreeMap::new();
        for id in owed {
            self.owe(peer, id, *at, &mut packs)?;
        }
        for entry in learned {
            self.learn(peer, entry, *at)?;
        }
        for id in withdrawn {
            self.note_withdrawn(peer, id, *at)?;
        }
        Ok(())
    }

    /// Schedules a record that the peer lost to be sent again, unless it was withdrawn or is past its
    /// date of deletion.
    fn owe(
        &mut self,
        peer: &NodeId,
        id: &RecordId,
        at: Timestamp,
        packs: &mut Heads,
    ) -> Result<(), SqlError> {
        let Some(number) = self.tx.number(id)? else {
            return Ok(());
        };
        if self.tx.is_withdrawn(number)?
            || DifferenceWriter::of(self.tx)
                .difference(peer, number)?
                .is_some()
        {
            return Ok(());
        }
        let Some(lane) = self.lane_of(number)? else {
            return DifferenceWriter::of(self.tx).note(peer, number, Difference::Gone, at);
        };
        let delete_at = self.delete_at(number, packs)?;
        if delete_at.is_some_and(|end| end <= at) {
            return DifferenceWriter::of(self.tx).note(peer, number, Difference::Gone, at);
        }
        DifferenceWriter::of(self.tx).note(peer, number, Difference::Owed, at)?;
        let posting = Posting {
            peer,
            lane,
            now: at,
        };
        ExceptionWriter::of(self.tx).owe(posting, number, delete_at)
    }

    /// Returns the date of deletion of a record that is held. One that does not open has none here:
    /// whoever sends it reads it again.
    fn delete_at(&self, number: i64, packs: &mut Heads) -> Result<Option<Timestamp>, SqlError> {
        let Some(place) = self.tx.places(number)?.first().copied() else {
            return Ok(None);
        };
        let entries = match packs.entry(pack_of(place)) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(new) => {
                let read = self.heads(*new.key())?;
                new.insert(read)
            }
        };
        let Some(Some(head)) = entries.get(slot_of(place)) else {
            return Ok(None);
        };
        match head.header(self.tx.vault()) {
            Ok(header) => Ok(header_of(header).and_then(|header| header.marking.delete_at)),
            Err(SqlError::Store(StoreError::Damaged(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a pack, whose body is long, and returns the heads of its entries. A damaged pack has none.
    fn heads(&self, n: i64) -> Result<Vec<Option<Head>>, SqlError> {
        let row = self.tx.first(
            "SELECT ids, directory, body FROM pack WHERE n = ?1",
            [n],
            |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                ))
            },
        )?;
        let Some((ids, directory, body)) = row else {
            return Ok(Vec::new());
        };
        let directory = Directory::read(&directory).unwrap_or_default();
        Ok(heads(&ids, &directory, &body))
    }

    /// Returns the lane of a record that is held.
    fn lane_of(&self, number: i64) -> Result<Option<Lane>, SqlError> {
        let Some(place) = self.tx.places(number)?.first().copied() else {
            return Ok(None);
        };
        let lane = self.tx.first(
            "SELECT lane FROM pack WHERE n = ?1",
            [pack_of(place)],
            |row| row.get::<_, String>(0),
        )?;
        lane.map(|lane| named(&lane)).transpose()
    }

    /// Enters a disclosure that the peer reported into the ledger. A disclosure that the ledger
    /// holds in any state stays as it is: its own receipt is on its way, or was there.
    fn learn(&mut self, peer: &NodeId, entry: &Entry, at: Timestamp) -> Result<(), SqlError> {
        let number = self.tx.known(&entry.id)?;
        match DifferenceWriter::of(self.tx).difference(peer, number)? {
            Some(Difference::Withdrawn) => return Ok(()),
            Some(Difference::Owed | Difference::Gone) => {
                DifferenceWriter::of(self.tx).forget(peer, number)?
            }
            None => {}
        }
        if entry.is_withdrawn() || LedgerWriter::of(self.tx).tells_of(number, peer, entry.form)? {
            return Ok(());
        }
        let posting = Posting {
            peer,
            lane: Lane::Bulk,
            now: at,
        };
        LedgerWriter::of(self.tx).learn(posting, number, &said(LEARNED, entry))
    }

    /// Enters records that are about to be given back to the authority that made them. No receipt
    /// follows, so that they stay as intended. An entry that is there already is not made again.
    pub(super) fn give_back(&mut self, back: &GiveBack) -> Result<(), SqlError> {
        let GiveBack { peer, at, given } = back;
        let posting = Posting {
            peer,
            lane: Lane::Bulk,
            now: *at,
        };
        for entry in given {
            let Some(number) = self.tx.number(&entry.id)? else {
                continue;
            };
            if !LedgerWriter::of(self.tx).tells_of(number, peer, entry.form)? {
                let said = said(GIVEN_BACK, entry);
                LedgerWriter::of(self.tx).decide(
                    posting,
                    number,
                    &said,
                    DisclosureState::Intended,
                )?;
            }
        }
        Ok(())
    }

    fn note_withdrawn(
        &mut self,
        peer: &NodeId,
        id: &RecordId,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let noted = self.tx.count(
            "SELECT count(*) FROM channel_note WHERE peer = ?1 AND what = 'withdrawn'",
            [peer.as_str()],
        )?;
        if noted >= MAX_WITHDRAWN {
            return Ok(());
        }
        let number = self.tx.known(id)?;
        DifferenceWriter::of(self.tx).note(peer, number, Difference::Withdrawn, at)?;
        for lane in Lane::ALL {
            let posting = Posting {
                peer,
                lane: *lane,
                now: at,
            };
            ExceptionWriter::of(self.tx).end(posting, number)?;
        }
        Ok(())
    }

    /// Notes that the channel to a peer was compared.
    pub(super) fn reconciled(&self, row: &ReconciliationRow) -> Result<(), SqlError> {
        let ReconciliationRow {
            peer,
            own,
            theirs,
            at,
            found,
        } = row;
        self.tx.run(
            "INSERT OR REPLACE INTO reconciled
                 (peer, own, theirs, at, owed, learned, withdrawn, recovered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                peer.as_str(),
                own.as_bytes(),
                theirs.as_bytes(),
                at.as_millis(),
                found.owed.cast_signed(),
                found.learned.cast_signed(),
                found.withdrawn.cast_signed(),
                found.recovered.cast_signed(),
            ),
        )?;
        if found.is_nothing() {
            return Ok(());
        }
        EventWriter::of(self.tx).event(&NodeEvent {
            at: *at,
            kind: RECONCILED.to_owned(),
            peer: Some(peer.clone()),
            detail: found.to_string(),
        })
    }
}

/// Reader of what comparing channels found.
pub(super) struct ReconciliationReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> ReconciliationReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Counts the rows of the ledger that were learned from this peer. Such rows never stand in
    /// `sent`.
    pub(super) fn learned(&self, peer: &NodeId) -> Result<u64, SqlError> {
        let count = self.view.first(
            "SELECT count(*) FROM disclosure WHERE peer = ?1 AND decision IN
                 (SELECT n FROM decision WHERE policies = ?2)",
            (
                peer.as_str(),
                serde_json::Value::from([LEARNED]).to_string(),
            ),
            |row| row.get(0),
        )?;
        unsigned(count.unwrap_or(0))
    }

    pub(super) fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, SqlError> {
        let rows = self.view.rows(
            "SELECT peer, own, theirs, at, owed, learned, withdrawn, recovered FROM reconciled
             ORDER BY peer",
            [],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    (row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?),
                    row.get::<_, i64>(3)?,
                    (row.get::<_, i64>(4)?, row.get::<_, i64>(5)?),
                    (row.get::<_, i64>(6)?, row.get::<_, i64>(7)?),
                ))
            },
        )?;
        rows.into_iter()
            .map(
                |(peer, (own, theirs), at, (owed, learned), (withdrawn, recovered))| {
                    Ok(ReconciliationRow {
                        peer: node(&peer)?,
                        own: generation(&own)?,
                        theirs: generation(&theirs)?,
                        at: Timestamp::from_millis(at),
                        found: Found {
                            owed: unsigned(owed)?,
                            learned: unsigned(learned)?,
                            withdrawn: unsigned(withdrawn)?,
                            recovered: unsigned(recovered)?,
                        },
                    })
                },
            )
            .collect()
    }
}

fn generation(bytes: &[u8]) -> Result<Generation, SqlError> {
    bytes
        .try_into()
        .map(Generation::from_bytes)
        .map_err(|_| unreadable("a generation"))
}
