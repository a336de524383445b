//! Names of the two files.

/// The main database's file name.
pub const MAIN_FILE: &str = "store.db";
/// The key table's file name.
pub const KEYS_FILE: &str = "keys.db";
