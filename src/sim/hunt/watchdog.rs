//! Promises to agents, from outside: the watchdog sees what was sent and what befell it.
//!
//! P1: an agent that obeys is never suspect. It obeys by construction, so whoever turns suspect
//! while it runs must have an excuse: it stood still, it was told nothing yet, or every attempt
//! since its last heartbeat was lost, slow, or met no gateway.
//!
//! It remembers the latest happenings of each agent, and tells them with what it finds wrong.

use std::collections::VecDeque;

use pulsegate_core::lease::history::Fact;

use crate::gateway::Violation;
use crate::network::SLOW;
use crate::server::{
    AgentIndex, Answer, Change, LeaseTold, MS, Micros, Reply, Request, SECOND, Standing, Why,
};
use crate::world::Observer;

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
struct Seen {
    runs: bool,
    /// It has received a directive: who was told nothing yet obeys nobody.
    told: bool,
    /// A heartbeat has arrived since: it obeys.
    obeys: bool,
    /// It stands still.
    paused: bool,
    /// It has stood still since its last heartbeat arrived.
    stood_still: bool,
    /// Attempts since then.
    attempts: Vec<Attempt>,
    /// The newest run and sequence that arrived.
    arrived: (u64, u64),
    latest: VecDeque<(Micros, Happening)>,
}

/// Something that happened to an agent, to be told.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "told by Debug")]
enum Happening {
    Started,
    Ended { graceful: bool },
    Paused(bool),
    Sent { sequence: u64, why: Why, seen: u64, good: bool },
    Arrived { sequence: u64, why: Why },
    Refused { sequence: u64 },
    Answered { sequence: u64, answer: Answer },
    Stands(Standing),
}

/// Happenings that are remembered of each agent. Source: chosen; some heartbeats with retries.
const LATEST: usize = 20;

/// An attempt that would be news.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    sent: Micros,
    /// It will arrive, and soon.
    good: bool,
}

/// The watchdog.
#[derive(Debug, Default)]
pub struct Watchdog {
    agents: Vec<Seen>,
    violations: Vec<Violation>,
    counted: Vec<(u64, Fact)>,
    /// Since when this gateway has been there: silence counts from then.
    served_since: Micros,
    /// Suspicions of agents that ran, and had an excuse.
    pub excused: u64,
}

/// Most facts that are kept. Source: as in the checks of the gateway.
const FACTS: usize = 1 << 20;
/// The last attempt that can be expected to count: a retry within the shortest suspect grace, on a
/// clock that is off. Source: DESIGN §3, the third retry at +7 s ±20 %; §4, grace 10 s.
const IN_TIME: Micros = 2 * SECOND;

impl Watchdog {
    /// A watchdog of so many agents.
    #[must_use]
    pub fn new(agents: u32) -> Self {
        Self { agents: vec![Seen::default(); agents as usize], ..Self::default() }
    }

    /// What was found wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What holders of leases counted on.
    pub fn take_counted(&mut self) -> Vec<(u64, Fact)> {
        std::mem::take(&mut self.counted)
    }

    fn seen(&mut self, agent: AgentIndex) -> &mut Seen {
        &mut self.agents[agent as usize]
    }

    fn note(&mut self, now: Micros, agent: AgentIndex, happening: Happening) {
        let latest = &mut self.seen(agent).latest;
        if latest.len() == LATEST {
            latest.pop_front();
        }
        latest.push_back((now, happening));
    }

    fn suspected(&mut self, now: Micros, agent: AgentIndex) {
        let served_since = self.served_since;
        let seen = self.seen(agent);
        if !seen.runs || !seen.obeys || seen.stood_still {
            return;
        }
        // What was sent a moment ago could not arrive yet.
        let settled = now.saturating_sub(SLOW + IN_TIME);
        let counts = |sent: Micros| sent <= settled && sent >= served_since;
        let mut counted = seen.attempts.iter().filter(|attempt| counts(attempt.sent));
        let has_good = counted.clone().any(|attempt| attempt.good);
        let is_excused = !has_good && counted.next().is_some();
        if is_excused {
            self.excused += 1;
            return;
        }
        let mut text = format!(
            "agent {agent} is suspect; attempts since its last heartbeat: {:?}; served since {} ms",
            seen.attempts,
            served_since / MS
        );
        for (at, happening) in &seen.latest {
            text.push_str(&format!("\n    {:>12.3} ms {happening:?}", *at as f64 / MS as f64));
        }
        self.violations.push(Violation { at: now, rule: "obeying_is_never_suspect", text });
    }
}

impl Observer for Watchdog {
    fn started(&mut self, now: Micros, agent: AgentIndex) {
        let latest = std::mem::take(&mut self.seen(agent).latest);
        *self.seen(agent) = Seen { runs: true, latest, ..Seen::default() };
        self.note(now, agent, Happening::Started);
    }

    fn ended(&mut self, now: Micros, agent: AgentIndex, graceful: bool) {
        self.seen(agent).runs = false;
        self.note(now, agent, Happening::Ended { graceful });
    }

    fn paused(&mut self, now: Micros, agent: AgentIndex, paused: bool) {
        self.note(now, agent, Happening::Paused(paused));
        let seen = self.seen(agent);
        (seen.paused, seen.stood_still) = (paused, true);
    }

    fn sent(&mut self, now: Micros, request: &Request, good: bool) {
        let Request { sequence, why, directive_seen: seen, .. } = *request;
        self.note(now, request.agent, Happening::Sent { sequence, why, seen, good });
        let seen = self.seen(request.agent);
        // One that repeats what has arrived moves no deadline: it is there for its answer.
        if (request.incarnation, request.sequence) > seen.arrived {
            seen.attempts.push(Attempt { sent: now, good });
        }
    }

    fn arrived(&mut self, now: Micros, request: &Request) {
        let Request { sequence, why, .. } = *request;
        self.note(now, request.agent, Happening::Arrived { sequence, why });
        let seen = self.seen(request.agent);
        let place = (request.incarnation, request.sequence);
        if place > seen.arrived {
            seen.arrived = place;
            seen.obeys = seen.told;
            seen.attempts.clear();
            // What was sent before a pause may arrive in it.
            seen.stood_still = seen.paused;
        }
    }

    fn refused(&mut self, now: Micros, request: &Request) {
        self.note(now, request.agent, Happening::Refused { sequence: request.sequence });
        // It met nobody: as good as lost.
        let attempts = &mut self.seen(request.agent).attempts;
        if let Some(attempt) = attempts.iter_mut().find(|known| known.sent == request.sent_at) {
            attempt.good = false;
        }
    }

    fn answered(&mut self, now: Micros, reply: &Reply) {
        let Reply { sequence, answer, .. } = *reply;
        self.note(now, reply.agent, Happening::Answered { sequence, answer });
        self.seen(reply.agent).told |= matches!(reply.answer, Answer::Directive { .. });
    }

    fn changed(&mut self, now: Micros, change: Change) {
        self.note(now, change.agent, Happening::Stands(change.to));
        // Who was suspect before a restart still is: that is no new suspicion.
        if change.to == Standing::Suspect && now > self.served_since {
            self.suspected(now, change.agent);
        }
    }

    fn counts_on(&mut self, now: Micros, agent: AgentIndex, told: LeaseTold, until: Micros) {
        if self.counted.len() < FACTS {
            let name = format!("lease-{}", told.lease);
            let holder = format!("a{agent:07}");
            self.counted.push((now, Fact::Counts { name, holder, token: told.token, until }));
        }
    }

    fn served(&mut self, now: Micros, up: bool) {
        if up {
            self.served_since = now;
        }
    }
}
