//! Consignments as people look at them and close them with the result of a control.
//!
//! A consignment that is closed becomes history, as if a file had brought its result: it counts as an own
//! control from then on, waits for no score, and leaves the ranking. Its last score stays for who asks for
//! closed ones. A file that brings it again changes nothing of it: what a person closed is corrected by
//! name, in an act of its own.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_admin_api::v1::{
    consignment::{ClosedView, ConsignmentLine, ConsignmentView, ConsignmentsView, FieldView},
    score::{ClosingView, RankedView},
};
use portcullis_protocol::{body::SelectorKind, time::Timestamp};
use portcullis_store::{
    ConsignmentRow, ConsignmentStage, ConsignmentsOf, StoreError, Write, writer::Priority,
};

use crate::{
    Desk, DeskError,
    encoding::{self, Closing, ControlResult},
    view,
};

/// Request to close a consignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The consignment's reference.
    pub reference: String,
    /// The result.
    pub result: ControlResult,
    /// Note of the person; empty for none.
    pub note: String,
    /// Treatment of a result that is known already.
    pub known: KnownResult,
}

/// Treatment of a result that is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownResult {
    /// It stays, and the request is refused.
    Stays,
    /// The request corrects it.
    IsCorrected,
}

/// Standing of a consignment that a file brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownAs {
    /// It is not known.
    Nothing,
    /// The file replaces it.
    Open,
    /// A person closed it, and it stays.
    Closed,
}

impl Close {
    /// Returns the row of the closed consignment.
    ///
    /// # Errors
    ///
    /// [`DeskError::IsClosed`] if its result is known and stays; [`DeskError::NeedsResult`] if the schema
    /// takes no consignment without one.
    fn close(
        &self,
        desk: &Desk,
        row: &ConsignmentRow,
        closing: &Closing,
    ) -> Result<ConsignmentRow, DeskError> {
        let reference = || self.reference.clone();
        if !row.arriving && self.known == KnownResult::Stays {
            let how = match encoding::closing(&row.body)? {
                Some(known) => format!(
                    "closed with `{}` by `{}` at {}",
                    known.result.name(),
                    known.by,
                    known.at
                ),
                None => "history that was imported".to_owned(),
            };
            return Err(DeskError::IsClosed {
                reference: reference(),
                how,
            });
        }
        let setup = desk.setup();
        let closed = setup
            .read(row)?
            .with_finding(&setup.schema, self.result.finding())
            .ok_or_else(|| DeskError::NeedsResult(reference()))?;
        Ok(encoding::closed_row(&closed, closing))
    }
}

impl Desk {
    /// Closes a consignment, in one commit with the writes that `beside` makes: the act that orders it.
    ///
    /// # Errors
    ///
    /// [`DeskError::UnknownConsignment`], [`DeskError::IsClosed`], [`DeskError::NeedsResult`];
    /// [`DeskError::Store`].
    pub async fn close_with(
        self: &Arc<Self>,
        close: Close,
        by: &str,
        beside: impl FnOnce(&ClosedView) -> Vec<Write> + Send,
    ) -> Result<ClosedView, DeskError> {
        // What is read stays true until it is written.
        let _alone = self.replacing.lock().await;
        let closing = Closing {
            result: close.result,
            at: self.kernel.now(),
            by: by.to_owned(),
            note: close.note.clone(),
        };
        let view = ClosedView {
            version: 1,
            reference: close.reference.clone(),
            closing: shown(&closing),
        };
        let row = self
            .apart(move |desk| {
                let row = desk.known(&close.reference)?;
                close.close(desk, &row, &closing)
            })
            .await?;
        let mut writes = vec![Write::Consignments(vec![row])];
        writes.extend(beside(&view));
        self.kernel.commit(Priority::Urgent, writes).await?;
        self.changed();
        Ok(view)
    }

    /// Returns the chosen consignments by their scores, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`DeskError::Store`].
    pub async fn list(
        self: &Arc<Self>,
        of: ConsignmentsOf,
        about: Option<Vec<(SelectorKind, String)>>,
        limit: u32,
    ) -> Result<ConsignmentsView, DeskError> {
        self.apart(move |desk| match about {
            Some(about) => desk.listed_about(&of, &about, limit),
            None => desk.listed(&of, limit),
        })
        .await
    }

    fn listed(&self, of: &ConsignmentsOf, limit: u32) -> Result<ConsignmentsView, DeskError> {
        let store = self.kernel.store();
        let ranking = store.consignment_ranking(of, limit)?;
        let mut items = Vec::with_capacity(ranking.listed.len());
        for one in &ranking.listed {
            if let Some(row) = store.consignment(&one.reference)? {
                items.push(self.line(&row)?.0);
            }
        }
        Ok(ConsignmentsView {
            items,
            total: ranking.total,
            read_as: Vec::new(),
            elsewhere: 0,
        })
    }

