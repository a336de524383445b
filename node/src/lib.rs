//! The running node of a Portcullis federation: store, exchange, administration and command line.

pub mod cli;
pub mod config;
pub mod exchange;
pub mod files;
pub mod home;
pub mod keyring;
pub mod membership;
pub mod secret;
pub mod store;
