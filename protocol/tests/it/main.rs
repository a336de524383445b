//! Tests of the protocol from outside: one party seals, signs or frames; the result is attacked,
//! and judged as another party would judge it.
//!
//! A test of a rule is named after the rule's id and the thing it refuses (docs/validation.md); the
//! module `validation` keeps the two equal.

#![cfg(test)]

mod batch_rules;
mod corpus;
mod excerpts;
mod fixture;
mod forge;
mod frame_rules;
mod freshness_rules;
mod gossip_rules;
mod later_rules;
mod members;
mod position_rules;
mod receipt_rules;
mod reconcile_rules;
mod record_rules;
mod register_rules;
mod request_rules;
mod sealing;
mod statement_rules;
mod suspension_rules;
mod validation;
mod vectors;
