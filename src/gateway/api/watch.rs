//! `GET /v1/watch`: what happens, as a stream of server-sent events or by long poll.

use std::time::Duration;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, BytesMut};
use pulsegate_wire::view::WatchPage;
use pulsegate_wire::{Code, Event, EventKind, State as AgentState};
use tokio::sync::mpsc;

use super::State;
use super::agents::{Params, pairs};
use super::chunks::{self, Chunk};
use super::problem::Refused;
use super::query::{Filter, Pairs, find_tenant, push, word};
use crate::watch::{Cursor, Next, Shown, Watcher};

/// A stream on which nothing happens says that it lives, at this distance. Source: chosen; proxies
/// give up after 30 to 60 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client shall wait before it connects anew, in milliseconds. Source: chosen; a gateway
/// that restarts is back by then.
const RECONNECT_MS: u32 = 2_000;
/// Longest and default wait of a long poll, in seconds. Source: chosen; below the 30 s that any
/// request of an operator may take, and that proxies allow.
const WAIT_MOST_S: u64 = 25;
const WAIT_S: u64 = 20;

/// Which events a watcher wants to see.
#[derive(Debug, Default)]
struct Wanted {
    /// Any of these; empty for all.
    kinds: Vec<String>,
    tenant: Option<String>,
    agent: Option<String>,
    state: Option<AgentState>,
    class: Option<String>,
    /// Labels, held against what is known of the agent when the event is sent.
    labels: Option<Filter>,
}

/// What a request asks for: a stream, or a long poll, which says for how long it waits or since
/// when. Who asks for a stream by `Accept` gets one all the same, as browsers do.
#[derive(Debug, Default)]
struct Asked {
    wanted: Wanted,
    since: Option<Cursor>,
    wait: Option<Duration>,
}

/// `GET /v1/watch`
pub(super) async fn watch(
    FromState(state): FromState<State>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut asked = Asked::read(&state, &pairs(params)?)?;
    if asked.since.is_some() && !accepts_stream(&headers) {
        asked.wait = asked.wait.or(Some(Duration::from_secs(WAIT_S)));
    }
    if let Some(id) = headers.get("last-event-id") {
        let cursor = id.to_str().ok().and_then(|id| id.parse().ok());
        asked.since = Some(
            cursor.ok_or_else(|| Refused::field("Last-Event-ID", "must be an id of this watch"))?,
        );
    }
    let too_many = || Refused::new(Code::Overloaded, "too many watch already");
    let watcher = state.hub.watch(asked.since).ok_or_else(too_many)?;
    match asked.wait {
        Some(wait) => poll(&state, watcher, &asked.wanted, wait).await,
        None => Ok(stream(state, watcher, asked.wanted)),
    }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("text/event-stream"))
}

/// Answers as soon as something that is wanted happens, or when the wait is over.
async fn poll(
    state: &State,
    mut watcher: Watcher,
    wanted: &Wanted,
    wait: Duration,
) -> Result<Response, Refused> {
    let began = tokio::time::Instant::now();
    let (end, patience) = (began + wait, began + Duration::from_secs(WAIT_MOST_S));
    loop {
        match watcher.look().await {
            Next::Events(events) if events.is_empty() => {
                match tokio::time::timeout_at(end, watcher.wait()).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Ok(page(&watcher, Vec::new())),
                }
            }
            Next::Events(events) => {
                let events: Vec<Event> = events
                    .iter()
                    .filter(|shown| wanted.takes(state, &shown.event))
                    .map(|shown| Event::clone(&shown.event))
                    .collect();
                // What there is already is looked through to its end, however short the wait.
                if !events.is_empty() || tokio::time::Instant::now() >= patience {
                    return Ok(page(&watcher, events));
                }
            }
            Next::Reset { oldest, now } => {
                let detail = format!(
                    "what happened since is gone; the oldest is {oldest}. Look at /v1/agents, then \
                     go on from {now}"
                );
                return Err(Refused::new(Code::Gone, &detail));
            }
            Next::Ended => return Ok(page(&watcher, Vec::new())),
        }
    }
}

fn page(watcher: &Watcher, events: Vec<Event>) -> Response {
    Json(WatchPage { events, next: watcher.place().to_string() }).into_response()
}

