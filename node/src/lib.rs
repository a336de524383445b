//! From a home to a running node, and the commands that need one at hand.

pub mod alone;
pub mod commands;
mod descriptors;
pub mod doctor;
pub mod exposition;
pub mod kept;
pub mod observe;
mod parts;
pub mod readings;
mod repeated;
pub mod runtime;
mod service_manager;
pub mod setup;
mod undumped;
