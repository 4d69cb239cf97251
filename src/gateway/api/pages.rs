//! What is not about agents: metrics, readiness, the description of this API, and the first page.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State as FromState;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use pulsegate_wire::Code;

use super::State;
use super::problem::Refused;
use crate::telemetry;

/// The description of this API, OpenAPI 3.1; a test holds it to the routes and the wire types.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

const INDEX: &str = "\
Pulsegate, a heartbeat gateway.

POST /v1/heartbeats              beat, get a directive
POST /v1/heartbeats/batch        many at once
GET  /v1/agents                  the agents: state, health, class, label, capability, limit, cursor
GET  /v1/agents/{id}             one agent; PUT registers, DELETE leaves gracefully
GET  /v1/agents/{id}/explain     why its interval is what it is
POST /v1/agents/{id}/pause       watch it, but do nothing about it; /resume ends that
POST /v1/leases/{name}/acquire   a lease with a fencing token; /renew, /release; GET /check?token=
GET  /v1/leases                  who holds what; DELETE /v1/leases/{name} takes a lease back
GET  /v1/watch                   what happens, as server-sent events; ?since=&wait= polls
GET  /v1/journal                 how the journal does; /backup is a copy of it
GET  /v1/policies                the policies and their trials
PUT  /v1/policies/{name}         upload a revision; POST /mode, /canary, /rollback; DELETE
GET  /v1/dead-letters            what could not be handled; /{id}, /{id}/replay, DELETE
GET  /health/agents              the fleet at a glance; /health/agents/{id}: 200 alive, 503 not
GET  /metrics                    for Prometheus
GET  /healthz /readyz            of the gateway itself
GET  /v1/openapi.json            all of this for machines
";

/// `GET /`
pub(super) async fn index() -> &'static str {
    INDEX
}

/// `GET /v1/openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

/// `GET /metrics`
pub(super) async fn metrics(FromState(state): FromState<State>) -> impl IntoResponse {
    let figures = telemetry::Figures {
        census: state.shards.census(),
        memory: state.shards.memory(),
        held: state.clock.is_held(),
        held_ms: state.clock.lost_ms(),
        events_queued: state.shards.events_queued(),
        journal: journal(&state),
        watchers: state.hub.watchers(),
    };
    ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], state.telemetry.scrape(&figures))
}

fn journal(state: &State) -> telemetry::JournalFigures {
    let status = state.durable.journal().status();
    telemetry::JournalFigures {
        events: status.written,
        queued: status.queue,
        commit: [status.commit_p50, status.commit_p99],
        bytes: [
            status.event_bytes,
            status.heartbeat_bytes,
            status.dead_letter_bytes,
            status.file_bytes,
        ],
        read_only: status.read_only.is_some(),
        unrecorded: state.durable.lost(),
        heartbeats_dropped: status.heartbeats_dropped,
        dead_letters: status.dead_letters,
    }
}

/// `GET /healthz`: the process turns.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: heartbeats are welcome.
pub(super) async fn readyz(FromState(state): FromState<State>) -> Response {
    if state.ready.load(Relaxed) {
        return "ready\n".into_response();
    }
    Refused::new(Code::Overloaded, "the gateway starts or ends").into_response()
}
