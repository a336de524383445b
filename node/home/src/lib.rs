//! A node's folder: its files, secrets, keys, configuration and register.
//!
//! Everything that is read from a home is read here, whole, and becomes a type or an error that says what to do.
//! Nothing here knows of a running node.

pub mod clock;
pub mod config;
pub mod files;
mod folder;
pub mod key_file;
pub mod keyring;
pub mod membership;
pub mod own_certificate;
pub mod secret;
pub mod trust_settings;

pub use folder::Home;
