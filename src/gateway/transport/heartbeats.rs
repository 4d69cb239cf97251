//! The two routes of heartbeats.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body::Body;
use pulsegate_core::TenantId;
use pulsegate_wire::{Outcome, Problem, limits};
use tracing::{Span, info_span};

use super::batch::{self, BatchAnswer, Held};
use super::letters::{self, Sent};
use super::respond::{self, Answer};
use super::service::{Session, trace, transport};
use super::{body, respond::internal};
use crate::admission::{self, Checked, Format, Rejection, authenticate};
use crate::durable::Mark;
use crate::shard::{Item, Origin, Refused, Reply};
use crate::telemetry::{BeatOutcome, Transport};

/// Which of the two routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /v1/heartbeats`.
    Single,
    /// `POST /v1/heartbeats/batch`.
    Batch,
}

/// An answer, ready to go.
pub(super) struct Handled {
    pub(super) bytes: Bytes,
    /// What has to be durable before.
    pub(super) until: Option<Mark>,
    /// The parts of a batch's answer that wait for it.
    pub(super) held: Vec<Held>,
}

/// What is kept of the head of a request.
pub(super) struct Head {
    tenant: TenantId,
    format: Format,
    transport: Transport,
    /// Length of the body, where it was announced.
    length: Option<u64>,
    /// What is logged meanwhile tells the trace that it belongs to.
    span: Span,
}

