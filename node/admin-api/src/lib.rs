//! The administrator's API: plain structs, the acts that a person signs, and the client of the socket.
//!
//! Requests and answers are the structs of [`v1`], below `/v1/` on the socket. Whatever changes or sends something is an
//! act signed by a person ([`act`]). Nothing here knows of a store or of a running node, so that a console or another
//! program needs this crate alone.

pub mod act;
pub mod client;
pub mod names;
pub mod persons;
pub mod threats;
pub mod v1;

/// The HTTP header that carries a signed act.
pub const ACT_HEADER: &str = "portcullis-act";
