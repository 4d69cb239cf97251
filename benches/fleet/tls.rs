//! Sockets of QUIC clients, which believe any certificate: the servers of a bench make their own.

use std::io;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;

use super::{Wire, trusting};

/// Connections of one socket.
const CONNECTIONS: usize = 64;

/// Sockets, each for some connections.
pub(super) struct Endpoints(Vec<quinn::Endpoint>);

impl Endpoints {
    pub(super) fn new(wire: Wire, connections: usize) -> io::Result<Self> {
        let count = if wire.is_quic() { connections.div_ceil(CONNECTIONS) } else { 0 };
        let alpn = if wire == Wire::Http3 { b"h3" } else { pulsegate_wire::ALPN.as_bytes() };
        let tls = trusting::client(alpn, &[&rustls::version::TLS13]);
        let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(None);
        config.transport_config(Arc::new(transport));
        let endpoint = |_| {
            let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
            endpoint.set_default_client_config(config.clone());
            Ok(endpoint)
        };
        (0..count).map(endpoint).collect::<io::Result<_>>().map(Self)
    }

    /// The socket of a connection; `None` where the transport needs none.
    pub(super) fn of(&self, connection: usize) -> Option<quinn::Endpoint> {
        self.0.get(connection / CONNECTIONS).cloned()
    }

    /// Waits until the servers were told of the end of each connection: one that is dropped
    /// before is kept open there, until its idle time is over or for ever.
    pub(super) async fn told(&self) {
        for endpoint in &self.0 {
            endpoint.wait_idle().await;
        }
    }
}
