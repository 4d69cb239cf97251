//! `/v1/dead-letters`: what could not be handled, to be looked at, taken after all, or removed.

use std::str;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::{HeaderValue, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pulsegate_journal::{DeadLetter, Journal, ReadError};
use pulsegate_wire::view::{DeadLetterPage, DeadLetterView, PurgeView, ReplayView};
use pulsegate_wire::{Code, Problem, limits};

use super::State;
use super::agents::{Id, Params, durable, pairs, unknown};
use super::journal::{blocking, unreadable};
use super::problem::Refused;
use super::query::{Pairs, find_tenant};
use crate::admission::{self, Format, Rejection};
use crate::shard;

/// Letters in a page when nothing else is asked for.
const PAGE: usize = 100;
/// Letters that are read at a time. Source: chosen; at most a megabyte, with the largest bodies.
const STEP: usize = 64;

/// Which letters are asked for.
#[derive(Debug)]
struct Query {
    tenant: Option<String>,
    reason: Option<String>,
    after: u64,
    limit: usize,
}

/// `GET /v1/dead-letters`: the oldest first, so that pages stay what they are while letters come.
pub(super) async fn list(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<DeadLetterPage>, Refused> {
    let query = Query::read(&state, &pairs(params)?)?;
    let journal = state.durable.journal().clone();
    let page = blocking(move || query.page(&journal)).await?;
    page.map(Json).map_err(|error| unreadable(&error))
}

/// `GET /v1/dead-letters/{id}`
pub(super) async fn show(
    FromState(state): FromState<State>,
    id: Id,
) -> Result<Json<DeadLetterView>, Refused> {
    let letter = find(&state, number(id)?).await?;
    let body = str::from_utf8(&letter.body).ok().map(str::to_owned);
    let body_base64 = body.is_none().then(|| BASE64_STANDARD.encode(&letter.body));
    Ok(Json(DeadLetterView { body, body_base64, ..view(letter) }))
}

/// `POST /v1/dead-letters/{id}/replay`: what the letter tells beside being a sign of life is taken
/// now, and the letter is gone. Where it cannot be taken, it stays.
pub(super) async fn replay(
    FromState(state): FromState<State>,
    id: Id,
) -> Result<Json<ReplayView>, Refused> {
    let id = number(id)?;
    let letter = find(&state, id).await?;
    if letter.source != "heartbeat" {
        return Err(Refused::field("source", "only heartbeats can be replayed"));
    }
    let media_type = HeaderValue::from_str(&letter.media_type).ok();
    let heartbeat = admission::heartbeat(Format::of(media_type.as_ref())?, &letter.body)?;
    let tenant = find_tenant(&state.config.load(), &letter.tenant)?;
    let agent_id = heartbeat.agent_id.clone();
    let taken = state.shards.take_late(tenant, heartbeat).map_err(|refusal| {
        let quota = state.shards.agent_quota();
        let refused = shard::Refused::Machine(refusal);
        Refused::from(Rejection::refused(refused, quota, quota).problem)
    })?;
    let changed = taken.ok_or_else(unknown)?;
    durable(&state).await?;
    remove(&state, id).await?;
    Ok(Json(ReplayView { id, agent_id, changed }))
}

/// `DELETE /v1/dead-letters/{id}`
pub(super) async fn delete(
    FromState(state): FromState<State>,
    id: Id,
) -> Result<StatusCode, Refused> {
    let id = number(id)?;
    if remove(&state, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(gone()) }
}

/// `DELETE /v1/dead-letters`
pub(super) async fn purge(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<PurgeView>, Refused> {
    let mut last = u64::MAX;
    for (name, value) in pairs(params)? {
        match name.as_str() {
            "before" => {
                let before = value.parse::<u64>().ok().filter(|before| *before > 0);
                let problem = || Refused::field(&name, "must be the number of a letter");
                last = before.ok_or_else(problem)? - 1;
            }
            _ => return Err(Refused::field(&name, "unknown parameter; known: before")),
        }
    }
    let purged = state.durable.journal().purge_dead_letters(last);
    tracing::info!(purged, "dead letters were removed");
    Ok(Json(PurgeView { purged }))
}

impl Query {
    fn read(state: &State, pairs: &Pairs) -> Result<Self, Refused> {
        let mut query = Self { tenant: None, reason: None, after: 0, limit: PAGE };
        for (name, value) in pairs {
            match name.as_str() {
                "tenant" => {
                    find_tenant(&state.config.load(), value)?;
                    query.tenant = Some(value.clone());
                }
                "reason" => query.reason = Some(value.clone()),
                "limit" => {
                    let limit =
                        value.parse().ok().filter(|limit| (1..=limits::PAGE_ITEMS).contains(limit));
                    query.limit = limit.ok_or_else(|| {
                        let problem = Problem::on_field(name, "must be from 1 to 1000");
                        Refused::from(problem.with_limit(limits::PAGE_ITEMS as f64))
                    })?;
                }
                "cursor" => {
                    let cursor = value.parse().ok();
                    query.after = cursor.ok_or_else(|| {
                        Refused::field(name, "must be the next of an earlier page")
                    })?;
                }
                _ => {
                    let known = "unknown parameter; known: tenant, reason, limit, cursor";
                    return Err(Refused::field(name, known));
                }
            }
        }
        Ok(query)
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == letter.tenant)
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
    }

    /// This reads from disk.
    fn page(mut self, journal: &Journal) -> Result<DeadLetterPage, ReadError> {
        let mut page = DeadLetterPage::default();
        loop {
            let letters = journal.dead_letters(self.after, STEP)?;
            if letters.is_empty() {
                return Ok(page);
            }
            for letter in letters {
                if page.dead_letters.len() == self.limit {
                    page.next = Some(self.after.to_string());
                    return Ok(page);
                }
                self.after = letter.id;
                if self.takes(&letter) {
                    page.dead_letters.push(view(letter));
                }
            }
        }
    }
}

/// A letter as listings show it.
fn view(letter: DeadLetter) -> DeadLetterView {
    DeadLetterView {
        id: letter.id,
        kept_at_unix_ms: letter.wall_ms,
        tenant: letter.tenant,
        source: letter.source,
        reason: letter.reason,
        detail: letter.detail,
        transport: letter.transport,
        media_type: letter.media_type,
        agent_id: letter.agent_id,
        bytes: letter.body.len() as u64,
        body: None,
        body_base64: None,
    }
}

fn number(id: Id) -> Result<u64, Refused> {
    let number = id.ok().and_then(|id| id.0.parse().ok());
    number.ok_or_else(|| Refused::field("id", "must be the number of a dead letter"))
}

async fn find(state: &State, id: u64) -> Result<DeadLetter, Refused> {
    let journal = state.durable.journal().clone();
    let found = blocking(move || journal.find_dead_letter(id)).await?;
    found.map_err(|error| unreadable(&error))?.ok_or_else(gone)
}

/// Removes a letter; whether it was there.
async fn remove(state: &State, id: u64) -> Result<bool, Refused> {
    let journal = state.durable.journal().clone();
    let taken = blocking(move || journal.take_dead_letter(id)).await?;
    taken.map(|letter| letter.is_some()).map_err(|error| unreadable(&error))
}

fn gone() -> Refused {
    Refused::new(Code::Gone, "no dead letter of this number is kept")
}
