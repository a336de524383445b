//! Tests of the whole system: one binary, a module for each subject.
//!
//! A module that starts node processes has a name beginning with `federation`: `.config/nextest.toml` runs
//! those one at a time.

#![cfg(test)]

mod architecture;
mod binary;
mod certificates_openssl;
mod cli;
mod corpus;
mod federation_acts;
mod federation_backup;
mod federation_bench;
mod federation_cli;
mod federation_consignments;
mod federation_damage;
mod federation_delivery;
mod federation_demo;
mod federation_desk;
mod federation_drivers;
mod federation_exchange;
mod federation_faults;
mod federation_hold;
mod federation_hostile;
mod federation_metrics;
mod federation_owed;
mod federation_peers;
mod federation_persons;
mod federation_quarantine;
mod federation_readme;
mod federation_scoring;
mod federation_settings;
mod federation_snapshots;
mod federation_trust;
mod federation_versions;
mod json_fit;
mod json_schema;
mod modules;
mod office;
mod prose;
mod shared_build;
mod signatures_openssl;
mod sim;
mod store_model;
mod tls_openssl;
