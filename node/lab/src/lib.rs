//! The laboratory: the demo's federation of processes, the benches, and what tampers with records and stores.
//!
//! Never shipped: it links a development PKI, and code that breaks what the product protects.

pub mod bench;
pub mod commands;
pub mod demo;
pub mod routes;
