//! Problems as answers: RFC 9457.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use pulsegate_wire::{Code, Problem};

/// A problem on its way to a client.
#[derive(Debug)]
pub(super) struct Refused(Box<Problem>);

impl Refused {
    pub(super) fn new(code: Code, detail: &str) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// A parameter or field with a value that it must not have.
    pub(super) fn field(field: &str, detail: &str) -> Self {
        Self(Box::new(Problem::on_field(field, detail)))
    }

    /// What the client is told.
    pub(super) fn into_problem(self) -> Box<Problem> {
        self.0
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Box<Problem>> for Refused {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> axum::response::Response {
        let Self(problem) = self;
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        let status = u16::try_from(problem.status).ok();
        *response.status_mut() = status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_after_ms) = problem.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1_000)));
        }
        if problem.code() == Some(Code::Unauthenticated) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The outer layer counts what was refused.
        let code = problem.code();
        response.extensions_mut().insert(code.map(RefusedWith));
        response
    }
}

/// Mark on an answer that is a problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedWith(pub(super) Code);