thread_local! {
    /// Answers are put together here before they get bytes of their own, of the right size.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Session {
    /// Reads the head of a request with heartbeats.
    pub(super) fn head<B>(&self, request: &Request<B>) -> Result<Head, Rejection> {
        let headers = request.headers();
        let config = self.shared.shards.config_guard();
        let tenant = authenticate(&config, headers.get(AUTHORIZATION), &self.authenticated)?;
        let format = Format::of(headers.get(CONTENT_TYPE)).map_err(Rejection::of)?;
        let transport = transport(request.version());
        let span = trace(headers)
            .map_or_else(Span::none, |traceparent| info_span!("request", traceparent));
        Ok(Head { tenant, format, transport, length: body::announced(headers), span })
    }

    /// Serves one request with heartbeats.
    pub(super) async fn heartbeats<B: Body<Data = Bytes> + Unpin>(
        &self,
        route: Route,
        head: Head,
        body: B,
    ) -> Result<Answer, Rejection> {
        let limit = match route {
            Route::Single => limits::HEARTBEAT_BYTES,
            Route::Batch => limits::BATCH_BYTES,
        };
        let bytes = body::read(&self.shared, head.length, body, limit).await?;
        let began = Instant::now();
        let handle = || {
            let _within = head.span.enter();
            match route {
                Route::Single => self.single(&head, &bytes),
                Route::Batch => self.batch(&head, &bytes),
            }
        };
        // A bug in one heartbeat must not cost the other requests of this connection.
        let answer = catch_unwind(AssertUnwindSafe(handle)).unwrap_or_else(|_| {
            tracing::error!(peer = %self.peer.address(), "a heartbeat could not be handled: a bug");
            Err(internal())
        });
        self.shared.telemetry.handled(began.elapsed());
        self.durable(&head, answer?).await
    }

    /// Lets an answer go once what has to be durable of it is. Where it is not in time, its
    /// heartbeats shall come again; of a batch, those alone.
    async fn durable(&self, head: &Head, handled: Handled) -> Result<Answer, Rejection> {
        let Handled { bytes, until, held } = handled;
        let Some(until) = until else { return Ok(respond::ok(head.format, bytes)) };
        // Apart from the request, whose future is kept small: most heartbeats wait for nothing.
        if Box::pin(self.shared.durable.wait(until)).await.is_ok() {
            return Ok(respond::ok(head.format, bytes));
        }
        let rejection = Rejection::unavailable();
        if held.is_empty() {
            return Err(rejection);
        }
        held.iter().for_each(|_| self.shared.telemetry.rejected(rejection.code()));
        let bytes = batch::without(head.format, &bytes, &held, &rejection.problem);
        Ok(respond::ok(head.format, bytes))
    }

    fn single(&self, head: &Head, body: &[u8]) -> Result<Handled, Rejection> {
        let heartbeat = admission::heartbeat(head.format, body).map_err(|problem| {
            self.shared.refused(self.sent(head), body, &problem);
            Rejection::of(problem)
        })?;
        let telemetry = &self.shared.telemetry;
        let peer = self.peer.address().ip();
        let gate = self.shared.gate(peer);
        let origin = Origin { tenant: head.tenant, peer, gate: &gate, early: self.peer.is_early() };
        let mut is_overtaken = false;
        let answered = self.shared.shards.handle_heartbeat(origin, heartbeat, |reply| {
            is_overtaken = reply.outcome() == Outcome::Stale;
            telemetry.heartbeat(head.transport, reply.outcome().into());
            BUFFER.with_borrow_mut(|buffer| {
                buffer.clear();
                write(head.format, reply, buffer);
                let bytes = Bytes::copy_from_slice(buffer);
                Handled { bytes, until: reply.until(), held: Vec::new() }
            })
        });
        if is_overtaken {
            self.shared.overtaken(self.sent(head), body);
        }
        answered.map_err(|refused| {
            telemetry.heartbeat(head.transport, outcome(&refused));
            self.shared.refusal(refused)
        })
    }

    fn batch(&self, head: &Head, body: &[u8]) -> Result<Handled, Rejection> {
        let checked = admission::batch(head.format, body).map_err(Rejection::of)?;
        let mut answer = BatchAnswer::new(head.format, checked.len());
        let mut items = Vec::with_capacity(checked.len());
        let mut bad = Vec::new();
        for (place, checked) in checked.into_iter().enumerate() {
            match checked {
                Checked::Ok(heartbeat) => items.push(Item { place, heartbeat }),
                Checked::Err(problem) => bad.push((place, problem)),
            }
        }
        let telemetry = &self.shared.telemetry;
        telemetry.heartbeats(head.transport, BeatOutcome::Rejected, bad.len() as u64);
        for (_, (_, problem)) in &bad {
            problem.code().into_iter().for_each(|code| telemetry.rejected(code));
        }
        self.keep_refused(head, body, &bad);
        let mut overtaken = Vec::new();
        let mut bad = bad.into_iter().peekable();
        let peer = self.peer.address().ip();
        let gate = self.shared.gate(peer);
        let origin = Origin { tenant: head.tenant, peer, gate: &gate, early: self.peer.is_early() };
        self.shared.shards.handle_batch(origin, items, |place, id, result| {
            while let Some((_, (id, problem))) = bad.next_if(|(bad, _)| *bad < place) {
                answer.problem(&id, &problem);
            }
            match result {
                Ok(reply) => {
                    telemetry.heartbeat(head.transport, reply.outcome().into());
                    overtaken.extend((reply.outcome() == Outcome::Stale).then_some(place));
                    answer.directive(id, reply);
                }
                Err(refused) => {
                    telemetry.heartbeat(head.transport, outcome(&refused));
                    let rejection = self.shared.refusal(refused);
                    telemetry.rejected(rejection.code());
                    answer.problem(id, &rejection.problem);
                }
            }
        });
        bad.for_each(|(_, (id, problem))| answer.problem(&id, &problem));
        self.keep_overtaken(head, body, &overtaken);
        Ok(answer.finish())
    }

    fn sent(&self, head: &Head) -> Sent {
        let &Head { tenant, format, transport, .. } = head;
        Sent { tenant, transport, format, is_early: self.peer.is_early() }
    }

    /// Keeps what of a batch was refused and is to be kept. Its bytes are looked for anew: that is
    /// rare, and a batch in order pays nothing for it.
    fn keep_refused(&self, head: &Head, body: &[u8], bad: &[(usize, (String, Box<Problem>))]) {
        if !bad.iter().any(|(_, (_, problem))| letters::is_kept(problem)) {
            return;
        }
        let items = admission::items(head.format, body);
        for (place, (_, problem)) in bad {
            let item = items.get(*place).copied();
            item.into_iter().for_each(|item| self.shared.refused(self.sent(head), item, problem));
        }
    }

    /// The same of what came after newer ones.
    fn keep_overtaken(&self, head: &Head, body: &[u8], places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let items = admission::items(head.format, body);
        for item in places.iter().filter_map(|&place| items.get(place)) {
            self.shared.overtaken(self.sent(head), item);
        }
    }
}

pub(super) fn outcome(refused: &Refused) -> BeatOutcome {
    match refused {
        Refused::Limited { unknown: false, .. } => BeatOutcome::Limited,
        Refused::Limited { unknown: true, .. } | Refused::Machine(_) | Refused::TooEarly => {
            BeatOutcome::Rejected
        }
    }
}

fn write(format: Format, reply: &Reply<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Json => reply.write_json(out),
        Format::Protobuf => reply.write_protobuf(out),
    }
}
