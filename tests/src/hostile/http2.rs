//! Attacks of a member with HTTP/2 and gRPC, below any frame of the exchange.

use portcullis_protocol::record::Kind;
use prost::Message as _;

use super::{
    Behaviour,
    caller::{Line, channel},
    raw::{END_HEADERS, Raw, call, frame, kind, literal, message},
    stage::{Theatre, draft, resident_kib},
};
use crate::behaviours;

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_20_no_http2_at_all,
    hp_21_another_method,
    hp_22_another_content_type,
    hp_23_more_streams_than_allowed,
    hp_24_streams_over_several_connections,
    hp_25_a_flood_of_resets,
    hp_26_giant_headers,
    hp_27_headers_that_never_end,
    hp_28_a_flood_of_settings,
    hp_29_a_flood_of_pings,
    hp_30_windows_that_overflow,
    hp_31_a_flood_of_empty_data,
    hp_32_streams_on_which_nothing_is_said,
    hp_33_a_message_that_never_ends,
    hp_34_a_compressed_message,
    hp_35_a_message_of_four_gibibytes,
    hp_36_streams_of_the_servers_numbers,
    hp_37_headers_that_unpack_to_more,
    hp_38_receipts_that_are_never_read,
    hp_39_a_promise_by_the_client,
];

/// Error codes of RFC 9113, §7.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Most memory that a single behaviour may take, in KiB.
const MOST_KIB: u64 = 128 << 10;

async fn raw(stage: &Theatre) -> Raw {
    let mut raw = Raw::new(stage.connection(&stage.mallory).await);
    raw.begin(&[]).await;
    raw
}

/// Sends the same bytes up to `times` times, until the node accepts no more. The process must not
/// gain more than [`MOST_KIB`].
async fn flood(raw: &mut Raw, times: usize, bytes: &[u8]) {
    let before = resident_kib();
    let chunk = bytes.repeat(64);
    for _ in 0..times / 64 {
        if raw.try_say(&chunk).await.is_err() {
            break;
        }
    }
    let gained = resident_kib().saturating_sub(before);
    assert!(gained < MOST_KIB, "{gained} KiB more are resident");
}

async fn hp_20_no_http2_at_all(stage: &mut Theatre) {
    let mut raw = Raw::new(stage.connection(&stage.mallory).await);
    raw.say(b"GET / HTTP/1.1\r\nhost: antwerp.example\r\n\r\n")
        .await;
    let code = raw.cut().await;
    assert!(code.is_none() || code == Some(PROTOCOL_ERROR), "{code:?}");
}

async fn hp_21_another_method(stage: &mut Theatre) {
    for path in [
        "/portcullis.v1.Exchange/Withdraw",
        "/grpc.reflection.v1.ServerReflection/Info",
        "/",
    ] {
        let channel = channel(stage.connection(&stage.mallory).await).await;
        let refused = Line::open(channel, Some(path)).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::Unimplemented, "{path}");
    }
}

/// The message is read and judged as a frame nevertheless: a header does not change the meaning of
/// its bytes.
async fn hp_22_another_content_type(stage: &mut Theatre) {
    for (name, value) in [("content-type", "text/html"), ("grpc-timeout", "0n")] {
        let mut raw = raw(stage).await;
        raw.open(1, &call(&[(name, value)])).await;
        raw.say(&frame(kind::DATA, 0, 1, &message(0, 3, &[0xff; 3])))
            .await;
        raw.stream_ends(1).await;
        assert!(raw.answers().await);
    }
}

async fn hp_23_more_streams_than_allowed(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    for stream in [1, 3, 5, 7, 9] {
        raw.open(stream, &call(&[])).await;
    }
    let reset = raw
        .hear_one(|heard| heard.kind == kind::RST_STREAM)
        .await
        .unwrap();
    assert_eq!((reset.stream, reset.code()), (9, REFUSED_STREAM));
}

