//! Requests of one connection: heartbeats here, everything else to the router.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use http::header::ALT_SVC;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::Either;
use pulsegate_wire::{Code, Problem};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::Shared;
use super::heartbeats::{Head, Route};
use super::peer::Peer;
use super::respond::{self, Answer, internal};
use crate::admission::{Authenticated, Rejection};
use crate::api::ListenerKind;
use crate::telemetry::BeatOutcome;
use crate::telemetry::Transport;

/// Longest time of a request of an operator, its body included. Source: chosen; the longest
/// listing takes milliseconds.
const OPERATOR_TIME: Duration = Duration::from_secs(30);
/// The same of an upload, which is compiled and checked by a thread that gives way to all others.
/// Source: measured; a guest of 18 MB takes a busy machine a minute.
const UPLOAD_TIME: Duration = Duration::from_secs(300);

/// One connection.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) kind: ListenerKind,
    pub(super) authenticated: Authenticated,
    /// Where else this service is to be had, for answers over TLS (RFC 7838).
    pub(super) alt_svc: Option<HeaderValue>,
}

/// A request on the control runtime. A set ends what is in it when it is dropped: nobody waits in
/// line for a lease whose client has gone. Beside it, the longest time that it may take.
type Routed = (Duration, JoinSet<Result<Response<axum::body::Body>, Infallible>>);

/// What a request has come to once its head was read.
enum Begun<B> {
    /// Heartbeats follow in its body, or it was refused for its head.
    Heartbeats(Route, Result<Head, Rejection>, B),
    /// The operator's routes have it.
    Elsewhere(Routed),
    Refused(Rejection),
}

/// What lasts as long as a request is being answered.
pub(super) trait Held: Send {
    /// The head of the answer is there.
    fn answered(self, answer: Answer) -> Answer;
}

impl Held for () {
    fn answered(self, answer: Answer) -> Answer {
        answer
    }
}

impl Session {
    /// Serves one request; whatever goes wrong, there is an answer. `held` is kept to the end of
    /// the request, and says what becomes of it with the head of the answer.
    ///
    /// The head is looked at here, and not in the future, which would otherwise keep room for
    /// all of it: on every connection of HTTP/1.1, and with every request of the others.
    pub(super) fn serve<B, H>(
        self: Arc<Self>,
        request: Request<B>,
        held: H,
    ) -> impl Future<Output = Result<Answer, Infallible>> + Send + use<B, H>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
        H: Held,
    {
        let version = request.version();
        let trace = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| trace(request.headers()).map(str::to_owned))
            .flatten();
        let begun = self.begin(request);
        async move {
            let result = match begun {
                Begun::Heartbeats(route, head, body) => {
                    let result = match head {
                        Ok(head) => self.heartbeats(route, head, body).await,
                        Err(rejection) => Err(rejection),
                    };
                    result.inspect_err(|rejection| self.count(rejection, route, version))
                }
                Begun::Elsewhere(serving) => routed(serving).await,
                Begun::Refused(rejection) => Err(rejection),
            };
            let answer = result
                .unwrap_or_else(|rejection| self.refuse(&rejection, version, trace.as_deref()));
            Ok(held.answered(self.advertise(answer)))
        }
    }

    fn begin<B>(&self, request: Request<B>) -> Begun<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let route = match request.uri().path() {
            "/v1/heartbeats" => Some(Route::Single),
            "/v1/heartbeats/batch" => Some(Route::Batch),
            _ => None,
        };
        match route.filter(|_| self.kind != ListenerKind::Admin) {
            Some(route) if request.method() == Method::POST => {
                let head = self.head(&request);
                Begun::Heartbeats(route, head, request.into_body())
            }
            Some(_) => {
                let problem = Problem::new(Code::MethodNotAllowed, "heartbeats are posted");
                Begun::Refused(Rejection::of(problem))
            }
            None if self.peer.is_early() => Begun::Refused(Rejection::too_early()),
            None => Begun::Elsewhere(self.route(request)),
        }
    }

    fn refuse(&self, rejection: &Rejection, version: Version, trace: Option<&str>) -> Answer {
        let code = rejection.code();
        self.shared.telemetry.rejected(code);
        tracing::debug!(
            peer = %self.peer.address(), code = code.as_str(), traceparent = trace,
            field = rejection.problem.field.as_deref(), detail = rejection.problem.detail,
            "refused",
        );
        respond::problem(rejection, version)
    }

    fn advertise(&self, mut answer: Answer) -> Answer {
        if let Some(alt_svc) = &self.alt_svc {
            answer.headers_mut().insert(ALT_SVC, alt_svc.clone());
        }
        answer
    }

    /// A request that carried no heartbeat which could be told apart is one that was rejected.
    fn count(&self, rejection: &Rejection, route: Route, version: Version) {
        let outcome = match rejection.code() {
            // Counted where it was found out, with what became of the deadline.
            Code::RateLimited
            | Code::IncarnationStale
            | Code::AgentStopped
            | Code::TooEarly
            | Code::JournalUnavailable => return,
            Code::Overloaded if !rejection.close => return,
            Code::Overloaded => BeatOutcome::Shed,
            _ => BeatOutcome::Rejected,
        };
        if route == Route::Single || outcome == BeatOutcome::Shed {
            self.shared.telemetry.heartbeat(transport(version), outcome);
        }
    }

    /// The operator's routes, and what agents ask of leases, on the control runtime: they may take
    /// long, and a panic there ends with the request.
    fn route<B>(&self, mut request: Request<B>) -> Routed
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        request.extensions_mut().insert(self.kind);
        let router = self.shared.router.clone();
        let is_upload = *request.method() == Method::PUT;
        let within = if is_upload { UPLOAD_TIME } else { OPERATOR_TIME };
        let mut serving = JoinSet::new();
        serving.spawn_on(router.oneshot(request.map(axum::body::Body::new)), &self.shared.control);
        (within, serving)
    }
}

/// Waits for the answer of a request on the control runtime.
async fn routed((within, mut serving): Routed) -> Result<Answer, Rejection> {
    match tokio::time::timeout(within, serving.join_next()).await {
        Ok(Some(Ok(Ok(response)))) => Ok(response.map(Either::Right)),
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "a request could not be handled: a bug");
            Err(internal())
        }
        Ok(None) => Err(internal()),
        Err(_) => {
            Err(Rejection::of(Problem::new(Code::RequestTimeout, "the request took too long"))
                .closing())
        }
    }
}

/// The transport of a version of HTTP.
pub(super) fn transport(version: Version) -> Transport {
    match version {
        Version::HTTP_3 => Transport::Http3,
        Version::HTTP_2 => Transport::Http2,
        _ => Transport::Http1,
    }
}

/// The trace that a request belongs to (W3C Trace Context).
pub(super) fn trace(headers: &HeaderMap) -> Option<&str> {
    let traceparent = headers.get("traceparent")?.to_str().ok()?;
    // 55 bytes in version 00; later versions may be longer, but nobody may fill the log.
    (traceparent.len() <= 128).then_some(traceparent)
}
