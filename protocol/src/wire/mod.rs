//! The generated types of the public contract (`proto/portcullis/v1`).
//!
//! They hold what arrived and prove nothing: `convert` converts them once, and everything else
//! works with domain types.

mod convert;
#[expect(
    missing_docs,
    reason = "generated from the .proto files, whose comments document them"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/portcullis.v1.rs"));
}

pub use convert::HeaderError;
pub use generated::*;
