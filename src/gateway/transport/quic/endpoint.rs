//! The endpoint: who is let in, and what becomes of a connection once its protocol is known.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use pulsegate_wire::{ALPN, Code};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use super::compact::Link;
use super::push::Pushes;
use super::{Handshake, NO_ERROR, close_code, compact, draining, http3, push, windows};
use crate::api::ListenerKind;
use crate::telemetry::{Handshake as Counted, ShedReason};
use crate::transport::connection::Place;
use crate::transport::peer::Peer;
use crate::transport::tls::{ALPN_H3, Certificates, Error as TlsError};
use crate::transport::{Phase, Shared, Worker};

/// Handshakes under way above which a client must first prove its address (Retry, RFC 9000 §8.1).
/// Larger: a fleet that comes back saves a round trip; smaller: a flood from forged addresses
/// holds less. Source: chosen; at 540 µs of CPU each, 35 ms of one core.
const RETRY_ABOVE: u32 = 64;
/// Handshakes under way at most, of clients that have proven their address. Source: chosen; what
/// one core finishes within half a second.
const HANDSHAKES: u32 = 1_024;
/// Bytes that may come for one connection, and for all, between its first packet and the moment
/// that we look at it, which is at once. Source: chosen; early data of a few heartbeats.
const EARLY_BYTES: [u64; 2] = [16 * 1024, 4 * 1024 * 1024];
/// Bytes that the kernel keeps for the one socket, in each direction; the kernel caps it at
/// `net.core.rmem_max`. Source: chosen; 10 ms of full packets at 3 Gbit/s.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Time at the end for the last packets to leave. Source: chosen.
const FAREWELL: Duration = Duration::from_millis(100);

/// Why there can be no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not ours, or is taken.
    #[error("cannot listen on it")]
    Socket(#[from] io::Error),
    /// It cannot be encrypted.
    #[error("QUIC cannot be encrypted")]
    Tls(#[from] TlsError),
}

/// An endpoint that is bound and not served yet.
pub struct Endpoint {
    socket: UdpSocket,
    address: SocketAddr,
    config: ServerConfig,
    keys: EndpointConfig,
}

impl Endpoint {
    /// Binds an address. Connections end after `idle` without a packet.
    ///
    /// # Errors
    /// The address is not ours or is taken, or the cryptography does not suffice.
    pub fn bind(
        address: SocketAddr,
        certificates: &Arc<Certificates>,
        idle: Duration,
    ) -> Result<Self, BindError> {
        let mut config = ServerConfig::with_crypto(Arc::new(certificates.quic()?));
        config
            .transport_config(windows::parameters(idle))
            .migration(true)
            .max_incoming(HANDSHAKES as usize)
            .incoming_buffer_size(EARLY_BYTES[0])
            .incoming_buffer_size_total(EARLY_BYTES[1]);
        let socket = bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, config, keys: keys(certificates) })
    }

    /// The address, with the port that the kernel gave where none was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves it on `threads` threads of its own.
    ///
    /// # Errors
    /// The threads or their runtime could not be made.
    pub fn spawn(
        self,
        threads: usize,
        kind: ListenerKind,
        shared: Arc<Shared>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Worker> {
        let runtime = if threads > 1 {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name("quic")
                .enable_all()
                .build()?
        } else {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?
        };
        let clock = shared.clock.clone();
        let work = self.run(kind, shared, phase.clone());
        Worker::run("quic".to_owned(), runtime, &clock, phase, work)
    }

    async fn run(self, kind: ListenerKind, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
        let Self { socket, config, keys, .. } = self;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = match quinn::Endpoint::new(keys, Some(config), socket, runtime) {
            Ok(endpoint) => endpoint,
            Err(error) => return tracing::error!(%error, "the socket of QUIC cannot be used"),
        };
        let pushes = Arc::new(Pushes::new(shared.shards.config().limits.max_agents));
        tokio::spawn(push::run(pushes.clone(), shared.clone()));
        let door = Arc::new(Door { kind, shared, pushes, under_way: AtomicU32::new(0) });
        let own = watch::Sender::new(Phase::Serving);
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        loop {
            tokio::select! {
                biased;
                () = draining(&mut phase) => break,
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => door.clone().open(incoming, own.subscribe(), alive.clone()),
                    // Nobody is heard here any more, which stops core time: see the worker.
                    None => return tracing::error!(
                        "the socket of QUIC has failed: agents must come by TCP until a restart"
                    ),
                },
            }
        }
        endpoint.set_server_config(None);
        own.send_replace(Phase::Draining);
        drop(alive);
        tokio::select! {
            _ = all_ended.recv() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
        }
        endpoint.close(NO_ERROR, b"shutting down");
        let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    }
}

