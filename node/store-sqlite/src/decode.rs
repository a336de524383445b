//! Values of columns: each becomes what was kept, or an error, and never anything else.
//!
//! Changes on disk that cannot be detected here (in the statement, path or blind) are found when
//! the reader verifies the record.

use std::str::FromStr;

use portcullis_protocol::{identifiers::NodeId, record::RecordId};
use portcullis_store::StoreError;

use super::error::SqlError;

pub(super) fn record_id(bytes: &[u8]) -> Result<RecordId, SqlError> {
    RecordId::from_slice(bytes).ok_or_else(|| unreadable("a record id"))
}

pub(super) fn node(text: &str) -> Result<NodeId, SqlError> {
    text.parse().map_err(|_| unreadable("the name of a node"))
}

/// Returns the value with this name from a closed list.
pub(super) fn named<T: FromStr>(name: &str) -> Result<T, SqlError> {
    name.parse().map_err(|_| unreadable("the name of a value"))
}

/// Converts a count that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, SqlError> {
    u64::try_from(number).map_err(|_| unreadable("a sequence number"))
}

pub(super) fn unreadable(what: &str) -> SqlError {
    SqlError::Store(StoreError::Damaged(format!("{what} cannot be read")))
}
