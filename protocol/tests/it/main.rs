//! Tests of the protocol from outside: what is sealed, signed or framed by one party is attacked
//! and judged as another party would.
//!
//! A test of a rule is named after the rule's id and what it refuses (docs/validation.md); the
//! module `validation` holds the two together.

#![cfg(test)]

mod batch_rules;
mod corpus;
mod fixture;
mod forge;
mod frame_rules;
mod freshness_rules;
mod gossip_rules;
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
