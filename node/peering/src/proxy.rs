//! The header with which a proxy says for whom it calls: PROXY protocol, version 1 and 2 (HAProxy's
//! `proxy-protocol.txt`).
//!
//! It is read from configured addresses alone, and must be there. Everybody else's bytes are TLS or nothing, so that
//! nobody gives itself an address. Not a byte more than the header is read, and none that is longer than it need be.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The shortest header: `PROXY UNKNOWN` and its line end. Of version 2 it is the part before the length's last byte.
const SHORTEST: usize = 15;

/// Size of version 2's part before the addresses.
const FIXED: usize = 16;

/// Largest size of a header of version 1, by its specification.
const LONGEST_LINE: usize = 107;

/// Largest size of what follows the fixed part of version 2: the addresses, and extensions such as a name or an
/// identity that are not looked at.
const LONGEST_REST: usize = 2_048;

/// Reads the header that begins `stream`. Returns the address of the proxy's caller; `None` if the proxy calls for
/// itself, as it does to see if the node is there.
///
/// # Errors
///
/// An I/O error if the stream ends or does not begin with a header: the proxy is not set up to send one.
pub(super) async fn caller_of<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        read_rest(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_line(stream, &mut header).await?;
    }
    parse(&header)
}

async fn read_rest<S: AsyncRead + Unpin>(stream: &mut S, header: &mut Vec<u8>) -> io::Result<()> {
    let low = stream.read_u8().await?;
    let high = header.last().copied().unwrap_or_default();
    header.push(low);
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_REST {
        return Err(no_header("it is too long"));
    }
    header.resize(FIXED.saturating_add(length), 0);
    let rest = header.get_mut(FIXED..).unwrap_or_default();
    stream.read_exact(rest).await.map(drop)
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_LINE {
            return Err(no_header("its line does not end"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => match header.addresses {
            v2::Addresses::IPv4(of) => Ok(Some((of.source_address, of.source_port).into())),
            v2::Addresses::IPv6(of) => Ok(Some((of.source_address, of.source_port).into())),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => {
                Err(no_header("it names no address"))
            }
        },
        HeaderResult::V1(Err(error)) => Err(no_header(error)),
        HeaderResult::V2(Err(error)) => Err(no_header(error)),
    }
}

fn no_header(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NoHeader(why.into()))
}

/// The proxy does not say for whom it calls.
#[derive(Debug, thiserror::Error)]
#[error(
    "no header of the PROXY protocol ({0}); have the proxy send one, or take it out of `exchange.proxy_protocol_from`"
)]
struct NoHeader(Box<dyn std::error::Error + Send + Sync>);

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of version 2 for TCP over IPv4 from 203.0.113.7, port 4660, to 192.0.2.1, port 443, by the text of the
    /// specification.
    const V2: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
        \xcb\x00\x71\x07\xc0\x00\x02\x01\x12\x34\x01\xbb";

    async fn read(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let caller = caller_of(&mut bytes).await;
        (caller, bytes.to_vec())
    }

    async fn check(header: &[u8], caller: Option<&str>) {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(b"\x16\x03\x01rest");
        let (found, rest) = read(&bytes).await;
        let expected = caller.map(|caller| caller.parse().unwrap());
        assert_eq!(found.unwrap(), expected, "{header:?}");
        assert_eq!(rest, b"\x16\x03\x01rest", "{header:?}");
    }

    #[tokio::test]
    async fn a_header_gives_the_callers_address_and_not_a_byte_more_is_read() {
        check(
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4660 443\r\n",
            Some("203.0.113.7:4660"),
        )
        .await;
        check(
            b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n",
            Some("[2001:db8::7]:1"),
        )
        .await;
        check(b"PROXY UNKNOWN\r\n", None).await;
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None).await;
        check(V2, Some("203.0.113.7:4660")).await;
        let local = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";
        check(local, None).await;
        // An extension of three bytes (type 4, PP2_TYPE_NOOP) behind the addresses.
        let mut extended = V2.to_vec();
        extended[15] = 15;
        extended.extend_from_slice(b"\x04\x00\x00");
        check(&extended, Some("203.0.113.7:4660")).await;
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut long = V2.to_vec();
        (long[14], long[15]) = (0xff, 0xff);
        long.resize(70_000, 0);
        let mut endless = b"PROXY TCP4 ".to_vec();
        endless.resize(1_000, b'1');
        for bytes in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh".as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 203.0.113.700 192.0.2.1 4660 443\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4660 70000\r\n",
            b"PROXY UDP4 203.0.113.7 192.0.2.1 4660 443\r\n",
            &V2[..27],
            &long,
            &endless,
            b"",
        ] {
            let (found, _) = read(bytes).await;
            assert!(found.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn no_change_of_a_header_panics_or_reads_past_its_bound() {
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 443\r\n".to_vec();
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % u64::try_from(below).unwrap()).unwrap()
        };
        for round in 0..50_000 {
            let mut bytes = if round % 2 == 0 {
                V2.to_vec()
            } else {
                line.clone()
            };
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, u8::try_from(next(256)).unwrap()),
                }
            }
            bytes.extend_from_slice(&[b'x'; 4_096]);
            let before = bytes.len();
            let (_, rest) = read(&bytes).await;
            assert!(before - rest.len() <= FIXED + LONGEST_REST, "{bytes:?}");
        }
    }
}
