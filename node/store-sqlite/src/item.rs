//! An item that a peer delivered, with its sender.

use portcullis_protocol::{
    identifiers::NodeId,
    record::{Form, RecordId},
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::StoreError;

use super::error::SqlError;

/// An item with its sender.
pub(super) struct Item<'a> {
    /// Number of the record, if it was met before.
    pub(super) number: Option<i64>,
    pub(super) id: RecordId,
    pub(super) form: Form,
    pub(super) peer: &'a NodeId,
    pub(super) now: Timestamp,
}

impl Item<'_> {
    /// Returns the key of its row, given its record's number.
    pub(super) fn key(&self, number: i64) -> (i64, &str, i64) {
        let form = self.form.bits().cast_signed();
        (number, self.peer.as_str(), form)
    }

    /// Checks that the record is the item's, in its form or a thinner one. Intake made both.
    pub(super) fn check(&self, record: &VerifiedRecord) -> Result<(), SqlError> {
        if record.id() == self.id && record.form().is_within(self.form) {
            Ok(())
        } else {
            Err(StoreError::Fault("an item names one record and brings another").into())
        }
    }
}
