//! Portcullis.

pub mod exchange;
