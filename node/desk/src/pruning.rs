//! Removal of consignments that are kept no longer, with their scores.
//!
//! The keys of what is removed are destroyed, so that no copy of the disk but a backup brings it back. Removal
//! goes by pages: alerts pass between them. One that is cut short goes on when the act comes again.

use std::sync::Arc;

use portcullis_admin_api::v1::consignment::PrunedView;
use portcullis_store::{ConsignmentPlace, ConsignmentsOf, Write, writer::Priority};

use crate::{Desk, DeskError};

impl Desk {
    /// Removes the chosen consignments with their scores. The last of them are one commit with the writes
    /// that `beside` makes of their number: the end of the act that orders it.
    ///
    /// # Errors
    ///
    /// [`DeskError::Store`].
    pub async fn prune_with(
        self: &Arc<Self>,
        of: ConsignmentsOf,
        beside: impl FnOnce(&PrunedView) -> Vec<Write> + Send,
    ) -> Result<PrunedView, DeskError> {
        let _alone = self.replacing.lock().await;
        let removed = self.prune_pages(of, beside).await;
        // Own controls may be among them, on which scores rest.
        self.changed();
        removed
    }

    async fn prune_pages(
        self: &Arc<Self>,
        of: ConsignmentsOf,
        beside: impl FnOnce(&PrunedView) -> Vec<Write> + Send,
    ) -> Result<PrunedView, DeskError> {
        let mut consignments = 0;
        let mut place = ConsignmentPlace::default();
        loop {
            let page = self
                .apart(move |desk| Ok(desk.kernel.store().consignment_references(&of, place)?))
                .await?;
            consignments += page.references.len() as u64;
            let mut writes = vec![Write::RemoveConsignments(page.references)];
            let Some(next) = page.next else {
                let view = PrunedView {
                    version: 1,
                    consignments,
                };
                writes.extend(beside(&view));
                self.kernel.commit(Priority::Bulk, writes).await?;
                return Ok(view);
            };
            self.kernel.commit(Priority::Bulk, writes).await?;
            place = next;
        }
    }
}
