//! One connection from its handshake to its end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::pace::{Pace, Paced};
use super::peer::Peer;
use super::service::Session;
use super::worker::Phase;
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
pub(super) fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time of a head is kept by `pace`.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http1().max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_send_buf_size(SEND_BUFFER);
    builder
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
    pub(super) builder: Arc<Builder<TokioExecutor>>,
    pub(super) kind: ListenerKind,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Accepted {
    /// Serves the connection to its end.
    pub(super) async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written at once and as a whole: waiting for more gains nothing.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.requests(stream, false).await;
        };
        let handshake = tokio::time::timeout(self.shared.limits.header, tls.accept(stream));
        match handshake.await {
            Ok(Ok(stream)) => self.requests(stream, true).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %self.peer, "the TLS handshake took too long"),
        }
    }

    async fn requests<IO>(self, io: IO, is_tls: bool)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, builder, kind, peer, place, mut phase } = self;
        let pace = Arc::new(Pace::default());
        let io = Paced::new(io, pace.clone(), shared.limits.header, shared.limits.idle);
        let authenticated = Authenticated::default();
        let alt_svc = if is_tls { shared.alt_svc.clone() } else { None };
        let peer_of = Peer::Tcp(peer);
        let session = Arc::new(Session { shared, peer: peer_of, kind, authenticated, alt_svc });
        let service = service_fn(move |request: Request<Incoming>| {
            let session = session.clone();
            let answering = pace.request(request.version() == Version::HTTP_2);
            async move {
                let answer = session.serve(request).await;
                drop(answering);
                answer
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut draining = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
        let mut is_draining = false;
        let result = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break result,
                _ = &mut draining, if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
        drop(place);
    }
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
