//! `/v1/leases`: what holders ask, whoever a lease protects checks, and operators list and revoke.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State as FromState};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use pulsegate_core::TenantId;
use pulsegate_core::lease::Check;
use pulsegate_wire::lease::{
    Acquire, CheckVerdict, CheckView, LeaseHold, LeasePage, LeaseView, Release, Released, Renew,
    check_name,
};
use pulsegate_wire::{Code, Problem, limits};

use super::State;
use super::agents::{Id, Params, pairs, read, undurable};
use super::guard::Caller;
use super::problem::Refused;
use super::query::{find_tenant, page_items, tenant};
use crate::lease::{Ask, Held, Info, NotAcquired, Refusal};

/// Leases in a page when nothing else is asked for. Source: chosen, as for agents.
const PAGE: usize = 100;

/// When who found no room shall ask again, in milliseconds: room comes when leases end. Source:
/// chosen.
const FULL_RETRY_MS: u64 = 1_000;

/// `POST /v1/leases/{name}/acquire`
pub(super) async fn acquire(
    FromState(state): FromState<State>,
    caller: Extension<Caller>,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LeaseHold>, Refused> {
    let (tenant, name) = key(caller, id)?;
    let asked: Acquire = read(&headers, body).await?.unwrap_or_default();
    asked.validate()?;
    let ask = Ask {
        tenant,
        name: &name,
        holder: &asked.holder,
        ttl_ms: millis(asked.ttl_ms),
        wait: Duration::from_millis(asked.wait_ms),
    };
    state.leases.acquire(ask).await.map(hold).map_err(|error| match error {
        NotAcquired::Refused(refusal) => refused(refusal),
        NotAcquired::Ending => {
            let problem = Problem::new(Code::Overloaded, "the gateway ends; ask the next one");
            Refused::from(problem.with_retry_after_ms(FULL_RETRY_MS))
        }
    })
}

/// `POST /v1/leases/{name}/renew`
pub(super) async fn renew(
    FromState(state): FromState<State>,
    caller: Extension<Caller>,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LeaseHold>, Refused> {
    let (tenant, name) = key(caller, id)?;
    let asked: Renew = read(&headers, body).await?.unwrap_or_default();
    asked.validate()?;
    let ttl_ms = (asked.ttl_ms > 0).then(|| millis(asked.ttl_ms));
    state.leases.renew(tenant, &name, asked.token, ttl_ms).await.map(hold).map_err(refused)
}

/// `POST /v1/leases/{name}/release`
pub(super) async fn release(
    FromState(state): FromState<State>,
    caller: Extension<Caller>,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Released>, Refused> {
    let (tenant, name) = key(caller, id)?;
    let asked: Release = read(&headers, body).await?.unwrap_or_default();
    asked.validate()?;
    let released = state.leases.release(tenant, &name, asked.token).await.map_err(refused)?;
    Ok(Json(Released { released }))
}

/// `GET /v1/leases/{name}/check`
pub(super) async fn check(
    FromState(state): FromState<State>,
    caller: Extension<Caller>,
    id: Id,
    params: Params,
) -> Result<Json<CheckView>, Refused> {
    let (tenant, name) = key(caller, id)?;
    let mut token = None;
    for (parameter, value) in &pairs(params)? {
        match parameter.as_str() {
            "token" => token = value.parse().ok(),
            _ => return Err(Refused::field(parameter, "unknown parameter; known: token")),
        }
    }
    let token = token.filter(|&token| token <= limits::INTEGER);
    let token = token.ok_or_else(|| Refused::field("token", "must be the token of a grant"))?;
    let (verdict, expires_in_ms) = match state.leases.check(tenant, &name, token) {
        Check::Valid { remaining_ms } => (CheckVerdict::Valid, Some(remaining_ms)),
        Check::Superseded => (CheckVerdict::Superseded, None),
        Check::Free => (CheckVerdict::Free, None),
        Check::Unknown => (CheckVerdict::Unknown, None),
    };
    Ok(Json(CheckView { valid: verdict == CheckVerdict::Valid, verdict, expires_in_ms }))
}

/// `GET /v1/leases`
pub(super) async fn list(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<LeasePage>, Refused> {
    let config = state.config.load_full();
    let (mut tenant, mut limit, mut after) = (TenantId(0), PAGE, String::new());
    for (name, value) in pairs(params)? {
        match name.as_str() {
            "tenant" => tenant = find_tenant(&config, &value)?,
            "limit" => limit = page_items(&name, &value)?,
            "cursor" if check_name(&value).is_ok() => after = value,
            "cursor" => {
                return Err(Refused::field(&name, "must be the next of an earlier page"));
            }
            _ => {
                let known = "unknown parameter; known: tenant, limit, cursor";
                return Err(Refused::field(&name, known));
            }
        }
    }
    let of = config.tenants.name(tenant);
    let (leases, more) = state.leases.list(tenant, &after, limit, |info| view(of, &info));
    let next = leases.last().filter(|_| more).map(|lease| lease.name.clone());
    Ok(Json(LeasePage { leases, next }))
}

/// `DELETE /v1/leases/{name}`
pub(super) async fn revoke(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<StatusCode, Refused> {
    let tenant = tenant(&state, &pairs(params)?)?;
    let name = name(id)?;
    state.leases.revoke(tenant, &name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose lease a request is about, and its name.
fn key(Extension(caller): Extension<Caller>, id: Id) -> Result<(TenantId, String), Refused> {
    // The guard lets nobody in here without a tenant.
    let tenant = caller
        .ok_or_else(|| Refused::new(Code::NotFound, "no route of this path on this address"))?;
    Ok((tenant, name(id)?))
}

fn name(id: Id) -> Result<String, Refused> {
    let Ok(Path(name)) = id else {
        return Err(Refused::field("name", "must be UTF-8"));
    };
    check_name(&name)?;
    Ok(name)
}

/// A time that was checked to be far below the most that fits.
fn millis(checked_ms: u64) -> u32 {
    u32::try_from(checked_ms).unwrap_or(u32::MAX)
}

fn hold(held: Held) -> Json<LeaseHold> {
    let Held { grant, beat_now } = held;
    Json(LeaseHold {
        name: grant.name,
        holder: grant.holder,
        token: grant.token,
        ttl_ms: grant.ttl_ms.into(),
        waited_ms: grant.waited_ms,
        beat_now,
    })
}

fn view(tenant: &str, info: &Info<'_>) -> LeaseView {
    LeaseView {
        name: info.name.to_owned(),
        tenant: tenant.to_owned(),
        holder: info.holder.to_owned(),
        token: info.token,
        ttl_ms: info.ttl_ms.into(),
        expires_in_ms: info.remaining_ms,
        waiting: info.waiting as u64,
    }
}

fn refused(refusal: Refusal) -> Refused {
    let problem = Problem::new(refusal.code(), &refusal.to_string());
    match &refusal {
        Refusal::ReadOnly => undurable(),
        // One that is about to be told holds it, too: who that is nobody learns before.
        Refusal::Held { holder, .. } if holder.is_empty() => {
            Refused::new(Code::LeaseHeld, "the lease is held by another")
        }
        Refusal::Held { holder, remaining_ms, .. } => {
            Refused::from(problem.with_holder(holder).with_retry_after_ms(*remaining_ms))
        }
        Refusal::Full(_) | Refusal::TooMany => {
            Refused::from(problem.with_retry_after_ms(FULL_RETRY_MS))
        }
        _ => Refused::from(problem),
    }
}
