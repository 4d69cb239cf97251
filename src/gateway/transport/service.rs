//! Requests of one connection: heartbeats here, everything else to the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use pulsegate_wire::{Code, Problem};
use tower::ServiceExt as _;

use super::Shared;
use super::heartbeats::Route;
use super::pace::Pace;
use super::respond::{self, Answer, internal};
use crate::admission::{Authenticated, Rejection};
use crate::api::ListenerKind;
use crate::telemetry::BeatOutcome;
use crate::telemetry::Transport;

/// Longest time of a request of an operator, its body included. Source: chosen; the longest
/// listing takes milliseconds.
const OPERATOR_TIME: Duration = Duration::from_secs(30);

/// One connection.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    pub(super) kind: ListenerKind,
    pub(super) pace: Arc<Pace>,
    pub(super) authenticated: Authenticated,
}

impl Session {
    /// Serves one request; whatever goes wrong, there is an answer.
    pub(super) async fn serve(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let version = request.version();
        let route = match request.uri().path() {
            "/v1/heartbeats" => Some(Route::Single),
            "/v1/heartbeats/batch" => Some(Route::Batch),
            _ => None,
        };
        let route = route.filter(|_| self.kind != ListenerKind::Admin);
        let trace = trace(&request);
        let result = match route {
            Some(route) if request.method() == Method::POST => {
                let result = self.heartbeats(route, request).await;
                if let Err(rejection) = &result {
                    self.count(rejection, route, version);
                }
                result
            }
            Some(_) => {
                Err(Rejection::of(Problem::new(Code::MethodNotAllowed, "heartbeats are posted")))
            }
            None => self.route(request).await,
        };
        Ok(result.unwrap_or_else(|rejection| {
            let code = rejection.code();
            self.shared.telemetry.rejected(code);
            tracing::debug!(
                peer = %self.peer, code = code.as_str(), traceparent = trace.as_deref(),
                field = rejection.problem.field.as_deref(), detail = rejection.problem.detail,
                "refused",
            );
            respond::problem(&rejection, version)
        }))
    }

    /// A request that carried no heartbeat which could be told apart is one that was rejected.
    fn count(&self, rejection: &Rejection, route: Route, version: Version) {
        let is_http2 = version == Version::HTTP_2;
        let transport = if is_http2 { Transport::Http2 } else { Transport::Http1 };
        let outcome = match rejection.code() {
            // Counted where it was found out, with what became of the deadline.
            Code::RateLimited | Code::IncarnationStale | Code::AgentStopped => return,
            Code::Overloaded if !rejection.close => return,
            Code::Overloaded => BeatOutcome::Shed,
            _ => BeatOutcome::Rejected,
        };
        if route == Route::Single || outcome == BeatOutcome::Shed {
            self.shared.telemetry.heartbeat(transport, outcome);
        }
    }

    /// The operator's routes, on the control runtime: they may take long, and a panic there
    /// ends with the request.
    async fn route(&self, mut request: Request<Incoming>) -> Result<Answer, Rejection> {
        request.extensions_mut().insert(self.kind);
        let router = self.shared.router.clone();
        let serving = self.shared.control.spawn(router.oneshot(request.map(Body::new)));
        match tokio::time::timeout(OPERATOR_TIME, serving).await {
            Ok(Ok(Ok(response))) => Ok(response.map(Either::Right)),
            Ok(Err(error)) => {
                tracing::error!(%error, "a request could not be handled: a bug");
                Err(internal())
            }
            Err(_) => {
                Err(Rejection::of(Problem::new(Code::RequestTimeout, "the request took too long"))
                    .closing())
            }
        }
    }
}

/// The trace that a request belongs to (W3C Trace Context), where somebody will read of it.
fn trace(request: &Request<Incoming>) -> Option<String> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    let traceparent = request.headers().get("traceparent")?.to_str().ok()?;
    // 55 bytes in version 00; later versions may be longer, but nobody may fill the log.
    (traceparent.len() <= 128).then(|| traceparent.to_owned())
}
