//! The exchange over real loopback sockets: who is refused in the handshake, how a certificate is judged, how connections
//! live and end.

mod connection;
mod handshake;
mod judgement;
mod testbed;
