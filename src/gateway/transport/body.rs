//! Reads a body within its limit and its time.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::BodyExt as _;
use pulsegate_wire::{Code, Problem};

use super::Shared;
use crate::admission::Rejection;

/// Reads the whole body. The limit is held against `content-length` first and then against what
/// comes; the time runs only if the body did not come with the head.
pub(super) async fn read<B: Body<Data = Bytes> + Unpin>(
    shared: &Shared,
    headers: &HeaderMap,
    body: B,
    limit: usize,
) -> Result<Bytes, Rejection> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let mut reading = pin!(whole(body, announced, limit));
    let first = std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    if let Poll::Ready(result) = first {
        return result;
    }
    let _permit = shared.shed.permit()?;
    let limit = shared.limits.body;
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
        let problem = Problem::new(Code::RequestTimeout, "the body took too long to arrive")
            .with_limit(limit.as_secs_f64());
        Err(Rejection::of(problem).closing())
    })
}

/// Not every transport holds a body to its announced length (RFC 9114 §4.1.2).
async fn whole<B>(body: B, announced: Option<u64>, limit: usize) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bytes = collect(body, limit).await?;
    match announced {
        Some(length) if length != bytes.len() as u64 => Err(cut_off()),
        _ => Ok(bytes),
    }
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::new();
    let mut only = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| cut_off())?.into_data() else { continue };
        if whole.len() + only.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if body.is_end_stream() && whole.is_empty() && only.is_empty() {
            return Ok(data);
        }
        if whole.is_empty() && only.is_empty() {
            only = data;
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut only));
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { only } else { whole.freeze() })
}

fn too_large(limit: usize) -> Rejection {
    let problem = Problem::new(Code::TooLarge, "the body is over its limit, in bytes");
    Rejection::of(problem.with_limit(limit as f64)).closing()
}

fn cut_off() -> Rejection {
    let detail = "the body is not as long as was announced";
    Rejection::of(Problem::new(Code::Malformed, detail)).closing()
}