    fn listed_about(
        &self,
        of: &ConsignmentsOf,
        about: &[(SelectorKind, String)],
        limit: u32,
    ) -> Result<ConsignmentsView, DeskError> {
        let everything = ConsignmentsOf { stage: None, ..*of };
        let all = self.about(&everything, about)?;
        let (rows, elsewhere): (Vec<_>, Vec<_>) =
            all.iter().partition(|row| of.takes(row.arriving, row.at));
        let mut items = rows
            .into_iter()
            .map(|row| Ok(self.line(row)?.0))
            .collect::<Result<Vec<_>, DeskError>>()?;
        let rank = |line: &ConsignmentLine| line.points.unwrap_or(f64::NEG_INFINITY);
        items.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
        let (total, elsewhere) = (items.len() as u64, elsewhere.len() as u64);
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ConsignmentsView {
            items,
            total,
            read_as: about
                .iter()
                .map(|(kind, value)| format!("{kind} {value}"))
                .collect(),
            elsewhere,
        })
    }

    /// Returns the chosen consignments with one of these identifiers, ascending by reference. Arriving
    /// ones are indexed; the others are opened one after the other.
    fn about(
        &self,
        of: &ConsignmentsOf,
        about: &[(SelectorKind, String)],
    ) -> Result<Vec<ConsignmentRow>, DeskError> {
        let store = self.kernel.store();
        let mut rows = Vec::new();
        if of.stage != Some(ConsignmentStage::History) {
            for (kind, value) in about {
                rows.extend(store.consignments_with(*kind, value)?);
            }
        }
        let named = |row: &ConsignmentRow| row.selectors.iter().any(|one| about.contains(one));
        if of.stage != Some(ConsignmentStage::Arriving) {
            store.each_consignment(ConsignmentStage::History, &mut |row| {
                if named(&row) {
                    rows.push(row);
                }
            })?;
        }
        let mut seen = BTreeSet::new();
        rows.retain(|row| {
            named(row) && of.takes(row.arriving, row.at) && seen.insert(row.reference.clone())
        });
        rows.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(rows)
    }

    /// Returns a consignment whole.
    ///
    /// # Errors
    ///
    /// [`DeskError::UnknownConsignment`]; [`DeskError::Encoding`] if it does not fit the schema in use.
    pub async fn consignment(
        self: &Arc<Self>,
        reference: &str,
    ) -> Result<ConsignmentView, DeskError> {
        let reference = reference.to_owned();
        self.apart(move |desk| {
            let row = desk.known(&reference)?;
            let (line, score) = desk.line(&row)?;
            let setup = desk.setup();
            let consignment = setup.read(&row)?;
            let columns = setup.schema.fields().iter();
            let fields = columns.zip(consignment.values());
            Ok(ConsignmentView {
                version: 1,
                line,
                fields: fields
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(field, value)| FieldView {
                        column: field.column().to_owned(),
                        value: value.to_owned(),
                    })
                    .collect(),
                score,
            })
        })
        .await
    }

    /// Returns the consignments with the highest scores, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`DeskError::Store`].
    pub async fn top(
        self: &Arc<Self>,
        of: ConsignmentsOf,
        limit: u32,
    ) -> Result<(Vec<RankedView>, u64), DeskError> {
        self.apart(move |desk| {
            let store = desk.kernel.store();
            let ranking = store.consignment_ranking(&of, limit)?;
            let scored = ranking.listed.iter().filter(|one| one.points.is_some());
            let rows = scored
                .filter_map(|one| store.score(&one.reference).transpose())
                .collect::<Result<Vec<_>, StoreError>>()?;
            Ok((rows.iter().map(view::ranked).collect(), ranking.scored))
        })
        .await
    }

    /// Returns as what a consignment is known that a file brings. The file changes nothing of one that a person
    /// closed: its result is corrected by name or not at all.
    pub(super) fn known_as(&self, reference: &str) -> Result<KnownAs, DeskError> {
        let known = match self.kernel.store().consignment(reference) {
            Ok(Some(known)) => known,
            Ok(None) => return Ok(KnownAs::Nothing),
            // What is damaged, or does not fit, is replaced by what its file says.
            Err(StoreError::Damaged(_)) => return Ok(KnownAs::Open),
            Err(error) => return Err(error.into()),
        };
        Ok(match encoding::closing(&known.body) {
            Ok(Some(_)) => KnownAs::Closed,
            Ok(None) | Err(_) => KnownAs::Open,
        })
    }

    fn known(&self, reference: &str) -> Result<ConsignmentRow, DeskError> {
        let row = self.kernel.store().consignment(reference)?;
        row.ok_or_else(|| DeskError::UnknownConsignment(reference.to_owned()))
    }

    fn line(
        &self,
        row: &ConsignmentRow,
    ) -> Result<(ConsignmentLine, Option<RankedView>), DeskError> {
        let score = self.kernel.store().score(&row.reference)?;
        let score = score.as_ref().map(view::ranked);
        let day = day(row.at);
        let stage = if row.arriving { "arriving" } else { "closed" };
        let line = ConsignmentLine {
            reference: row.reference.clone(),
            day,
            stage: stage.to_owned(),
            points: score.as_ref().map(|score| score.points),
            control: score.as_ref().map(|score| score.control.clone()),
            closing: encoding::closing(&row.body)?.as_ref().map(shown),
            identifiers: row
                .selectors
                .iter()
                .map(|(kind, value)| format!("{kind} {value}"))
                .collect(),
        };
        Ok((line, score))
    }
}

/// Length of a day in a time, in characters.
const DAY: usize = 10;

/// Returns the day of a time as a file has it.
fn day(at: Timestamp) -> String {
    // The last day of the calendar stands for a day that is not known, and its point lies before it.
    if at == Timestamp::LAST {
        return "9999-12-31".to_owned();
    }
    at.to_string().chars().take(DAY).collect()
}

/// Returns the view of a closing.
pub(crate) fn shown(closing: &Closing) -> ClosingView {
    ClosingView {
        result: closing.result.name().to_owned(),
        at: closing.at.to_string(),
        by: closing.by.clone(),
        note: closing.note.clone(),
    }
}
