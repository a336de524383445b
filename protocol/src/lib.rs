//! Portcullis.

pub mod evaluation;
pub mod identifiers;
