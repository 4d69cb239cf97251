//! Drives a peer in its tests: a story told beat by beat.

use std::collections::BTreeMap;

use crate::server::{
    AgentIndex, Answer, Change, Micros, Outbox, Report, Request, Server, Standing,
};

/// A request by which an agent leaves.
pub(super) fn stopping(agent: AgentIndex) -> Request {
    Request { agent, report: Report { stopping: true, ..Report::default() }, ..Request::default() }
}

/// A server, and what became of its agents.
pub(super) struct Story<S> {
    pub(super) server: S,
    /// Intervals that were told, in order.
    pub(super) intervals: Vec<u32>,
    standing: BTreeMap<AgentIndex, Standing>,
    sequence: u64,
    out: Outbox,
}

impl<S: Server> Story<S> {
    pub(super) fn of(server: S) -> Self {
        let (intervals, standing) = (Vec::new(), BTreeMap::new());
        Self { server, intervals, standing, sequence: 0, out: Outbox::default() }
    }

    /// A heartbeat that is received when it is sent.
    pub(super) fn beat(&mut self, now: Micros, agent: AgentIndex) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.send(now, &Request { agent, sequence, sent_at: now, ..Request::default() });
    }

    pub(super) fn send(&mut self, now: Micros, request: &Request) {
        self.pass(now);
        self.server.handle(now, request, &mut self.out);
        self.note();
    }

    pub(super) fn restart(&mut self, now: Micros) {
        self.server.restart(now, &mut self.out);
        self.note();
    }

    pub(super) fn standing_at(&mut self, now: Micros, agent: AgentIndex) -> Standing {
        self.pass(now);
        self.standing.get(&agent).copied().unwrap_or_default()
    }

    fn pass(&mut self, now: Micros) {
        while let Some(at) = self.server.next_deadline()
            && at <= now
        {
            self.server.handle_deadlines(at, &mut self.out);
            self.note();
        }
    }

    fn note(&mut self) {
        for Change { agent, to } in self.out.changes.drain(..) {
            self.standing.insert(agent, to);
        }
        self.intervals.extend(self.out.replies.drain(..).filter_map(|reply| match reply.answer {
            Answer::Directive { interval_ms, .. } => Some(interval_ms),
            _ => None,
        }));
    }
}
