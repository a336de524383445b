//! Portcullis.

pub mod identifiers;
