//! Import of a file into the store: one thread reads and another writes, and between them stand a few pieces.
//!
//! ```text
//! file ── looked at whole ── read again ──▶ pieces of rows ──▶ writer, one commit a piece
//!         [`CheckedFile`]                   (at most two wait)      the last one with the act's end
//! ```
//!
//! Nothing is written before the whole file was looked at. A node that ends between two pieces keeps those that
//! are written, and the act has no end: the file comes again, and a consignment that exists is replaced. Memory
//! holds the file's text and a few pieces, whatever the number of its rows.

use std::sync::Arc;

use portcullis_admin_api::v1::score::{ImportedView, SkippedView};
use portcullis_scoring::consignment::Consignment;
use portcullis_store::{ConsignmentRow, ConsignmentStage, Write, writer::Priority};
use tokio::sync::mpsc;

use crate::{Desk, DeskError, Import, closing::KnownAs, encoding, import::CheckedFile};

/// Consignments that become durable together with the end of an import.
const LAST_ROWS: usize = 32;

/// Consignments of a piece.
const ROWS_A_PIECE: usize = 4_000;

/// Pieces that wait for the writer.
const WAITING_PIECES: usize = 1;

/// Progress of an import, in consignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Number that was looked at.
    pub checked: u64,
    /// Number that is durable.
    pub written: u64,
}

/// Reader of a file that gives pieces of it to the writer.
struct Pieces<'d> {
    desk: &'d Desk,
    stage: ConsignmentStage,
    rows: Vec<ConsignmentRow>,
    to: mpsc::Sender<Vec<ConsignmentRow>>,
    view: ImportedView,
}

impl Pieces<'_> {
    /// Takes a consignment up, unless a person closed it.
    fn take(&mut self, consignment: &Consignment) -> Result<(), DeskError> {
        match self.desk.known_as(consignment.id())? {
            KnownAs::Closed => {
                self.view.closed += 1;
                return Ok(());
            }
            KnownAs::Open => self.view.replaced += 1,
            KnownAs::Nothing => {}
        }
        self.view.consignments += 1;
        self.view.controlled += u64::from(consignment.finding().is_some());
        for identifier in consignment.identifiers() {
            self.view.generated += u64::from(identifier.generated);
            self.view.unchecked += u64::from(identifier.unchecked);
        }
        self.rows.push(encoding::row(consignment, self.stage));
        if self.rows.len() == ROWS_A_PIECE {
            self.give()?;
        }
        Ok(())
    }

    /// Gives a piece to the writer. It waits while enough others do.
    fn give(&mut self) -> Result<(), DeskError> {
        let piece = std::mem::take(&mut self.rows);
        self.to
            .blocking_send(piece)
            .map_err(|_| DeskError::CutShort)
    }
}

impl Desk {
    /// Imports a file. It is looked at whole before anything is kept, and becomes durable in pieces: an
    /// import that was cut short goes on when it comes again, for a consignment that exists already
    /// is replaced. One that a person closed is left as it is.
    ///
    /// # Errors
    ///
    /// [`DeskError::Import`], which names the line; [`DeskError::Store`].
    pub async fn import(self: &Arc<Self>, import: Import) -> Result<ImportedView, DeskError> {
        self.import_with(import, |_| Vec::new()).await
    }

    /// Returns the progress of the import under way, or of the last one.
    #[must_use]
    pub fn importing(&self) -> ImportProgress {
        *self.importing.borrow()
    }

    /// [`Desk::import`], whose last consignments are one commit with the writes that `beside` makes of
    /// what is imported: the end of the act that orders it.
    ///
    /// # Errors
    ///
    /// [`DeskError`].
    pub async fn import_with(
        self: &Arc<Self>,
        import: Import,
        beside: impl FnOnce(&ImportedView) -> Vec<Write> + Send,
    ) -> Result<ImportedView, DeskError> {
        let _alone = self.replacing.lock().await;
        self.importing.send_replace(ImportProgress::default());
        let (to, from) = mpsc::channel(WAITING_PIECES);
        let reading = self.apart(move |desk| desk.read_pieces(import, to));
        let imported = async {
            // A failed write ends the reading, and is the error that is told.
            let (mut last, view) = tokio::try_join!(self.write_pieces(from), reading)?;
            let end = last.split_off(last.len().saturating_sub(LAST_ROWS));
            self.keep_rows(last).await?;
            let mut writes = vec![Write::Consignments(end)];
            writes.extend(beside(&view));
            self.kernel.commit(Priority::Bulk, writes).await?;
            Ok(view)
        }
        .await;
        // Pieces may have become durable before one failed: what is there is scored.
        self.changed();
        imported
    }

    fn read_pieces(
        &self,
        import: Import,
        to: mpsc::Sender<Vec<ConsignmentRow>>,
    ) -> Result<ImportedView, DeskError> {
        let Import {
            file,
            stage,
            instructions,
        } = import;
        let setup = self.setup();
        let checked = CheckedFile::of(&setup.schema, &file, &instructions, &|rows| {
            self.importing
                .send_modify(|progress| progress.checked = rows);
        })?;
        // The text that was made of it is enough.
        drop(file);
        // Goods that arrive and are brought as history leave the ranking, and nobody controls them.
        let (consignments, controlled) = checked.counts();
        if stage == ConsignmentStage::History && controlled == 0 {
            return Err(DeskError::NoResults(consignments));
        }
        let skipped = checked.skipped().iter().map(|row| SkippedView {
            line: row.line,
            why: row.why.clone(),
        });
        let mut pieces = Pieces {
            desk: self,
            stage,
            rows: Vec::new(),
            to,
            view: ImportedView {
                version: 1,
                consignments: 0,
                controlled: 0,
                generated: 0,
                unchecked: 0,
                read_as: checked.read_as(),
                closed: 0,
                replaced: 0,
                skipped: skipped.collect(),
            },
        };
        checked.each(|consignment| pieces.take(&consignment))?;
        pieces.give()?;
        Ok(pieces.view)
    }

    /// Writes the pieces as they come, and returns the last one, which is not written.
    async fn write_pieces(
        &self,
        mut from: mpsc::Receiver<Vec<ConsignmentRow>>,
    ) -> Result<Vec<ConsignmentRow>, DeskError> {
        let mut last = Vec::new();
        while let Some(next) = from.recv().await {
            self.keep_rows(std::mem::replace(&mut last, next)).await?;
        }
        Ok(last)
    }

    async fn keep_rows(&self, rows: Vec<ConsignmentRow>) -> Result<(), DeskError> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len() as u64;
        let write = vec![Write::Consignments(rows)];
        self.kernel.commit(Priority::Bulk, write).await?;
        self.importing
            .send_modify(|progress| progress.written += count);
        Ok(())
    }
}
