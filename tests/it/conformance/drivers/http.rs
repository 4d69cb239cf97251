//! What all versions of HTTP share: the request, the answer, and its headers.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use pulsegate_wire::{Code, Directive, Problem};

use crate::conformance::client::{Form, Reply};

/// What a client of HTTP says with each request.
pub struct Voice {
    pub form: Form,
    token: Option<String>,
}

impl Voice {
    pub fn new(form: Form, token: Option<&str>) -> Self {
        Self { form, token: token.map(str::to_owned) }
    }

    pub fn request(&self, scheme: &str, content_type: &str) -> Request<()> {
        let request = Request::post(format!("{scheme}://localhost/v1/heartbeats"))
            .header("host", "localhost")
            .header("content-type", content_type);
        let request = match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        request.body(()).expect("a request")
    }

    /// Reads an answer, and checks that its head says what its body says.
    pub fn reply(&self, answer: &Response<Bytes>) -> Reply {
        let (status, headers, body) = (answer.status(), answer.headers(), answer.body());
        if status == 200 {
            assert_eq!(headers["content-type"], self.form.content_type());
            let directive = self.form.of::<fn(&[u8]) -> Directive>(
                |body| serde_json::from_slice(body).expect("a directive"),
                |body| Directive::decode(body).expect("a directive"),
            );
            return Reply::Directive(Box::new(directive(body)));
        }
        assert_eq!(headers["content-type"], "application/problem+json");
        let problem: Problem = serde_json::from_slice(body).expect("a problem");
        assert_eq!(u32::from(status.as_u16()), problem.status);
        check_headers(headers, &problem);
        Reply::Problem(Box::new(problem))
    }
}

fn check_headers(headers: &HeaderMap, problem: &Problem) {
    let code = problem.code().expect("a code that is known");
    assert_eq!(code.status(), u16::try_from(problem.status).expect("a status"));
    assert_eq!(problem.kind, format!("urn:pulsegate:problem:{}", code.as_str()));
    assert_eq!(headers.contains_key("www-authenticate"), code == Code::Unauthenticated);
    let is_limited = code == Code::RateLimited;
    assert_eq!(headers.contains_key("ratelimit"), is_limited, "{headers:?}");
    assert_eq!(headers.contains_key("ratelimit-policy"), is_limited, "{headers:?}");
    let after_s = headers.get("retry-after").map(|value| value.to_str().expect("a text"));
    assert_eq!(after_s.is_some(), problem.retry_after_ms.is_some(), "{headers:?}");
    if let (Some(whole), Some(exact_ms)) = (after_s, problem.retry_after_ms) {
        let whole_ms = whole.parse::<u64>().expect("whole seconds") * 1_000;
        assert!(whole_ms.abs_diff(exact_ms) < 1_000, "{whole} s and {exact_ms} ms");
    }
}
