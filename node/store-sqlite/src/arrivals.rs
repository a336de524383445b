//! Reads of what peers delivered, with the answers to it.
//!
//! A delivery that added to the record log stands in its pack's directory; the answer to any other
//! has a row of its own.

use std::collections::BTreeSet;

use portcullis_protocol::{
    frame::{Answer, Outcome},
    record::{Form, RecordId},
    time::Timestamp,
};
use portcullis_store::ArrivalRow;

use super::{
    decode::{named, node, unreadable},
    error::SqlError,
    interned::DecisionReader,
    pack::{Directory, id_at, pack_of},
    view::DatabaseView,
};

/// The columns of an arrival, up to the clauses that choose the rows.
macro_rules! arrival_rows {
    ($rest:literal) => {
        concat!(
            "SELECT record, peer, form, outcome, reason, decision, at FROM arrival ",
            $rest
        )
    };
}

/// Reader of deliveries.
pub(super) struct ArrivalReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> ArrivalReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, SqlError> {
        let mut decisions = DecisionReader::of(self.view);
        let mut arrivals = match record {
            None => {
                let mut all = self.admissions("", 0, &mut decisions)?;
                all.extend(self.single_arrivals(
                    arrival_rows!("WHERE ?1 = 0"),
                    0,
                    &mut decisions,
                )?);
                all
            }
            Some(id) => match self.view.number(id)? {
                None => Vec::new(),
                Some(number) => self.arrivals_of(number, &mut decisions)?,
            },
        };
        arrivals.sort_by(|one, other| {
            let key = |row: &ArrivalRow| (row.at, row.answer.record);
            let last = |row: &ArrivalRow| row.answer.form.bits();
            (key(one), &one.peer, last(one)).cmp(&(key(other), &other.peer, last(other)))
        });
        Ok(arrivals)
    }

    fn arrivals_of(
        &self,
        number: i64,
        decisions: &mut DecisionReader<'_>,
    ) -> Result<Vec<ArrivalRow>, SqlError> {
        let mut found =
            self.single_arrivals(arrival_rows!("WHERE record = ?1"), number, decisions)?;
        // Two places of the record can be in one pack.
        let packs: BTreeSet<i64> = self.view.places(number)?.into_iter().map(pack_of).collect();
        for pack in packs {
            let mut of_pack = self.admissions("AND n = ?1", pack, decisions)?;
            let id = self.view.ledger_id(number)?;
            of_pack.retain(|row| row.answer.record == id);
            found.extend(of_pack);
        }
        Ok(found)
    }

    fn single_arrivals(
        &self,
        sql: &str,
        number: i64,
        decisions: &mut DecisionReader<'_>,
    ) -> Result<Vec<ArrivalRow>, SqlError> {
        let rows = self.view.rows(sql, [number], |row| {
            Ok((
                (row.get::<_, i64>(0)?, row.get::<_, String>(1)?),
                (row.get::<_, i64>(2)?, row.get::<_, String>(3)?),
                row.get(4)?,
                (row.get::<_, i64>(5)?, row.get(6)?),
            ))
        })?;
        rows.into_iter()
            .map(
                |((number, peer), (form, outcome), reason, (decision, at))| {
                    Ok(ArrivalRow {
                        peer: node(&peer)?,
                        answer: Answer {
                            record: self.view.ledger_id(number)?,
                            form: Form::from_bits(form.cast_unsigned()),
                            outcome: named(&outcome)?,
                            reason,
                        },
                        note: decisions.note(decision)?,
                        at: Timestamp::from_millis(at),
                    })
                },
            )
            .collect()
    }

    /// Returns the deliveries that added to the record log, as the packs hold them.
    fn admissions(
        &self,
        chosen: &str,
        pack: i64,
        decisions: &mut DecisionReader<'_>,
    ) -> Result<Vec<ArrivalRow>, SqlError> {
        let sql = format!(
            "SELECT extends, source, received_at, ids, directory FROM pack
             WHERE source IS NOT NULL AND ?1 = ?1 {chosen}"
        );
        let rows = self.view.rows(&sql, [pack], |row| {
            Ok((
                (row.get::<_, bool>(0)?, row.get::<_, String>(1)?),
                row.get(2)?,
                (row.get::<_, Vec<u8>>(3)?, row.get::<_, Vec<u8>>(4)?),
            ))
        })?;
        let mut found = Vec::new();
        for ((extends, source), at, (ids, directory)) in rows {
            let directory = Directory::read(&directory)?;
            let outcome = if extends {
                Outcome::Extended
            } else {
                Outcome::Accepted
            };
            for slot in 0..directory.forms.len() {
                let delivered = directory.delivered(slot);
                let id = id_at(&ids, slot);
                let (Some((form, decision)), Some(record)) = (delivered, id) else {
                    return Err(unreadable("a pack's directory"));
                };
                found.push(ArrivalRow {
                    peer: node(&source)?,
                    answer: Answer {
                        record,
                        form,
                        outcome,
                        reason: None,
                    },
                    note: decisions.note(decision)?,
                    at: Timestamp::from_millis(at),
                });
            }
        }
        Ok(found)
    }
}
