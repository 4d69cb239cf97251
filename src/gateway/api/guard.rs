//! Who may ask what: before any route of the operator runs.
//!
//! - An agents' listener shows nothing of the operator's routes.
//! - What agents ask of leases is authenticated as their heartbeats are, and served where those
//!   are: the tenant comes from the credential, never from path or body.
//! - Where a token is configured, every operator route asks for it.
//! - Where none is, the listener is on loopback, and the danger is a page in a browser on this
//!   machine: a name in `Host` that somebody else may point at us (DNS rebinding) is refused, and
//!   so is a change that another origin asked for.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Request, State as FromState};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pulsegate_core::TenantId;
use pulsegate_wire::Code;

use super::problem::{Refused, RefusedWith};
use super::{ListenerKind, State};
use crate::admission::{Authenticated, authenticate};

/// Routes that every listener has, and nobody is asked anything for.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request through, or answers it; counts what was refused anywhere behind it.
pub(super) async fn guard(
    FromState(state): FromState<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let response = match check(&state, &request) {
        Ok(tenant) => {
            request.extensions_mut().insert(tenant);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    if let Some(Some(RefusedWith(code))) = response.extensions().get::<Option<RefusedWith>>() {
        state.telemetry.rejected(*code);
    }
    response
}

/// Whose agent asks; `None` for everybody else.
pub(super) type Caller = Option<TenantId>;

fn check(state: &State, request: &Request) -> Result<Caller, Refused> {
    if OPEN.contains(&request.uri().path()) {
        return Ok(None);
    }
    // Without the mark of a listener nobody knows who asks: nothing is shown.
    let listener = request.extensions().get().copied().unwrap_or(ListenerKind::Agents);
    let is_agents = is_agents_route(request.uri().path());
    let elsewhere = if is_agents { ListenerKind::Admin } else { ListenerKind::Agents };
    if listener == elsewhere {
        return Err(Refused::new(Code::NotFound, "no route of this path on this address"));
    }
    if is_agents {
        return check_agent(state, request, listener).map(Some);
    }
    let headers = request.headers();
    if let Some(token) = state.config.load().admin_token {
        return match bearer(headers) {
            Some(shown) if token.fits(shown) => Ok(None),
            Some(_) => Err(Refused::new(Code::Unauthenticated, "the token is not known")),
            None => Err(Refused::new(Code::Unauthenticated, "a bearer token is needed")),
        };
    }
    check_page(request).map(|()| None)
}

/// Whether agents ask for this path, beside heartbeats: `/v1/leases/{name}/{what}`.
fn is_agents_route(path: &str) -> bool {
    path.strip_prefix("/v1/leases/").is_some_and(|rest| rest.contains('/'))
}

/// The tenant of an agent, by its credential.
fn check_agent(
    state: &State,
    request: &Request,
    listener: ListenerKind,
) -> Result<TenantId, Refused> {
    let config = state.config.load_full();
    // Where no credential keeps pages in a browser out, this does.
    if listener == ListenerKind::All && !config.asks_credentials() {
        check_page(request)?;
    }
    let header = request.headers().get(AUTHORIZATION);
    authenticate(&config, header, &Authenticated::default())
        .map_err(|rejection| Refused::from(rejection.problem))
}

/// No page of somebody else in a browser on this machine asks.
fn check_page(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    let host = host(request).ok_or_else(|| {
        Refused::new(Code::Forbidden, "Host must be an address or localhost on this listener")
    })?;
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !is_same_origin(headers, &host) {
        return Err(Refused::new(Code::Forbidden, "another origin must not ask for changes"));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The authority asked for, if it is one that no stranger can point at us.
fn host(request: &Request) -> Option<Authority> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::from_str(request.headers().get(HOST)?.to_str().ok()?).ok()?,
    };
    is_ours(authority.host()).then_some(authority)
}

fn is_ours(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || IpAddr::from_str(literal).is_ok()
}

/// Whether a change comes from no browser, or from a page of this very address.
fn is_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(host: &str) -> Request {
        let request = Request::builder().uri("/v1/agents").header(HOST, host);
        request.body(axum::body::Body::empty()).expect("a request")
    }

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in ["127.0.0.1:8420", "[::1]:8420", "localhost", "a.localhost:1", "LocalHost."] {
            assert!(super::host(&asks(host)).is_some(), "{host}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_may_point_at_us_is_refused() {
        for host in ["example.org", "localhost.example.org", "127.0.0.1.example.org:8420", ""] {
            assert!(super::host(&asks(host)).is_none(), "{host}");
        }
    }

    #[test]
    fn only_our_own_pages_and_no_browser_may_change_things() {
        let host = Authority::from_static("127.0.0.1:8420");
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(name),
                axum::http::HeaderValue::from_static(value),
            )])
        };
        assert!(is_same_origin(&HeaderMap::new(), &host));
        assert!(is_same_origin(&with("origin", "http://127.0.0.1:8420"), &host));
        assert!(!is_same_origin(&with("origin", "http://127.0.0.1:9000"), &host));
        assert!(!is_same_origin(&with("origin", "null"), &host));
        assert!(!is_same_origin(&with("sec-fetch-site", "cross-site"), &host));
    }

    #[test]
    fn what_agents_ask_of_a_lease_is_told_from_what_operators_ask() {
        for path in ["/v1/leases/a/acquire", "/v1/leases/a/check", "/v1/leases//renew"] {
            assert!(is_agents_route(path), "{path}");
        }
        for path in ["/v1/leases", "/v1/leases/", "/v1/leases/a", "/v1/agents/a/pause", "/"] {
            assert!(!is_agents_route(path), "{path}");
        }
    }

    #[test]
    fn the_scheme_of_a_token_is_read_in_any_case() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(AUTHORIZATION, axum::http::HeaderValue::from_static(value))])
        };
        assert_eq!(bearer(&headers("Bearer abc")), Some(b"abc".as_slice()));
        assert_eq!(bearer(&headers("bearer  abc ")), Some(b"abc".as_slice()));
        assert_eq!(bearer(&headers("Basic abc")), None);
        assert_eq!(bearer(&headers("Bear")), None);
    }
}
