//! The running node of a Portcullis federation: store, exchange, administration and command line.

pub mod admin;
pub mod backup;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod clock_step;
pub mod config;
pub mod core;
pub mod decide;
pub mod demo;
pub mod desk;
pub mod dispatch;
pub mod doctor;
pub mod exchange;
pub mod files;
pub mod gate;
pub mod gossip;
pub mod health;
pub mod hold;
pub mod home;
pub mod intake;
pub mod key_file;
pub mod keyring;
pub mod ledger;
pub mod membership;
pub mod metrics;
pub mod observe;
pub mod outlook;
pub mod quarantine;
pub mod runtime;
pub mod secret;
pub mod setup;
pub mod skew;
pub mod store;
#[cfg(test)]
pub(crate) mod testbed;
