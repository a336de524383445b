//! What it means: risk profiles, selector evidence, and scores that explain themselves.
//!
//! Pure: no clock, no file, no random source; `now` is an argument. The fields of a consignment
//! and the cells of a profile are described by a schema file ([`schema`]); no column of any data
//! set stands in the code.

pub mod consignment;
pub mod decay;
pub mod evidence;
pub mod identifier;
pub mod levels;
pub mod lookup;
pub mod metrics;
pub mod pool;
pub mod profile;
pub mod received;
pub mod recommend;
mod regression;
pub mod reliability;
pub mod schema;
pub mod score;
pub mod scorecard;

#[cfg(test)]
mod figures;
#[cfg(test)]
mod fixtures;