/// The limit of streams applies to the peer, over all its connections.
async fn hp_24_streams_over_several_connections(stage: &mut Theatre) {
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..6 {
        let channel = channel(stage.connection(&stage.mallory).await).await;
        match Line::open(channel, None).await {
            Ok(line) => open.push(line),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                refused += 1;
            }
        }
    }
    assert!(
        (1..=4).contains(&open.len()) && refused >= 2,
        "{} open",
        open.len()
    );
}

/// CVE-2023-44487.
async fn hp_25_a_flood_of_resets(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    let before = resident_kib();
    let mut stream = 1;
    for _ in 0..200 {
        let mut burst = Vec::new();
        for _ in 0..100 {
            burst.extend(frame(kind::HEADERS, END_HEADERS, stream, &call(&[])));
            burst.extend(frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        if raw.try_say(&burst).await.is_err() {
            break;
        }
    }
    assert_eq!(
        raw.cut().await.unwrap_or(ENHANCE_YOUR_CALM),
        ENHANCE_YOUR_CALM
    );
    assert!(resident_kib().saturating_sub(before) < MOST_KIB);
}

async fn hp_26_giant_headers(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    let block = call(&[
        ("x-big", &"v".repeat(15_000)),
        ("x-bigger", &"v".repeat(15_000)),
    ]);
    let (first, rest) = block.split_at(16_000);
    raw.say(&frame(kind::HEADERS, 0, 1, first)).await;
    raw.say(&frame(kind::CONTINUATION, END_HEADERS, 1, rest))
        .await;
    raw.stream_ends(1).await;
}

/// CVE-2024-27316 and related attacks.
async fn hp_27_headers_that_never_end(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    raw.say(&frame(kind::HEADERS, 0, 1, &call(&[]))).await;
    let more = frame(
        kind::CONTINUATION,
        0,
        1,
        &literal("x-more", &"v".repeat(8_000)),
    );
    flood(&mut raw, 20_000, &more).await;
    assert_eq!(
        raw.cut().await.unwrap_or(ENHANCE_YOUR_CALM),
        ENHANCE_YOUR_CALM
    );
}

/// CVE-2019-9515: each frame demands an acknowledgement, and nobody reads them.
async fn hp_28_a_flood_of_settings(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    flood(&mut raw, 400_000, &frame(kind::SETTINGS, 0, 0, &[])).await;
}

/// CVE-2019-9512: the same attack with pings.
async fn hp_29_a_flood_of_pings(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    flood(&mut raw, 400_000, &frame(kind::PING, 0, 0, &[1; 8])).await;
}

async fn hp_30_windows_that_overflow(stage: &mut Theatre) {
    let mut overflowing = raw(stage).await;
    let most = frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    overflowing.say(&most).await;
    overflowing.say(&most).await;
    assert_eq!(overflowing.cut().await, Some(FLOW_CONTROL_ERROR));
    let mut nothing = raw(stage).await;
    nothing
        .say(&frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]))
        .await;
    assert_eq!(nothing.cut().await, Some(PROTOCOL_ERROR));
}

/// CVE-2019-9518: endless work without a byte of content.
async fn hp_31_a_flood_of_empty_data(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    raw.open(1, &call(&[])).await;
    flood(&mut raw, 400_000, &frame(kind::DATA, 0, 1, &[])).await;
}

async fn hp_32_streams_on_which_nothing_is_said(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    for stream in [1, 3, 5, 7] {
        raw.open(stream, &call(&[])).await;
    }
    assert!(raw.answers().await);
    stage.still_serves().await;
    assert!(raw.answers().await, "who says nothing is not cut");
}

