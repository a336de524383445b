//! The admin socket: requests of administrators are checked, acts are verified and logged, then done.
//!
//! ```text
//! command ─▶ Client ─HTTP/1 over admin.sock─▶ server ─▶ route ─▶ kernel, exchange, desk, backup, store
//!             act: statement signed by a person ─▶ verified ─▶ logged ─▶ done
//! ```
//!
//! Reading needs no signature; reading records and scores is logged as a consultation. Whatever
//! changes or sends something is an act signed by a person ([`portcullis_admin_api::act`]). Requests and answers are the
//! structs of [`portcullis_admin_api::v1`], version 1, below `/v1/`. Refuses bodies over 256 MiB, and users whom the
//! mode of the socket keeps out.

pub mod ledger;
pub mod local;
pub mod people;
pub mod problem;
pub mod request;
pub mod server;
mod sought;

mod recoveries;
mod routes;
pub mod views;
