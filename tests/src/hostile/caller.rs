//! Calls to the node under attack: TLS with any certificate, then gRPC with any bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper_util::rt::TokioIo;
use portcullis_protocol::{
    frame::{Generation, Outcome},
    wire,
};
use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _, Bytes},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    client::{ResolvesClientCert, Resumption},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::stage::{Mallory, Theatre};

/// Path of the exchange's delivery method.
pub const DELIVER: &str = "/portcullis.v1.Exchange/Deliver";

/// Accepts every server certificate: the attacker knows whom it calls.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns a TLS client configuration that shows the certificate `shown` resolves to, or none, and
/// offers `protocols` by ALPN.
#[must_use]
pub fn tls(shown: Option<Arc<dyn ResolvesClientCert>>, protocols: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// Performs a TLS handshake with the target.
///
/// # Errors
///
/// The error that ended the handshake. In TLS 1.3 a refusal of the client's certificate arrives
/// later, with the first read.
pub async fn shake(config: ClientConfig, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("antwerp.example").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

impl Theatre {
    /// Returns the address on which the target listens.
    #[must_use]
    pub fn target_address(&self) -> SocketAddr {
        let register = self.target.kernel.decider();
        let (_, node) = register
            .register()
            .node(&"antwerp".parse().unwrap())
            .unwrap();
        node.endpoint.parse().unwrap()
    }

    /// Opens a valid connection of a member, over which nothing has been sent yet.
    pub async fn connection(&self, peer: &Mallory) -> TlsStream<TcpStream> {
        let config = tls(Some(Arc::new(peer.identity())), &[b"h2"]);
        shake(config, self.target_address()).await.unwrap()
    }

    /// Opens a delivery stream of a member.
    pub async fn line(&self, peer: &Mallory) -> Line {
        Line::open(channel(self.connection(peer).await).await, None)
            .await
            .unwrap()
    }
}

/// Makes a gRPC channel over one connection.
pub async fn channel(stream: TlsStream<TcpStream>) -> Channel {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream
            .take()
            .ok_or_else(|| std::io::Error::other("it was one connection"));
        std::future::ready(stream)
    });
    Endpoint::from_static("http://antwerp.example")
        .connect_with_connector(connector)
        .await
        .unwrap()
}

/// Codec that sends arbitrary bytes and decodes receipts.
#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = wire::Receipt;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = wire::Receipt;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<wire::Receipt>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        wire::Receipt::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// An open delivery stream.
pub struct Line {
    frames: mpsc::Sender<Bytes>,
    receipts: Streaming<wire::Receipt>,
}

impl Line {
    /// Opens the stream; `path` replaces the exchange's delivery method if it is given.
    ///
    /// # Errors
    ///
    /// The status with which the call is refused.
    pub async fn open(channel: Channel, path: Option<&'static str>) -> Result<Self, Status> {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let (frames, stream) = mpsc::channel(64);
        let path = PathAndQuery::from_static(path.unwrap_or(DELIVER));
        let request = tonic::Request::new(ReceiverStream::new(stream));
        let receipts = grpc.streaming(request, path, RawCodec).await?.into_inner();
        Ok(Self { frames, receipts })
    }

    /// Sends a frame and returns the reply as text: one answer for each item, `whole RULE` for a
    /// frame refused whole, or `ended CODE` for a stream that ended.
    pub async fn say(&mut self, frame: &wire::Frame) -> Vec<String> {
        self.say_bytes(frame.encode_to_vec().into()).await
    }

    /// Like [`Self::say`], with bytes that need not be a frame.
    pub async fn say_bytes(&mut self, bytes: Bytes) -> Vec<String> {
        if self.frames.send(bytes).await.is_err() {
            return vec!["ended before".to_owned()];
        }
        match self.receipts.message().await {
            Ok(Some(receipt)) => told(&receipt),
            Ok(None) => vec!["ended".to_owned()],
            Err(status) => vec![format!("ended {:?}", status.code())],
        }
    }
}

/// Returns the contents of a receipt as text.
#[must_use]
pub fn told(receipt: &wire::Receipt) -> Vec<String> {
    if !receipt.refused.is_empty() {
        return vec![format!("whole {}", receipt.refused)];
    }
    let answers = receipt.answers.iter().map(|answer| {
        let outcome = wire::Outcome::try_from(answer.outcome).unwrap();
        let name = Outcome::ALL
            .iter()
            .find(|one| wire::Outcome::from(**one) == outcome)
            .map_or("nothing", |one| one.name());
        format!("{name} {}", answer.reason).trim_end().to_owned()
    });
    answers.collect()
}

/// Returns a generation that no frame has used before.
#[must_use]
pub fn generation() -> Generation {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [66; 16];
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    bytes
        .iter_mut()
        .zip(number)
        .for_each(|(byte, new)| *byte = new);
    Generation::from_bytes(bytes)
}
