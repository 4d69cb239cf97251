//! `/v1/agents`: listings and single agents.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as FromQuery, State as FromState};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pulsegate_core::{Refusal, TenantId};
use pulsegate_wire::view::{AgentPage, AgentView};
use pulsegate_wire::{AgentId, Code, Problem, Registration, limits};
use serde::de::DeserializeOwned;

use super::problem::Refused;
use super::query::{self, Pairs, Query};
use super::{State, view};
use crate::admission::Rejection;

/// Agents that one request of a listing looks at, so that a filter that matches nobody does not
/// hold a worker for long. The page is then shorter than asked for, and says where to go on.
///
/// Source: chosen; a few milliseconds in all.
const STEPS: usize = 16_384;

/// Agents in a page when nothing else is asked for.
const PAGE: usize = 100;

/// Agents looked at, and listed, before other work of the same worker has its turn.
///
/// Source: chosen; at about a microsecond for each agent listed.
const STEPS_A_TURN: usize = 256;

pub(super) type Params = Result<FromQuery<Pairs>, QueryRejection>;
pub(super) type Id = Result<Path<String>, PathRejection>;

/// `GET /v1/agents`
pub(super) async fn list(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Response, Refused> {
    let query = Query::read(&state, &pairs(params)?, PAGE)?;
    // Before the first look: what happens from here on is watched, or listed, or both.
    let watch = state.hub.now().to_string();
    let (agents, next) = walk(&state, &query, view::agent).await;
    Ok(Json(AgentPage { agents, next, watch }).into_response())
}

/// Goes over the agents of a query, a few at a time.
pub(super) async fn walk<T>(
    state: &State,
    query: &Query,
    show: impl Fn(&crate::config::Config, &crate::shard::Found<'_>) -> T,
) -> (Vec<T>, Option<String>) {
    let config = state.config.load_full();
    let mut all = Vec::new();
    let mut cursor = query.cursor;
    for _ in 0..STEPS / STEPS_A_TURN {
        let limit = (query.limit - all.len()).min(STEPS_A_TURN);
        let (mut some, next) = state.shards.list(cursor, STEPS_A_TURN, limit, |found| {
            let asked_for = found.info.tenant == query.tenant && query.filter.takes(&found);
            asked_for.then(|| show(&config, &found))
        });
        all.append(&mut some);
        match next {
            None => return (all, None),
            Some(next) => cursor = next,
        }
        if all.len() >= query.limit {
            break;
        }
        tokio::task::yield_now().await;
    }
    (all, Some(cursor.to_string()))
}

/// `GET /v1/agents/{id}`
pub(super) async fn show(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<AgentView>, Refused> {
    let (tenant, id) = key(&state, id, params)?;
    find(&state, tenant, &id).map(Json)
}

/// `PUT /v1/agents/{id}`
pub(super) async fn put(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (tenant, id) = key(&state, id, params)?;
    let registration = registration(&headers, body).await?;
    let is_new = state.shards.put(tenant, &id, registration).map_err(|refusal| match refusal {
        Refusal::Full => Refused::new(Code::Overloaded, "there is no room for another agent"),
        Refusal::Stopped => Refused::new(Code::AgentStopped, "this incarnation has left"),
        Refusal::ReadOnly => undurable(),
        Refusal::IncarnationStale { .. } => {
            Refused::new(Code::IncarnationStale, "a newer incarnation is known")
        }
    })?;
    durable(&state).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(find(&state, tenant, &id)?)).into_response())
}

/// `DELETE /v1/agents/{id}`
pub(super) async fn delete(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<StatusCode, Refused> {
    let (tenant, id) = key(&state, id, params)?;
    if !state.shards.stop(tenant, &id).map_err(|_| undurable())? {
        return Err(unknown());
    }
    durable(&state).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/agents/{id}/pause`
pub(super) async fn pause(
    state: FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<AgentView>, Refused> {
    set_paused(&state, id, params, true).await
}

/// `POST /v1/agents/{id}/resume`
pub(super) async fn resume(
    state: FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<AgentView>, Refused> {
    set_paused(&state, id, params, false).await
}

async fn set_paused(
    state: &State,
    id: Id,
    params: Params,
    paused: bool,
) -> Result<Json<AgentView>, Refused> {
    let (tenant, id) = key(state, id, params)?;
    if !state.shards.pause(tenant, &id, paused).map_err(|_| undurable())? {
        return Err(unknown());
    }
    durable(state).await?;
    find(state, tenant, &id).map(Json)
}

/// The agent that a request is about.
pub(super) fn key(state: &State, id: Id, params: Params) -> Result<(TenantId, String), Refused> {
    let tenant = query::tenant(state, &pairs(params)?)?;
    let Ok(Path(id)) = id else {
        return Err(Refused::field("agent_id", "must be UTF-8"));
    };
    AgentId::check(&id).map_err(|error| {
        let problem = Problem::on_field("agent_id", &error.to_string());
        Refused::from(problem.with_limit(limits::AGENT_ID_BYTES as f64))
    })?;
    Ok((tenant, id))
}

/// The parameters of a query.
pub(super) fn pairs(params: Params) -> Result<Pairs, Refused> {
    match params {
        Ok(FromQuery(pairs)) => Ok(pairs),
        Err(_) => Err(Refused::new(Code::Malformed, "the query could not be parsed")),
    }
}

/// Waits until everything that was done up to now is durable: nothing is told to an operator that
/// a restart could take back.
pub(super) async fn durable(state: &State) -> Result<(), Refused> {
    state.durable.wait(state.durable.newest()).await.map_err(|_| undurable())
}

/// What was asked for cannot be made durable.
pub(super) fn undurable() -> Refused {
    Refused::from(Rejection::unavailable().problem)
}

/// No such agent.
pub(super) fn unknown() -> Refused {
    Refused::new(Code::AgentUnknown, "no agent of this name in this tenant")
}

fn find(state: &State, tenant: TenantId, id: &str) -> Result<AgentView, Refused> {
    let config = state.config.load();
    let found = state.shards.find(tenant, id, |found| view::agent(&config, &found));
    found.ok_or_else(unknown)
}

async fn registration(headers: &HeaderMap, body: Body) -> Result<Registration, Refused> {
    let registration: Registration = read(headers, body).await?.unwrap_or_default();
    registration.validate()?;
    Ok(registration)
}

/// The JSON that a body holds; `None` for none.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<Option<T>, Refused> {
    let Ok(bytes) = to_bytes(body, limits::HEARTBEAT_BYTES).await else {
        let problem = Problem::new(Code::TooLarge, "the body is too large, or broke off");
        return Err(Refused::from(problem.with_limit(limits::HEARTBEAT_BYTES as f64)));
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Refused::new(Code::MediaType, "the body must be application/json"));
    }
    parse(&bytes).map(Some)
}

/// Reads the body of `PUT /v1/agents/{id}`, for `tests/fuzz`.
#[doc(hidden)]
pub fn registration_body(bytes: &[u8]) -> Result<Registration, Box<Problem>> {
    let read = parse::<Registration>(bytes).and_then(|registration| {
        registration.validate()?;
        Ok(registration)
    });
    read.map_err(Refused::into_problem)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read: Result<T, _> = serde_path_to_error::deserialize(&mut reader);
    let value = read.map_err(|error| {
        let field = error.path().to_string();
        let cause = error.into_inner();
        if cause.classify() == serde_json::error::Category::Data {
            Refused::from(Problem::on_field(&field, &cause.to_string()))
        } else {
            Refused::new(Code::Malformed, &cause.to_string())
        }
    })?;
    reader.end().map_err(|error| Refused::new(Code::Malformed, &error.to_string()))?;
    Ok(value)
}
