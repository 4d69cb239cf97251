//! Drives a peer in its tests: a story told beat by beat, and a small world of chance.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::random::Random;
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

    /// How many agents stand so.
    pub(super) fn count_at(&mut self, now: Micros, standing: Standing) -> usize {
        self.pass(now);
        self.standing.values().filter(|each| **each == standing).count()
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

/// Agents that send once an interval over links that lose and delay, each message for itself.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) agents: AgentIndex,
    pub(super) interval: Micros,
    /// Share of the messages that is lost.
    pub(super) loss: f64,
    /// Mean of the delays, which are exponential.
    pub(super) mean_delay: Micros,
    pub(super) until: Micros,
}

impl World {
    /// Runs a server, and tells each change with its instant.
    pub(super) fn run(&self, server: &mut impl Server, mut told: impl FnMut(Micros, Change)) {
        let mut random = Random::new(self.seed, "world");
        let mut sends: BinaryHeap<_> = (0..self.agents)
            .map(|agent| Reverse((random.below(self.interval), agent, 1_u64)))
            .collect();
        let mut flights: BinaryHeap<Reverse<(Micros, AgentIndex, u64, Micros)>> = BinaryHeap::new();
        let (mut out, mut now) = (Outbox::default(), 0);
        while let Some(&Reverse((sent_at, agent, sequence))) = sends.peek() {
            let arrives = flights.peek().map_or(Micros::MAX, |Reverse((at, ..))| *at);
            let deadline = server.next_deadline().unwrap_or(Micros::MAX);
            // A deadline may have passed: that means at once.
            now = sent_at.min(arrives).min(deadline).max(now);
            if now > self.until {
                break;
            }
            if deadline <= now {
                server.handle_deadlines(now, &mut out);
            } else if arrives == now {
                let Some(Reverse((_, agent, sequence, sent_at))) = flights.pop() else { break };
                let request = Request { agent, sequence, sent_at, ..Request::default() };
                server.handle(now, &request, &mut out);
            } else {
                sends.pop();
                sends.push(Reverse((sent_at + self.interval, agent, sequence + 1)));
                if !random.happens(self.loss) {
                    let mean = self.mean_delay as f64;
                    let delay = random.exponential(mean).round() as Micros;
                    flights.push(Reverse((sent_at + delay, agent, sequence, sent_at)));
                }
            }
            out.replies.clear();
            out.changes.drain(..).for_each(|change| told(now, change));
        }
    }
}
