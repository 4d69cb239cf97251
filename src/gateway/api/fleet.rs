//! `/health/agents`: the fleet at a glance.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pulsegate_core::{Census, TenantId};
use pulsegate_wire::view::FleetView;
use pulsegate_wire::{Health, State as AgentState, limits};

use super::agents::{Id, Params, key, pairs, unknown, walk};
use super::problem::Refused;
use super::query::Query;
use super::{State, view};
use crate::shard::Cursor;

/// `GET /health/agents`
pub(super) async fn all(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<FleetView>, Refused> {
    let query = Query::read(&state, &pairs(params)?, limits::PAGE_ITEMS)?;
    let (agents, next) = walk(&state, &query, |_, found| view::glance(found)).await;
    let counted = if state.config.load().tenants.names().len() == 1 {
        count(&state.shards.census())
    } else {
        count_tenant(&state, query.tenant).await
    };
    Ok(Json(FleetView { agents, next, ..counted }))
}

/// `GET /health/agents/{id}`: 200 while it is alive, 503 otherwise.
pub(super) async fn one(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<Response, Refused> {
    let (tenant, id) = key(&state, id, params)?;
    let glance =
        state.shards.find(tenant, &id, |found| view::glance(&found)).ok_or_else(unknown)?;
    let alive = glance.state == AgentState::Alive;
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(glance)).into_response())
}

fn count(census: &Census) -> FleetView {
    let mut fleet = FleetView::default();
    for by_state in &census.counts {
        for (state, by_health) in AgentState::ALL.iter().zip(by_state) {
            for (health, agents) in Health::ALL.iter().zip(by_health) {
                add(&mut fleet, *state, *health, u64::from(*agents));
            }
        }
    }
    fleet
}

/// Counts the agents of one tenant one by one: the census does not tell tenants apart.
async fn count_tenant(state: &State, tenant: TenantId) -> FleetView {
    const STEPS_A_TURN: usize = 4_096;
    let mut fleet = FleetView::default();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        (_, cursor) = state.shards.list(from, STEPS_A_TURN, 1, |found| {
            if found.info.tenant == tenant {
                add(&mut fleet, found.info.state, found.info.health, 1);
            }
            None::<()>
        });
        tokio::task::yield_now().await;
    }
    fleet
}

fn add(fleet: &mut FleetView, state: AgentState, health: Health, agents: u64) {
    fleet.total += agents;
    match state {
        AgentState::Alive if health == Health::Healthy => fleet.healthy += agents,
        AgentState::Suspect => fleet.missing += agents,
        AgentState::Failed => fleet.failed += agents,
        AgentState::Stopped => fleet.stopped += agents,
        AgentState::New | AgentState::Alive => {}
    }
}
