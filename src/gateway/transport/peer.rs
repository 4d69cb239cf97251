//! Where a connection comes from, and whether that is proven.

use std::net::SocketAddr;
use std::sync::Arc;

use super::quic::Handshake;

/// The other end of a connection.
pub(super) enum Peer {
    /// A connection of TCP stays where it is.
    Tcp(SocketAddr),
    /// A connection of QUIC may move.
    Quic(quinn::Connection, Arc<Handshake>),
}

impl Peer {
    /// Its address now.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) => *address,
            Self::Quic(connection, _) => connection.remote_address(),
        }
    }

    /// Whether the handshake is still under way: what was read may have been recorded and
    /// repeated by somebody else.
    pub(super) fn is_early(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Quic(_, handshake) => !handshake.is_complete(),
        }
    }
}