/// Lets connections in.
struct Door {
    kind: ListenerKind,
    shared: Arc<Shared>,
    pushes: Arc<Pushes>,
    /// Handshakes under way.
    under_way: AtomicU32,
}

/// What a connection holds until it ends.
pub(super) struct Stay {
    #[expect(dead_code, reason = "it is held, and given back when it is dropped")]
    place: Place,
    #[expect(dead_code, reason = "whoever waits for the end of all notices that it is dropped")]
    alive: mpsc::Sender<()>,
}

/// A handshake under way.
struct UnderWay(Arc<Door>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Door {
    /// Looks at a first packet: nothing was spent on it yet, and nothing may be waited for here.
    fn open(
        self: Arc<Self>,
        incoming: Incoming,
        phase: watch::Receiver<Phase>,
        alive: mpsc::Sender<()>,
    ) {
        let telemetry = &self.shared.telemetry;
        let under_way = self.under_way.load(Relaxed);
        if under_way >= RETRY_ABOVE && !incoming.remote_address_validated() {
            telemetry.handshake(Counted::Retried);
            // It fails only for a client that has proven its address.
            let _ = incoming.retry();
            return;
        }
        let place = Place::take(&self.shared).filter(|_| under_way < HANDSHAKES);
        let Some(place) = place else {
            telemetry.handshake(Counted::Refused);
            self.shared.shed.note(ShedReason::Connections);
            return incoming.refuse();
        };
        let peer = incoming.remote_address();
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => {
                telemetry.handshake(Counted::Failed);
                return tracing::debug!(%peer, %error, "no QUIC handshake");
            }
        };
        self.under_way.fetch_add(1, Relaxed);
        let under_way = UnderWay(self.clone());
        tokio::spawn(self.shake_hands(connecting, under_way, Stay { place, alive }, phase));
    }

    /// Sees a handshake to its end. The connection is served by a task of its own meanwhile, and
    /// what only the handshake takes is given back with this one.
    async fn shake_hands(
        self: Arc<Self>,
        mut connecting: Connecting,
        under_way: UnderWay,
        stay: Stay,
        phase: watch::Receiver<Phase>,
    ) {
        let peer = connecting.remote_address();
        let limit = self.shared.limits.header;
        let telemetry = &self.shared.telemetry;
        let protocol = tokio::time::timeout(limit, protocol(&mut connecting)).await.ok().flatten();
        let (Some(protocol), Ok((connection, signal))) = (protocol, connecting.into_0rtt()) else {
            telemetry.handshake(Counted::Failed);
            return tracing::debug!(%peer, "no QUIC handshake, or no protocol in common");
        };
        let handshake = Arc::new(Handshake::new(signal));
        self.speak(&protocol, connection.clone(), handshake.clone(), stay, phase);
        let in_time = tokio::time::timeout(limit, handshake.ended()).await.is_ok();
        drop(under_way);
        if in_time && connection.close_reason().is_none() {
            return telemetry.handshake(Counted::Completed);
        }
        telemetry.handshake(Counted::Failed);
        tracing::debug!(%peer, reason = ?connection.close_reason(), "no QUIC handshake");
        connection.close(close_code(Code::RequestTimeout), b"the handshake took too long");
    }

    /// Starts to serve a connection.
    fn speak(
        &self,
        protocol: &[u8],
        connection: quinn::Connection,
        handshake: Arc<Handshake>,
        stay: Stay,
        phase: watch::Receiver<Phase>,
    ) {
        let shared = self.shared.clone();
        if protocol == ALPN_H3 {
            let peer = Peer::Quic(connection, handshake);
            tokio::spawn(http3::serve(shared, self.kind, peer, stay, phase));
        } else {
            debug_assert_eq!(protocol, ALPN.as_bytes(), "what was not offered is not chosen");
            let link = Link::new(shared, connection, handshake, self.pushes.clone());
            tokio::spawn(compact::serve(link, stay, phase));
        }
    }
}

/// The protocol that was agreed on: known from the first flight of the client, before the
/// handshake ends.
async fn protocol(connecting: &mut Connecting) -> Option<Vec<u8>> {
    let data = connecting.handshake_data().await.ok()?;
    data.downcast::<HandshakeData>().ok()?.protocol
}

/// Keys from which a gateway that was restarted with the same private key knows the connections of
/// the one before, and ends them (stateless reset, RFC 9000 §10.3).
fn keys(certificates: &Certificates) -> EndpointConfig {
    let reset = certificates.derive("pulsegate quic stateless reset");
    let ids = certificates.derive("pulsegate quic connection ids");
    let mut id_key = [0; 8];
    id_key.copy_from_slice(&ids[..8]);
    let id_key = u64::from_le_bytes(id_key);
    let reset = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &reset);
    let mut config = EndpointConfig::new(Arc::new(reset));
    // They carry a checksum: packets with other ids are dropped without a word.
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel gives what it may: less is no error.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
