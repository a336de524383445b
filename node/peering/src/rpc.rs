//! The generated client and server of `portcullis.v1.Exchange`.
#![expect(
    clippy::allow_attributes,
    reason = "generated from exchange.proto, whose comments document it"
)]

tonic::include_proto!("portcullis.v1");
