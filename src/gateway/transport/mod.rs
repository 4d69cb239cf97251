//! Sockets: of TCP, one thread, one single-threaded runtime and one listener a core; of QUIC, one
//! endpoint with threads of its own.
//!
//! The listeners share their address (SO_REUSEPORT), and the kernel spreads connections over
//! them: measured against one runtime over all cores, this is 11 to 66 % ahead and halves the
//! 99th percentile. The two routes of heartbeats are served without a framework; everything else
//! goes to the router of the operator's routes, on a runtime of its own, so that a long listing
//! holds up no heartbeat.
//!
//! This room may touch `admission`, `shard`, `api`, `clock`, `config`, `durable` and
//! `telemetry`.

mod batch;
mod body;
mod connection;
mod heartbeats;
mod letters;
mod listen;
mod pace;
mod peer;
mod preface;
mod quic;
mod respond;
mod service;
mod tls;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use axum::Router;
use http::HeaderValue;

use crate::admission::{Rejection, Shed, Sources};
use crate::clock::Clock;
use crate::durable::Durable;
use crate::shard::{Refused, Shards};
use crate::telemetry::Telemetry;

pub use listen::{Bound, bind};
pub use quic::{BindError, Endpoint};
#[doc(hidden)]
pub use quic::{compact_frames, http3_stream_passes};
pub use tls::{Certificates, Error as TlsError, written_at};
pub use worker::{Lane, Phase, Worker};

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The agents.
    pub shards: Arc<Shards>,
    /// Core time.
    pub clock: Arc<Clock>,
    /// What answers wait for.
    pub durable: Durable,
    /// Where happenings are counted.
    pub telemetry: Telemetry,
    /// Quotas of addresses that unknown agents come from.
    pub sources: Sources,
    /// What is under way and what is turned away.
    pub shed: Shed,
    /// Serves everything but heartbeats.
    pub router: Router,
    /// Where the router runs.
    pub control: tokio::runtime::Handle,
    /// Connections open.
    pub connections: AtomicU32,
    /// Limits of connections, fixed at the start.
    pub limits: ConnectionLimits,
    /// What answers over TLS say of HTTP/3; `None` where QUIC is off.
    pub alt_svc: Option<HeaderValue>,
}

impl Shared {
    /// What an agent that nobody knows yet, and that comes from this address, has to pass.
    fn gate(&self, peer: IpAddr) -> impl Fn() -> Result<(), u64> + '_ {
        move || self.sources.charge(self.clock.read().raw_ms, peer)
    }

    /// A heartbeat that the shards refused, as its sender may know it.
    fn refusal(&self, refused: Refused) -> Rejection {
        Rejection::refused(refused, self.shards.agent_quota(), self.sources.quota())
    }
}

/// What one connection may take, and how long.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections that are open at most.
    pub connections: u32,
    /// Time for the head of a request, once begun, and for a TLS handshake.
    pub header: Duration,
    /// Time for the body of a request.
    pub body: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
}
