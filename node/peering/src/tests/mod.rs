//! The exchange over real loopback sockets: callers refused in the handshake, the judgement of certificates, the life
//! and end of connections.

mod connection;
mod handshake;
mod judgement;
mod testbed;
