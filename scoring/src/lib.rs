//! Scoring: risk profiles, selector evidence, and scores that explain themselves.
//!
//! The crate is pure: it uses no clock, file or random source; `now` is an argument. A schema file
//! describes the fields of a consignment and the cells of a profile ([`schema`]); the code names no
//! column of any data set.

pub mod bound;
pub mod consignment;
pub mod decay;
pub mod evidence;
pub mod identifier;
pub mod levels;
pub mod lookup;
pub mod metrics;
pub mod number;
pub mod pool;
pub mod profile;
pub mod received;
pub mod recommend;
mod regression;
pub mod reliability;
pub mod schema;
pub mod score;
pub mod scorecard;
pub mod weight;

#[cfg(test)]
mod figures;
#[cfg(test)]
mod fixtures;
