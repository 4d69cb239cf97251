//! How long a connection may take, without a timer in the way of a request that comes at once.
//!
//! hyper's own header timeout runs on idle kept-alive connections too (`proto/h1/conn.rs`,
//! `poll_read_head`), so an agent that beats every five minutes would lose its connection each
//! time. Here three things are told apart:
//! - *idle*: nothing of a request has come. Long; measured in quarters, by a timer that is left
//!   alone while requests pass, so that a request costs no look at the clock.
//! - *reading*: some bytes of a request have come, and not yet its whole head. Short, from the
//!   first moment that more had to be waited for, however many bytes dribble in.
//! - *writing*: the peer does not take its answer. Short.
//!
//! While a request is being answered, only its body is timed, elsewhere; an answer that is made
//! while it is sent (a stream of events) lasts until its end. In HTTP/2 bytes do not always belong
//! to a request: only the first head is timed, and idleness.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Either;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::respond::Answer;
use super::service::Held;

/// Quiet stretches of a quarter of the idle time that end a connection.
const QUARTERS: u32 = 4;

/// Awaits what nearly always is ready at once. A timer is set only where it is not; `None` when it
/// then takes longer than `limit`.
pub(super) async fn within<F: Future>(
    limit: Duration,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => Box::pin(tokio::time::timeout(limit, future)).await.ok(),
    }
}

/// What the two ends of a connection (its socket and its requests) know of each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Requests being answered.
    in_flight: AtomicU32,
    /// Bytes have come since the last request began.
    begun: AtomicBool,
    /// Something has come since the last look.
    active: AtomicBool,
    multiplexed: AtomicBool,
}

/// A request being answered.
pub(super) struct Answering(Arc<Pace>);

impl Pace {
    /// The head of a request is complete. To be called as soon as hyper hands it over: before it
    /// looks for more bytes, which would otherwise seem to be missing from the head.
    pub(super) fn request(self: &Arc<Self>, multiplexed: bool) -> Answering {
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        self.begun.store(false, Relaxed);
        self.active.store(true, Relaxed);
        Answering(self.clone())
    }

    fn received(&self) {
        self.begun.store(true, Relaxed);
        if !self.multiplexed.load(Relaxed) {
            self.active.store(true, Relaxed);
        }
    }

    fn is_answering(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    fn is_reading(&self) -> bool {
        self.begun.load(Relaxed) && !self.is_answering() && !self.multiplexed.load(Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Held for Answering {
    /// Where the body is still being made, the request is being answered until that has ended.
    fn answered(self, answer: Answer) -> Answer {
        answer.map(|body| match body {
            Either::Right(body) if body.size_hint().exact().is_none() => {
                Either::Right(Body::new(Lasting { body, _answering: self }))
            }
            whole => whole,
        })
    }
}

/// A body whose connection is not idle while it lasts.
struct Lasting {
    body: Body,
    _answering: Answering,
}

impl http_body::Body for Lasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the timer is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timed {
    Idle,
    Reading,
    Writing,
}

/// A connection that ends when it takes too long.
pub(super) struct Paced<IO> {
    io: IO,
    pace: Arc<Pace>,
    strict: Duration,
    quarter: Duration,
    timer: Pin<Box<Sleep>>,
    timed: Timed,
    quiet: u32,
}

impl<IO> Paced<IO> {
    /// `strict` for reading and writing, `idle` between requests.
    pub(super) fn new(io: IO, pace: Arc<Pace>, strict: Duration, idle: Duration) -> Self {
        let quarter = idle / QUARTERS;
        let timer = Box::pin(tokio::time::sleep(quarter));
        Self { io, pace, strict, quarter, timer, timed: Timed::Idle, quiet: 0 }
    }

    /// The peer has to act for the connection to go on; an error when it took too long.
    fn wait(&mut self, for_what: Timed, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.timed != for_what {
            let limit = if for_what == Timed::Idle { self.quarter } else { self.strict };
            self.timer.as_mut().reset(Instant::now() + limit);
            self.timed = for_what;
            self.quiet = 0;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.quiet += 1;
            if self.pace.active.swap(false, Relaxed) || self.pace.is_answering() {
                self.quiet = 0;
            }
            if for_what != Timed::Idle || self.quiet >= QUARTERS {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(Instant::now() + self.quarter);
        }
        Poll::Pending
    }

    fn written<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_pending() {
            return self.wait(Timed::Writing, cx).map(Err);
        }
        if self.timed == Timed::Writing {
            self.timer.as_mut().reset(Instant::now() + self.quarter);
            self.timed = Timed::Idle;
        }
        result
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Paced<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        if result.is_ready() {
            if buffer.filled().len() > before {
                self.pace.received();
            }
            return result;
        }
        // A peer that does not take its answer is timed by the writing side.
        if self.timed == Timed::Writing {
            return Poll::Pending;
        }
        let for_what = if self.pace.is_reading() { Timed::Reading } else { Timed::Idle };
        self.wait(for_what, cx).map(Err)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Paced<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.written(result, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(result, cx)
    }
}
