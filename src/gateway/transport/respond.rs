//! Answers: as few headers as will do (hyper adds `date` and `content-length`).

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use pulsegate_wire::{Code, Problem};

use crate::admission::{Format, Rejection};

/// The body of an answer: bytes for heartbeats, anything for the rest.
pub(super) type Answer = Response<Either<Full<Bytes>, Body>>;

/// The content type of problem documents (RFC 9457).
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Structured fields of draft-ietf-httpapi-ratelimit-headers-09.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// 200 with these bytes.
pub(super) fn ok(format: Format, bytes: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(bytes)));
    response.headers_mut().insert(CONTENT_TYPE, format.content_type());
    response
}

/// A problem document.
pub(super) fn problem(rejection: &Rejection, version: Version) -> Answer {
    let code = rejection.code();
    let bytes = serde_json::to_vec(&rejection.problem).unwrap_or_default();
    let mut response = Response::new(Either::Left(Full::new(bytes.into())));
    *response.status_mut() =
        StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    if code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if code == Code::MethodNotAllowed {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if let Some(seconds) = rejection.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some((name, quota)) = rejection.quota {
        let wait_ms = rejection.problem.retry_after_ms.unwrap_or_default();
        let left = format!("\"{name}\";r=0;t={}", wait_ms.div_ceil(1_000));
        let window = quota.window_seconds();
        let policy = format!("\"{name}\";q={};w={window}", quota.burst);
        for (header, text) in [(RATE_LIMIT, left), (RATE_LIMIT_POLICY, policy)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header, value);
            }
        }
    }
    // HTTP/2 resets the one stream, and knows no such header.
    if rejection.close && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A problem document in the bytes of HTTP/1.1, for a connection that is not served.
pub(super) fn raw(rejection: &Rejection) -> Vec<u8> {
    let status = rejection.code().status();
    let body = serde_json::to_vec(&rejection.problem).unwrap_or_default();
    let (length, after) = (body.len(), rejection.retry_after_s.unwrap_or(1));
    let mut bytes = format!(
        "HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         content-length: {length}\r\nretry-after: {after}\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Our own fault: what it was stands in the log.
pub(super) fn internal() -> Rejection {
    Rejection::of(Problem::new(Code::Internal, "the cause stands in the gateway's log"))
}
