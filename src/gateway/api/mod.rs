//! What operators ask for over HTTP, and agents of leases: everything but the two routes of
//! heartbeats.
//!
//! ```text
//! transport → guard (who asks, from where) → a route → shards, leases → JSON, or a problem
//! ```
//! Every error is a problem document (RFC 9457) of the one table in `wire`. Every route does a
//! bounded amount of work at a time.
//!
//! This room may touch `shard`, `lease`, `rollout`, `admission`, `watch`, `durable`, `clock`,
//! `config` and `telemetry`.

mod agents;
mod chunks;
mod dead_letters;
mod explain;
mod fleet;
mod guard;
mod journal;
mod leases;
mod pages;
mod policies;
mod problem;
mod query;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};
use pulsegate_wire::Code;

use crate::clock::Clock;
use crate::config::Config;
use crate::durable::Durable;
use crate::lease::Leases;
use crate::rollout::Rollout;
use crate::shard::Shards;
use crate::telemetry::Telemetry;
use crate::watch::Hub;

#[doc(hidden)]
pub use agents::registration_body;
pub use journal::Backups;
pub use policies::Uploads;
use problem::Refused;

/// Which routes a listener serves. Every request carries it as an extension; one without it is
/// shown nothing but `/healthz` and `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Heartbeats and the operator's routes: loopback.
    All,
    /// Heartbeats, what agents ask of leases, `/healthz` and `/readyz` only.
    Agents,
    /// The operator's routes only.
    Admin,
}

/// What the routes work on.
#[derive(Clone, Debug)]
pub struct State {
    /// The agents.
    pub shards: Arc<Shards>,
    /// Their leases.
    pub leases: Leases,
    /// Their policies.
    pub rollout: Rollout,
    /// Policies that are being uploaded.
    pub uploads: Uploads,
    /// What happened.
    pub hub: Arc<Hub>,
    /// What answers wait for.
    pub durable: Durable,
    /// Core time.
    pub clock: Arc<Clock>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// Metrics and log.
    pub telemetry: Telemetry,
    /// Copies of the journal that are made.
    pub backups: Backups,
    /// Whether heartbeats are welcome: not yet at the start, no longer at the end.
    pub ready: Arc<AtomicBool>,
}

/// One path: its methods for the test against `openapi.json`, and what serves them.
struct Route {
    path: &'static str,
    #[cfg_attr(not(test), allow(dead_code, reason = "held against openapi.json by a test"))]
    methods: &'static [&'static str],
    serve: MethodRouter<State>,
}

fn routes() -> Vec<Route> {
    let route = |path, methods, serve| Route { path, methods, serve };
    vec![
        route("/", &["get"], get(pages::index)),
        route("/healthz", &["get"], get(pages::healthz)),
        route("/readyz", &["get"], get(pages::readyz)),
        route("/metrics", &["get"], get(pages::metrics)),
        route("/health/agents", &["get"], get(fleet::all)),
        route("/health/agents/{id}", &["get"], get(fleet::one)),
        route("/v1/openapi.json", &["get"], get(pages::openapi)),
        route("/v1/agents", &["get"], get(agents::list)),
        route(
            "/v1/agents/{id}",
            &["get", "put", "delete"],
            get(agents::show).put(agents::put).delete(agents::delete),
        ),
        route("/v1/agents/{id}/explain", &["get"], get(explain::show)),
        route("/v1/agents/{id}/pause", &["post"], post(agents::pause)),
        route("/v1/agents/{id}/resume", &["post"], post(agents::resume)),
        route("/v1/leases", &["get"], get(leases::list)),
        route("/v1/leases/{name}", &["delete"], delete(leases::revoke)),
        route("/v1/leases/{name}/acquire", &["post"], post(leases::acquire)),
        route("/v1/leases/{name}/renew", &["post"], post(leases::renew)),
        route("/v1/leases/{name}/release", &["post"], post(leases::release)),
        route("/v1/leases/{name}/check", &["get"], get(leases::check)),
        route("/v1/policies", &["get"], get(policies::list)),
        route(
            "/v1/policies/{name}",
            &["get", "put", "delete"],
            get(policies::show).put(policies::put).delete(policies::delete),
        ),
        route("/v1/policies/{name}/mode", &["post"], post(policies::mode)),
        route("/v1/policies/{name}/canary", &["post"], post(policies::canary)),
        route("/v1/policies/{name}/rollback", &["post"], post(policies::rollback)),
        route("/v1/watch", &["get"], get(watch::watch)),
        route("/v1/journal", &["get"], get(journal::show)),
        route("/v1/journal/backup", &["get"], get(journal::backup)),
        route(
            "/v1/dead-letters",
            &["get", "delete"],
            get(dead_letters::list).delete(dead_letters::purge),
        ),
        route(
            "/v1/dead-letters/{id}",
            &["get", "delete"],
            get(dead_letters::show).delete(dead_letters::delete),
        ),
        route("/v1/dead-letters/{id}/replay", &["post"], post(dead_letters::replay)),
        // The transport serves these itself; what arrives here came by another method.
        route("/v1/heartbeats", &["post"], post(not_found)),
        route("/v1/heartbeats/batch", &["post"], post(not_found)),
    ]
}

/// Serves everything but the two routes of heartbeats.
pub fn router(state: State) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.serve);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}

async fn not_found() -> Refused {
    Refused::new(Code::NotFound, "GET / names the routes")
}

async fn method_not_allowed() -> Refused {
    Refused::new(Code::MethodNotAllowed, "the header Allow names the methods of this route")
}