/// A stream that goes on until one side ends it.
fn stream(state: State, watcher: Watcher, wanted: Wanted) -> Response {
    let (sender, body) = chunks::body();
    tokio::spawn(feed(state, watcher, wanted, sender));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn feed(state: State, mut watcher: Watcher, wanted: Wanted, sender: mpsc::Sender<Chunk>) {
    let mut out = BytesMut::new();
    let begin =
        format!("retry: {RECONNECT_MS}\nid: {}\nevent: ready\ndata: {{}}\n\n", watcher.place());
    out.extend_from_slice(begin.as_bytes());
    loop {
        if !out.is_empty() && sender.send(Ok(out.split().freeze())).await.is_err() {
            return;
        }
        let next = tokio::select! {
            next = watcher.next() => next,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                // Its place moves on with events that it did not want to see.
                out.extend_from_slice(format!(": alive\nid: {}\n\n", watcher.place()).as_bytes());
                continue;
            }
            () = sender.closed() => return,
        };
        match next {
            Next::Events(events) => {
                for shown in events.iter().filter(|shown| wanted.takes(&state, &shown.event)) {
                    write(&mut out, shown);
                    if tells_gap(&shown.event) {
                        write_reset(&mut out, watcher.oldest(), shown.cursor());
                    }
                }
            }
            Next::Reset { oldest, now } => write_reset(&mut out, oldest, now),
            Next::Ended => return,
        }
        watcher.rest().await;
    }
}

/// Events are missing: whoever wants to know has to look at everything anew.
fn write_reset(out: &mut BytesMut, oldest: Cursor, now: Cursor) {
    let told = format!(
        "id: {now}\nevent: reset\ndata: {{\"oldest\":\"{oldest}\",\"snapshot\":\"/v1/agents\"}}\n\n"
    );
    out.extend_from_slice(told.as_bytes());
}

/// Whether an event says that others were not recorded, or were lost.
fn tells_gap(event: &Event) -> bool {
    matches!(event.kind, Some(EventKind::ReadOnly(_) | EventKind::Truncated(_)))
}

fn write(out: &mut BytesMut, shown: &Shown) {
    let json = shown.json();
    let kind = shown.event.kind.as_ref().map_or("unknown", |kind| kind.as_str());
    out.reserve(json.len() + kind.len() + 64);
    out.put_slice(format!("id: {}\nevent: {kind}\ndata: ", shown.cursor()).as_bytes());
    out.put_slice(&json);
    out.put_slice(b"\n\n");
}

impl Asked {
    fn read(state: &State, pairs: &Pairs) -> Result<Self, Refused> {
        let mut asked = Self::default();
        let mut labels = Vec::new();
        for (name, value) in pairs {
            let wanted = &mut asked.wanted;
            match name.as_str() {
                "kind" => push(&mut wanted.kinds, name, value)?,
                "tenant" => {
                    find_tenant(&state.config.load(), value)?;
                    wanted.tenant = Some(value.clone());
                }
                "agent" => wanted.agent = Some(value.clone()),
                "state" => wanted.state = Some(word(name, value)?),
                "class" => wanted.class = Some(value.clone()),
                "label" if value.contains(':') => push(&mut labels, name, value)?,
                "label" => return Err(Refused::field(name, "must be key:value")),
                "since" => {
                    let cursor = value.parse();
                    asked.since = Some(
                        cursor.map_err(|_| Refused::field(name, "must be an id of this watch"))?,
                    );
                }
                "wait" => {
                    let seconds = value.parse().ok().filter(|wait| *wait <= WAIT_MOST_S);
                    let problem = || Refused::field(name, "must be whole seconds, from 0 to 25");
                    asked.wait = Some(Duration::from_secs(seconds.ok_or_else(problem)?));
                }
                _ => {
                    let known = "unknown parameter; known: kind, tenant, agent, state, class, \
                                 label, since, wait";
                    return Err(Refused::field(name, known));
                }
            }
        }
        if !labels.is_empty() {
            asked.wanted.labels = Some(Filter::labelled(labels));
        }
        Ok(asked)
    }
}

impl Wanted {
    /// Whether an event is shown. One that tells of a gap always is: what is missing may have been
    /// wanted.
    fn takes(&self, state: &State, event: &Event) -> bool {
        if tells_gap(event) {
            return true;
        }
        let kind = || event.kind.as_ref().map_or("unknown", |kind| kind.as_str());
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        let is_state = self.state.is_none_or(|state| {
            event.standing.is_some_and(|standing| standing.state == state as i32)
        });
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind()))
            && is_state
            && is(&self.tenant, &event.tenant)
            && is(&self.agent, &event.agent_id)
            && is(&self.class, &event.class)
            && self.labels.as_ref().is_none_or(|labels| labelled(state, labels, event))
    }
}

/// Whether the agent of an event has these labels now.
fn labelled(state: &State, labels: &Filter, event: &Event) -> bool {
    let tenant = state.config.load().tenants.find(&event.tenant);
    let look = |tenant| state.shards.find(tenant, &event.agent_id, |found| labels.takes(&found));
    tenant.and_then(look).unwrap_or(false)
}
