//! HTTP/3: the requests of one connection, served by the service of all transports.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, Bytes};
use h3::error::{Code, ConnectionError, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, watch};

use super::endpoint::Stay;
use super::guard::{Guarded, Receiving};
use super::{draining, windows};
use crate::admission::Authenticated;
use crate::api::ListenerKind;
use crate::transport::connection::HEAD_BYTES;
use crate::transport::pace::within;
use crate::transport::peer::Peer;
use crate::transport::respond::Answer;
use crate::transport::service::Session;
use crate::transport::{ConnectionLimits, Phase, Shared};

/// Looks at whether a connection is idle, in one idle time. Source: chosen, as over TCP.
const LOOKS: u32 = 4;
/// Time for the last answers to arrive at the end, in round trips. Source: chosen; one, and two
/// for what has to be sent again.
const FAREWELL_TRIPS: u32 = 3;

/// Serves a connection to its end; `_stay` is held until then.
pub(super) async fn serve(
    shared: Arc<Shared>,
    kind: ListenerKind,
    peer: Peer,
    _stay: Stay,
    mut phase: watch::Receiver<Phase>,
) {
    let Peer::Quic(connection, _) = &peer else { return };
    let connection = connection.clone();
    let authenticated = Authenticated::default();
    let session = Arc::new(Session { shared, peer, kind, authenticated, alt_svc: None });
    // What takes memory only for a moment is boxed: a connection is idle nearly all of its time.
    let mut h3 = match Box::pin(begin(&connection)).await {
        Ok(h3) => Box::new(h3),
        Err(error) => return tracing::debug!(%error, "no HTTP/3"),
    };
    let idle = session.shared.limits.idle;
    let active = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(Requests::default());
    let mut looks = tokio::time::interval(idle / LOOKS);
    let mut quiet = 0;
    let mut draining = pin!(draining(&mut phase));
    let result = loop {
        tokio::select! {
            biased;
            () = &mut draining => {
                break Box::pin(finish(&mut h3, &requests, &connection)).await;
            }
            accepted = h3.accept() => match accepted {
                Ok(Some(resolver)) => {
                    active.store(true, Relaxed);
                    let under_way = requests.begin(&session);
                    tokio::spawn(request(session.clone(), resolver, under_way));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
            _ = looks.tick() => {
                let was_active = active.swap(false, Relaxed) || requests.is_busy();
                quiet = if was_active { 0 } else { quiet + 1 };
                if quiet > LOOKS {
                    break Ok(());
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(peer = %connection.remote_address(), %error, "connection ended");
    }
}

type H3 = h3::server::Connection<Guarded, Bytes>;

async fn begin(connection: &quinn::Connection) -> Result<H3, ConnectionError> {
    connection.set_receive_window(windows::HTTP3_WINDOW);
    let mut builder = h3::server::builder();
    builder.max_field_section_size(HEAD_BYTES as u64).send_grease(false);
    builder.build(Guarded::new(connection.clone())).await
}

/// The requests of one connection that are under way. The connection is not woken by each that
/// ends: looking for the next one costs as much as some requests.
#[derive(Default)]
struct Requests {
    under_way: AtomicU32,
    all_ended: Notify,
}

/// A request under way.
struct UnderWay {
    requests: Arc<Requests>,
    session: Arc<Session>,
}

impl Requests {
    fn begin(self: &Arc<Self>, session: &Arc<Session>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay { requests: self.clone(), session: session.clone() }
    }

    fn is_busy(&self) -> bool {
        self.under_way.load(Relaxed) > 0
    }

    async fn ended(&self) {
        while self.is_busy() {
            self.all_ended.notified().await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // The only request that ends by it is this one.
        if std::thread::panicking() {
            let peer = self.session.peer.address();
            tracing::error!(%peer, "a request could not be handled: a bug");
        }
        if self.requests.under_way.fetch_sub(1, Relaxed) == 1 {
            self.requests.all_ended.notify_one();
        }
    }
}

/// Says that no further request is taken, and answers those under way.
async fn finish(
    h3: &mut H3,
    requests: &Requests,
    connection: &quinn::Connection,
) -> Result<(), ConnectionError> {
    h3.shutdown(0).await?;
    let was_busy = requests.is_busy();
    requests.ended().await;
    if was_busy {
        // Closing gives up what has not arrived yet.
        tokio::time::sleep(connection.rtt() * FAREWELL_TRIPS).await;
    }
    Ok(())
}

async fn request(
    session: Arc<Session>,
    resolver: RequestResolver<Guarded, Bytes>,
    _under_way: UnderWay,
) {
    let ConnectionLimits { header, body, .. } = session.shared.limits;
    // Large for a moment.
    let head = Box::pin(head(header, resolver)).await;
    let Some((request, sending)) = head else { return };
    let mut answering = Answering { sending, is_whole: false };
    let Ok(answer) = session.serve(request, ()).await;
    match respond(&mut answering.sending, answer, body).await {
        Ok(()) => answering.is_whole = true,
        Err(error) => tracing::debug!(?error, "an answer was not taken"),
    }
}

/// The answer to a request. A stream that is only dropped ends as if it were whole, so one that
/// did not come to its end, be it by a panic, is reset.
struct Answering {
    sending: Sending,
    is_whole: bool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.is_whole {
            let is_ours = std::thread::panicking();
            let code = if is_ours { Code::H3_INTERNAL_ERROR } else { Code::H3_REQUEST_CANCELLED };
            self.sending.stop_stream(code);
        }
    }
}

/// The head of a request; `None` where none comes.
async fn head(
    limit: Duration,
    resolver: RequestResolver<Guarded, Bytes>,
) -> Option<(Request<Incoming>, Sending)> {
    match within(limit, pin!(resolver.resolve_request())).await {
        Some(Ok((request, stream))) => {
            let (sending, receiving) = stream.split();
            return Some((request.map(|()| Incoming(receiving)), sending));
        }
        Some(Err(error)) => tracing::debug!(%error, "no request"),
        None => tracing::debug!("the head of a request took too long"),
    }
    None
}

/// Why an answer did not come to its end.
#[derive(Debug)]
#[expect(dead_code, reason = "for the log")]
enum Untaken {
    /// The stream or its connection has ended.
    Stream(StreamError),
    /// The peer did not take a piece of it in time.
    Slow,
    /// It ended before it was whole, on our side.
    CutOff,
}

/// Waits until the peer has taken a piece of an answer, but not for longer than `limit`.
async fn taken<F>(limit: Duration, sending: Pin<&mut F>) -> Result<(), Untaken>
where
    F: Future<Output = Result<(), StreamError>>,
{
    within(limit, sending).await.ok_or(Untaken::Slow)?.map_err(Untaken::Stream)
}

type Sending = RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;

/// Sends an answer with the headers that hyper adds over TCP.
async fn respond(sending: &mut Sending, answer: Answer, limit: Duration) -> Result<(), Untaken> {
    let (mut parts, mut body) = answer.into_parts();
    let has_body = parts.status != StatusCode::NO_CONTENT
        && parts.status != StatusCode::NOT_MODIFIED
        && !parts.status.is_informational();
    if let Some(length) = body.size_hint().exact().filter(|_| has_body)
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !parts.headers.contains_key(DATE) {
        parts.headers.insert(DATE, date());
    }
    taken(limit, pin!(sending.send_response(Response::from_parts(parts, ())))).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Untaken::CutOff)?.into_data() {
            taken(limit, pin!(sending.send_data(data))).await?;
        }
    }
    taken(limit, pin!(sending.finish())).await
}

thread_local! {
    /// The second that was written last, and how.
    static WRITTEN: RefCell<(u64, HeaderValue)> =
        const { RefCell::new((0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))) };
}

/// The time of day as headers tell it: written once a second.
fn date() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|(written, date)| {
        if *written != second
            && let Ok(new) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
        {
            (*written, *date) = (second, new);
        }
        date.clone()
    })
}

/// The body of a request.
struct Incoming(RequestStream<Receiving, Bytes>);

impl Body for Incoming {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let data = ready!(self.0.poll_recv_data(cx))?;
        Poll::Ready(data.map(|mut data| Ok(Frame::data(data.copy_to_bytes(data.remaining())))))
    }
}