async fn hp_33_a_message_that_never_ends(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    let before = resident_kib();
    for stream in [1, 3, 5, 7] {
        raw.open(stream, &call(&[])).await;
        let begun = message(0, 8 << 20, &[0x1a, 0x80]);
        raw.say(&frame(kind::DATA, 0, stream, &begun)).await;
    }
    assert!(raw.answers().await);
    stage.still_serves().await;
    let gained = resident_kib().saturating_sub(before);
    assert!(
        gained < MOST_KIB,
        "{gained} KiB are kept for what was announced"
    );
}

async fn hp_34_a_compressed_message(stage: &mut Theatre) {
    for more in [&[][..], &[("grpc-encoding", "gzip")]] {
        let mut raw = raw(stage).await;
        raw.open(1, &call(more)).await;
        raw.say(&frame(kind::DATA, 0, 1, &message(1, 3, &[0x1f, 0x8b, 8])))
            .await;
        raw.stream_ends(1).await;
        assert!(raw.answers().await);
    }
}

async fn hp_35_a_message_of_four_gibibytes(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    let before = resident_kib();
    raw.open(1, &call(&[])).await;
    raw.say(&frame(kind::DATA, 0, 1, &message(0, u32::MAX, &[1; 1000])))
        .await;
    raw.stream_ends(1).await;
    assert!(raw.answers().await);
    assert!(resident_kib().saturating_sub(before) < MOST_KIB);
}

async fn hp_36_streams_of_the_servers_numbers(stage: &mut Theatre) {
    let mut even = raw(stage).await;
    even.open(2, &call(&[])).await;
    assert_eq!(even.cut().await, Some(PROTOCOL_ERROR));
    let mut back = raw(stage).await;
    back.open(9, &call(&[])).await;
    back.say(&frame(kind::RST_STREAM, 0, 9, &8_u32.to_be_bytes()))
        .await;
    back.open(3, &call(&[])).await;
    back.cut().await;
}

/// An entry of the dynamic table, referred to eight thousand times by one byte each.
async fn hp_37_headers_that_unpack_to_more(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    let before = resident_kib();
    // A literal with incremental indexing (RFC 7541, §6.2.1), then its index, 62, many times.
    let mut block = call(&[]);
    let mut entry = literal("x-bomb", &"b".repeat(3_900));
    entry[0] = 0x40;
    block.extend(entry);
    block.extend(vec![0x80 | 62; 8_000]);
    raw.say(&frame(kind::HEADERS, END_HEADERS, 1, &block)).await;
    raw.stream_ends(1).await;
    assert!(resident_kib().saturating_sub(before) < MOST_KIB);
}

/// With a flow-control window of zero no receipt can leave, so no further frame is read.
async fn hp_38_receipts_that_are_never_read(stage: &mut Theatre) {
    let records = stage.seal(&stage.mallory, vec![draft(Kind::Indicator)]);
    stage.allowed.extend(
        records
            .iter()
            .map(portcullis_protocol::verify::VerifiedRecord::id),
    );
    let bytes = stage.honest_frame(&stage.mallory, &records).encode_to_vec();
    let mut raw = Raw::new(stage.connection(&stage.mallory).await);
    raw.begin(&[(4, 0)]).await;
    raw.open(1, &call(&[])).await;
    let announced = u32::try_from(bytes.len()).unwrap();
    let said = frame(kind::DATA, 0, 1, &message(0, announced, &bytes));
    // All frames fit into the window of a new connection (RFC 9113, §6.9.2).
    for _ in 0..60_000 / said.len() {
        raw.say(&said).await;
    }
    assert!(raw.answers().await);
}

async fn hp_39_a_promise_by_the_client(stage: &mut Theatre) {
    let mut raw = raw(stage).await;
    raw.open(1, &call(&[])).await;
    let mut promise = 2_u32.to_be_bytes().to_vec();
    promise.extend(call(&[]));
    raw.say(&frame(kind::PUSH_PROMISE, END_HEADERS, 1, &promise))
        .await;
    assert_eq!(raw.cut().await.unwrap_or(PROTOCOL_ERROR), PROTOCOL_ERROR);
}
