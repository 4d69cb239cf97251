//! What an answer to a heartbeat means.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use pulsegate_wire::{Directive, Problem};

use crate::engine::Refusal;

/// What came back for one heartbeat.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Directive(Box<Directive>),
    Refusal(Refusal),
    /// Not from a gateway: something in between spoke, and the heartbeat did not arrive.
    Foreign(StatusCode),
}

impl Answer {
    pub(crate) fn read(response: &Response<Bytes>) -> Self {
        let status = response.status();
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            return Self::Foreign(status);
        }
        if status.is_success() {
            // Every field has a default, so any JSON object parses; a directive always paces.
            return serde_json::from_slice(response.body())
                .ok()
                .filter(|directive: &Directive| directive.next_interval_ms > 0)
                .map_or(Self::Foreign(status), |directive| Self::Directive(Box::new(directive)));
        }
        let problem: Option<Problem> = serde_json::from_slice(response.body()).ok();
        let detail = problem.as_ref().map_or("", |problem| problem.detail.as_str());
        tracing::debug!(status = status.as_u16(), detail, "the gateway refused a heartbeat");
        let exact = problem.as_ref().and_then(|problem| problem.retry_after_ms);
        Self::Refusal(Refusal {
            code: problem.as_ref().and_then(Problem::code),
            retry_after: exact
                .map(Duration::from_millis)
                .or_else(|| retry_after(response.headers())),
            limit: problem.and_then(|problem| problem.limit).map(|limit| limit as u64),
        })
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use pulsegate_wire::Code;

    use super::*;

    fn response(status: u16, retry_after: Option<&str>, body: &str) -> Response<Bytes> {
        let mut builder = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            builder = builder.header(header::RETRY_AFTER, seconds);
        }
        builder.body(Bytes::from(body.to_owned())).expect("a response")
    }

    #[test]
    fn only_a_directive_with_an_interval_is_one() {
        let answer = Answer::read(&response(200, None, r#"{"number":1,"next_interval_ms":5}"#));
        assert!(matches!(answer, Answer::Directive(directive) if directive.number == 1));
        for body in ["{}", "<html>sign in</html>", ""] {
            let answer = Answer::read(&response(200, None, body));
            assert_eq!(answer, Answer::Foreign(StatusCode::OK), "{body}");
        }
    }

    #[test]
    fn the_exact_delay_wins_over_whole_seconds() {
        let body = r#"{"code":"rate_limited","retry_after_ms":1500}"#;
        let exact = Refusal {
            code: Some(Code::RateLimited),
            retry_after: Some(Duration::from_millis(1_500)),
            limit: None,
        };
        assert_eq!(Answer::read(&response(429, Some("2"), body)), Answer::Refusal(exact));
        let whole = Refusal { retry_after: Some(Duration::from_secs(2)), ..Refusal::default() };
        assert_eq!(Answer::read(&response(503, Some("2"), "busy")), Answer::Refusal(whole));
    }

    #[test]
    fn what_a_proxy_says_is_no_answer() {
        for status in [502, 504] {
            let answer = Answer::read(&response(status, None, "{}"));
            assert!(matches!(answer, Answer::Foreign(_)));
        }
    }
}
