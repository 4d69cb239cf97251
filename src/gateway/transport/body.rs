//! Reads a body within its limit and its time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use pulsegate_wire::{Code, Problem};

use super::Shared;
use crate::admission::Rejection;

/// Reads the whole body. The limit is held against the length that was announced first and then
/// against what comes; the time runs only if the body did not come with the head.
pub(super) async fn read<B: Body<Data = Bytes> + Unpin>(
    shared: &Shared,
    announced: Option<u64>,
    body: B,
    limit: usize,
) -> Result<Bytes, Rejection> {
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let mut reading = Reading { body, limit, only: Bytes::new(), whole: BytesMut::new() };
    let bytes = match poll_fn(|cx| Poll::Ready(reading.poll(cx))).await {
        Poll::Ready(result) => result?,
        // Rare, and larger than all else that a request takes.
        Poll::Pending => Box::pin(wait(shared, &mut reading)).await?,
    };
    match announced {
        // Not every transport holds a body to its announced length (RFC 9114 §4.1.2).
        Some(length) if length != bytes.len() as u64 => Err(cut_off()),
        _ => Ok(bytes),
    }
}

/// The length that a head announces, where it does.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Waits for the rest of a body, for as long as it may take.
async fn wait<B: Body<Data = Bytes> + Unpin>(
    shared: &Shared,
    reading: &mut Reading<B>,
) -> Result<Bytes, Rejection> {
    let _permit = shared.shed.permit()?;
    let limit = shared.limits.body;
    let whole = tokio::time::timeout(limit, poll_fn(|cx| reading.poll(cx)));
    whole.await.unwrap_or_else(|_| {
        let problem = Problem::new(Code::RequestTimeout, "the body took too long to arrive")
            .with_limit(limit.as_secs_f64());
        Err(Rejection::of(problem).closing())
    })
}

/// A body as it comes.
struct Reading<B> {
    body: B,
    limit: usize,
    /// What came, if it came in one piece: nothing is copied then.
    only: Bytes,
    /// What came, if it came in several.
    whole: BytesMut,
}

impl<B: Body<Data = Bytes> + Unpin> Reading<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Rejection>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let Ok(data) = frame.map_err(|_| cut_off())?.into_data() else { continue };
            if self.whole.len() + self.only.len() + data.len() > self.limit {
                return Poll::Ready(Err(too_large(self.limit)));
            }
            let is_first = self.whole.is_empty() && self.only.is_empty();
            if is_first && self.body.is_end_stream() {
                return Poll::Ready(Ok(data));
            }
            if is_first {
                self.only = data;
                continue;
            }
            self.whole.extend_from_slice(&std::mem::take(&mut self.only));
            self.whole.extend_from_slice(&data);
        }
        let only = std::mem::take(&mut self.only);
        let whole = std::mem::take(&mut self.whole);
        Poll::Ready(Ok(if whole.is_empty() { only } else { whole.freeze() }))
    }
}

fn too_large(limit: usize) -> Rejection {
    let problem = Problem::new(Code::TooLarge, "the body is over its limit, in bytes");
    Rejection::of(problem.with_limit(limit as f64)).closing()
}

fn cut_off() -> Rejection {
    let detail = "the body is not as long as was announced";
    Rejection::of(Problem::new(Code::Malformed, detail)).closing()
}
