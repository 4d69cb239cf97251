//! One connection from its handshake to its end.

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::pace::{Pace, Paced};
use super::peer::Peer;
use super::preface::is_http2;
use super::service::Session;
use super::worker::{Phase, draining};
use super::{Shared, respond};
use crate::admission::Authenticated;
use crate::api::ListenerKind;
use crate::telemetry::{Gauge, ShedReason};

/// Largest head of a request in HTTP/1.1, in bytes, and largest read. A larger head is answered
/// with 431. Source: chosen; twice what common proxies pass on.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request. Source: chosen; hyper's own default is 100.
const HEADERS: usize = 64;
/// Streams that one HTTP/2 connection may have open. Larger: a relay waits less; smaller: one
/// connection can hold less memory. Source: chosen, eight times what was measured to saturate.
const STREAMS: u32 = 64;
/// Window of one stream, in bytes: a heartbeat fits four times, a batch asks for more as it goes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Window of one HTTP/2 connection, in bytes: a whole batch.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that wait for a peer in HTTP/2, for each stream. Source: chosen; the answer to a batch
/// goes in pieces.
const SEND_BUFFER: usize = 64 * 1024;

/// How connections are served; made once a worker.
pub(super) struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builders {
    pub(super) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        // The time of a head is kept by `pace`.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        http1.max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_send_buf_size(SEND_BUFFER);
        Self { http1, http2 }
    }
}

/// A place among the connections that may be open.
pub(super) struct Place(Arc<Shared>);

impl Place {
    /// Takes a place; `None` when there is none.
    pub(super) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.connections.fetch_add(1, Relaxed);
        let place = Self(shared.clone());
        shared.telemetry.step(Gauge::Connections, true);
        (before < shared.limits.connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.telemetry.step(Gauge::Connections, false);
    }
}

/// What a connection comes with.
pub(super) struct Accepted {
    pub(super) shared: Arc<Shared>,
    pub(super) builders: Arc<Builders>,
    pub(super) kind: ListenerKind,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    pub(super) phase: watch::Receiver<Phase>,
    /// Whoever waits for the end of all connections notices that it is dropped.
    pub(super) alive: mpsc::Sender<()>,
}

impl Accepted {
    /// Starts to serve the connection, in a task of its own.
    pub(super) fn start(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written at once and as a whole: waiting for more gains nothing.
        let _ = stream.set_nodelay(true);
        match tls {
            None => tokio::spawn(self.serve(stream, false)),
            Some(tls) => tokio::spawn(self.shake_hands(stream, tls)),
        };
    }

    /// Encrypts the connection. What only the handshake takes is given back with its task.
    async fn shake_hands(self, stream: TcpStream, tls: TlsAcceptor) {
        let handshake = tokio::time::timeout(self.shared.limits.header, tls.accept(stream));
        match handshake.await {
            Ok(Ok(stream)) => {
                tokio::spawn(self.serve(Box::new(stream), true));
            }
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %self.peer, "the TLS handshake took too long"),
        }
    }

    /// Serves requests to the end of the connection.
    async fn serve<IO>(self, io: IO, is_tls: bool)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, builders, kind, peer, place: _place, mut phase, alive: _alive } = self;
        let mut draining = pin!(draining(&mut phase));
        let pace = Arc::new(Pace::default());
        let io = Paced::new(io, pace.clone(), shared.limits.header, shared.limits.idle);
        let begun = tokio::select! {
            biased;
            begun = is_http2(io) => begun,
            () = &mut draining => return,
        };
        let (is_http2, io) = match begun {
            Ok((is_http2, io)) => (is_http2, TokioIo::new(io)),
            Err(error) => return tracing::debug!(%peer, %error, "connection ended"),
        };
        let authenticated = Authenticated::default();
        let alt_svc = if is_tls { shared.alt_svc.clone() } else { None };
        let peer_of = Peer::Tcp(peer);
        let session = Arc::new(Session { shared, peer: peer_of, kind, authenticated, alt_svc });
        let service =
            service_fn(move |request| session.clone().serve(request, pace.request(is_http2)));
        let result = if is_http2 {
            // Its state is twice as large as that of HTTP/1.1, which most connections speak.
            let mut connection = Box::pin(builders.http2.serve_connection(io, service));
            let shutdown = http2::Connection::graceful_shutdown;
            to_the_end(connection.as_mut(), draining, shutdown).await
        } else {
            let connection = pin!(builders.http1.serve_connection(io, service));
            to_the_end(connection, draining, http1::Connection::graceful_shutdown).await
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// Serves a connection until it has ended. When the gateway drains, it is shut down, which ends
/// it after what is in flight.
async fn to_the_end<C>(
    mut connection: Pin<&mut C>,
    draining: Pin<&mut impl Future<Output = ()>>,
    shutdown: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = draining => shutdown(connection.as_mut()),
    }
    connection.await
}

/// Tells a peer for whom there is no place why it is turned away, as far as it listens.
pub(super) fn turn_away(shared: &Shared, stream: TcpStream, is_tls: bool) {
    shared.shed.note(ShedReason::Connections);
    let limit = shared.limits.connections;
    let rejection = shared.shed.overloaded("too many connections are open", limit);
    let Ok(mut stream) = stream.into_std() else { return };
    if !is_tls {
        // The socket does not block, and its buffer is empty: this fits or is lost.
        let _ = stream.write_all(&respond::raw(&rejection));
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}
