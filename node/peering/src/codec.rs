//! Codec of the exchange: protobuf, with messages that are too large refused before they are
//! decoded.
//!
//! A limit on bytes alone is not enough: two bytes on the wire can become more than a hundred in
//! memory (EX-12). A stream that brings a message beyond its limits ends.

use std::marker::PhantomData;

use portcullis_protocol::{
    frame::{check_frame_size, check_receipt_size},
    gossip::{check_answer_size, check_ask_size},
    reconcile,
    rules::Rule,
    verify::Refusal,
    wire,
};
use prost::{Message, bytes::Buf as _};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

/// A message with limits of its own.
pub trait Limited: Message + Default + Send + 'static {
    /// Checks the encoded message against its limits.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it is larger than allowed.
    fn check_size(encoded: &[u8]) -> Result<(), Refusal>;
}

impl Limited for wire::Frame {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        check_frame_size(encoded)
    }
}

impl Limited for wire::Receipt {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        check_receipt_size(encoded)
    }
}

impl Limited for wire::TrustAsk {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        check_ask_size(encoded)
    }
}

impl Limited for wire::TrustAnswer {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        check_answer_size(encoded)
    }
}

impl Limited for wire::ReconcileAsk {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        reconcile::check_ask_size(encoded)
    }
}

impl Limited for wire::ReconcileAnswer {
    fn check_size(encoded: &[u8]) -> Result<(), Refusal> {
        reconcile::check_answer_size(encoded)
    }
}

/// Encodes `T` and decodes `U` within its limits.
pub struct LimitedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for LimitedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Limited> Codec for LimitedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = LimitedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        LimitedDecoder(PhantomData)
    }
}

/// Decodes `U` within its limits.
pub struct LimitedDecoder<U>(PhantomData<U>);

impl<U: Limited> Decoder for LimitedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let encoded = source.copy_to_bytes(source.remaining());
        U::check_size(&encoded).map_err(|refusal| status(&refusal))?;
        U::decode(encoded)
            .map(Some)
            .map_err(|_| Status::invalid_argument("the message cannot be decoded"))
    }
}

fn status(refusal: &Refusal) -> Status {
    if refusal.rule == Rule::Oversized {
        // The code that tonic gives for its own limit. With a code that says "try again later" the
        // peer would ask the same again.
        Status::out_of_range(refusal.to_string())
    } else {
        Status::invalid_argument(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use prost::bytes::{BufMut as _, Bytes, BytesMut};
    use tonic::{Code, Streaming};

    use super::*;

    /// Returns what a stream yields for one message in gRPC's framing: a flag, a length, the bytes.
    async fn received(encoded: &[u8]) -> Result<Option<wire::Frame>, Status> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(encoded.len().try_into().unwrap());
        body.put_slice(encoded);
        let decoder = LimitedDecoder::<wire::Frame>(PhantomData);
        Streaming::new_request(decoder, Full::<Bytes>::from(body.freeze()), None, None)
            .message()
            .await
    }

    #[tokio::test]
    async fn ex_12_message_over_the_size_limit_ends_the_stream_undecoded() {
        let frame = |records: usize| wire::Frame {
            records: vec![wire::Record::default(); records],
            ..wire::Frame::default()
        };
        let good = frame(1024);
        let found = received(&good.encode_to_vec()).await.unwrap();
        assert_eq!(found, Some(good));
        let status = received(&frame(1025).encode_to_vec()).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
        assert!(status.message().starts_with("EX-12"), "{status}");
        let status = received(&[0xff]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("EX-01"), "{status}");
    }
}
