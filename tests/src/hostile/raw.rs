//! Hand-made HTTP/2 (RFC 9113): any frame, in any order, complete or not.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::caller::DELIVER;

/// Longest wait for the end of a stream or connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Frame types.
pub mod kind {
    #![expect(missing_docs, reason = "the names are those of RFC 9113, §6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flag that ends a stream.
pub const END_STREAM: u8 = 1;

/// The flag that ends a block of headers.
pub const END_HEADERS: u8 = 4;

/// Connection preface of a client (RFC 9113, §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns a frame with its header.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length.get(1..).unwrap().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Returns a header field as a literal without indexing and without compression (RFC 7541, §6.2.2).
#[must_use]
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(&mut bytes, text.len());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// Appends an integer with a prefix of seven bits (RFC 7541, §5.1).
fn length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
        return;
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// Returns the header block of a call of the delivery method, followed by the fields in `more`.
#[must_use]
pub fn call(more: &[(&str, &str)]) -> Vec<u8> {
    call_of(DELIVER, more)
}

/// Returns the header block of a call of the method at this path, followed by the fields in `more`.
#[must_use]
pub fn call_of(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "antwerp.example"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .chain(more)
    {
        block.extend(literal(name, value));
    }
    block
}

/// Returns a gRPC message: the flag, the announced length and the bytes.
#[must_use]
pub fn message(flag: u8, announced: u32, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![flag];
    message.extend(announced.to_be_bytes());
    message.extend(bytes);
    message
}

/// A connection over which any bytes can be sent.
pub struct Raw(TlsStream<TcpStream>);

/// A frame received from the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Type of the frame.
    pub kind: u8,
    /// Flags of the frame.
    pub flags: u8,
    /// Stream identifier.
    pub stream: u32,
    /// Payload of the frame.
    pub payload: Vec<u8>,
}

impl Heard {
    /// Returns the error code of an RST_STREAM or GOAWAY frame.
    #[must_use]
    pub fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        let bytes = self.payload.get(at..at + 4).unwrap();
        u32::from_be_bytes(bytes.try_into().unwrap())
    }
}

impl Raw {
    /// Wraps a connection over which nothing has been sent yet.
    #[must_use]
    pub const fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(stream)
    }

    /// Sends the client preface with these settings.
    pub async fn begin(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.say(PREFACE).await;
        self.say(&frame(kind::SETTINGS, 0, 0, &payload)).await;
    }

    /// Opens a stream with this header block.
    pub async fn open(&mut self, stream: u32, block: &[u8]) {
        self.say(&frame(kind::HEADERS, END_HEADERS, stream, block))
            .await;
    }

    /// Sends bytes; errors are ignored.
    pub async fn say(&mut self, bytes: &[u8]) {
        drop(self.try_say(bytes).await);
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The error of the connection if the other side has gone, or `TimedOut` if it accepts nothing
    /// for a second.
    pub async fn try_say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let said = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        tokio::time::timeout(Duration::from_secs(1), said)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Reads the next frame; `None` if the connection has ended.
    pub async fn hear(&mut self) -> Option<Heard> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await.ok()?;
        let [a, b, c, kind, flags, s, t, u, v] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Heard {
            kind,
            flags,
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
            payload,
        })
    }

    /// Waits for a frame that matches `like`; `None` if the connection ends before.
    pub async fn hear_one(&mut self, like: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let heard = async {
            loop {
                let heard = self.hear().await?;
                if like(&heard) {
                    return Some(heard);
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap()
    }

    /// Waits until the node ends the connection and returns the error code of its GOAWAY frame, if
    /// it sends one.
    pub async fn cut(&mut self) -> Option<u32> {
        let farewell = self.hear_one(|heard| heard.kind == kind::GOAWAY).await?;
        // Streams under way may still be finished after a GOAWAY frame; an error ends them at once.
        Some(farewell.code())
    }

    /// Waits until the node ends a stream with its last headers or a reset. The connection may end
    /// with it.
    pub async fn stream_ends(&mut self, stream: u32) {
        let ends = |heard: &Heard| {
            let last =
                matches!(heard.kind, kind::HEADERS | kind::DATA) && heard.flags & END_STREAM != 0;
            heard.stream == stream && (last || heard.kind == kind::RST_STREAM)
        };
        self.hear_one(ends).await;
    }

    /// Returns whether the node still answers a ping on this connection.
    pub async fn answers(&mut self) -> bool {
        self.say(&frame(kind::PING, 0, 0, &[7; 8])).await;
        let pong = |heard: &Heard| heard.kind == kind::PING && heard.payload == [7; 8];
        self.hear_one(pong).await.is_some()
    }
}
