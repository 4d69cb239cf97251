//! Nomad's heartbeats: a TTL that grows with the fleet, so that the fleet's rate stays bounded.
//!
//! Source: hashicorp/nomad, `nomad/heartbeat.go` (`resetHeartbeatTimer`, `invalidateHeartbeat`,
//! `initializeHeartbeatTimers`), `helper` (`RateScaledInterval`, `RandomStagger`),
//! `nomad/config.go` (`DefaultConfig`), `client/client.go` (`registerAndHeartbeat`,
//! `getHeartbeatRetryIntv`):
//!
//! - TTL = max(10 s, timers / 50 s⁻¹), and up to as much again by chance, drawn at each heartbeat;
//!   the server's timer is the TTL and a grace of 10 s. When it fires the node is down, and no
//!   longer counts among the timers.
//! - A client waits the whole TTL that it was told, no fraction of it. After a failed attempt it
//!   waits a random share of what is left of the TTL, but at least 1–2 s; once the TTL is over,
//!   1–2 s each time for 30 s; then a random share of the time since, at most 25–30 s.
//! - A new leader gives every node that is not down a TTL of 5 min, without grace.
//!
//! Assumed: a client that beats when its TTL ends has nothing of it left when an attempt fails, so
//! it repeats every 1.5 s ± a third for 30 s, and after that every 15 s, with the same spread
//! rather than a uniform one. The wait starts with the first attempt, as for all agents here, not
//! with the answer: to Nomad's favour by the time that repeating took. The stagger of 10 s before
//! the first heartbeat is left out, and so are servers that take over: a crash ends the only one.
//! Registration is a heartbeat. A turn is one of the TTL without the random part, as the gateway's
//! turns are without jitter.

use super::roster::{Arrival, Roster, direct};
use crate::random::Random;
use crate::server::{MINUTE, Micros, Outbox, Protocol, Request, SECOND, Server, Standing};

/// `MinHeartbeatTTL`.
const MIN_TTL: Micros = 10 * SECOND;
/// `MaxHeartbeatsPerSecond`.
const MAX_PER_SECOND: u64 = 50;
/// `HeartbeatGrace`.
const GRACE: Micros = 10 * SECOND;
/// `FailoverHeartbeatTTL`.
const FAILOVER_TTL: Micros = 5 * MINUTE;

/// Attempts 1.5 s apart that fill the 30 s after the end of a TTL.
const QUICK_RETRIES: usize = 20;
/// Attempts after those; they end beyond any TTL that is still of interest.
const SLOW_RETRIES: usize = 20;

/// TTLs scaled by the rate.
#[derive(Debug)]
pub struct Nomad {
    random: Random,
    /// Nodes whose timer runs.
    timers: u64,
    roster: Roster<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// The last TTL before its random part; 0 for none.
    base: Micros,
    /// Which way that went last.
    rising: Option<bool>,
}

impl Nomad {
    /// With the defaults, and chance of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed, "nomad"), timers: 0, roster: Roster::new() }
    }
}

impl Server for Nomad {
    fn protocol(&self) -> Protocol {
        let quick = std::iter::repeat_n(1_500, QUICK_RETRIES);
        let retry_ms = quick.chain(std::iter::repeat_n(15_000, SLOW_RETRIES)).collect();
        Protocol {
            first_interval_ms: 10_000,
            retry_ms,
            retry_spread: 1.0 / 3.0,
            ..Protocol::default()
        }
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let agent = request.agent;
        let timed = self.roster.standing(agent) == Standing::Alive;
        match self.roster.arrive(request, out) {
            Arrival::First | Arrival::Again => {}
            Arrival::Left => return self.timers -= u64::from(timed),
            Arrival::Refused => return,
        }
        // The node's own timer counts only if it runs already.
        let base = rate_scaled(self.timers);
        self.timers += u64::from(!timed);
        out.turns += u64::from(self.roster.own(agent).turns(base));
        let ttl = base + self.random.below(base);
        self.roster.arm(agent, now + ttl + GRACE);
        self.roster.stand(agent, Standing::Alive, out);
        direct(request, ttl, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.timers -= self.roster.fail_expired(now, out);
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
        self.timers = 0;
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            self.timers += 1;
            self.roster.arm(agent, now + FAILOVER_TTL);
        }
    }
}

impl Node {
    /// Whether this TTL goes the other way than the change before.
    fn turns(&mut self, base: Micros) -> bool {
        let before = std::mem::replace(&mut self.base, base);
        if before == 0 || before == base {
            return false;
        }
        let rising = base > before;
        self.rising.replace(rising).is_some_and(|last| last != rising)
    }
}

/// `RateScaledInterval`: the TTL that keeps so many timers at the greatest rate.
fn rate_scaled(timers: u64) -> Micros {
    MIN_TTL.max(timers * SECOND / MAX_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::driver::{Story, stopping};
    use crate::server::AgentIndex;

    /// A fleet of which each has beaten twice, within a second.
    fn fleet(agents: AgentIndex) -> Story<Nomad> {
        let mut story = Story::of(Nomad::new(5));
        for round in 0..2 {
            (0..agents).for_each(|agent| story.beat(round * SECOND, agent));
            if round == 0 {
                story.intervals.clear();
            }
        }
        story
    }

    #[test]
    fn nomad_with_a_thousand_nodes_gives_twenty_seconds() {
        assert_eq!(rate_scaled(1_000), 20 * SECOND);
        let told = fleet(1_000).intervals;
        assert!(told.iter().all(|ttl| (20_000..40_000).contains(ttl)));
        let mean = told.iter().sum::<u32>() / 1_000;
        // Five standard errors.
        assert!(mean.abs_diff(30_000) < 900, "{mean}");
    }

    #[test]
    fn a_small_fleet_has_the_least_ttl() {
        assert_eq!((rate_scaled(0), rate_scaled(500)), (10 * SECOND, 10 * SECOND));
        assert!(rate_scaled(501) > 10 * SECOND);
        assert!(fleet(10).intervals.iter().all(|ttl| (10_000..20_000).contains(ttl)));
    }

    #[test]
    fn a_node_is_down_when_its_ttl_and_the_grace_are_over() {
        let mut story = Story::of(Nomad::new(1));
        story.beat(0, 0);
        let ttl = u64::from(story.intervals[0]) * 1_000;
        assert_eq!(story.standing_at(ttl + 10 * SECOND - 1, 0), Standing::Alive);
        // The answer is in whole milliseconds.
        assert_eq!(story.standing_at(ttl + 10 * SECOND + 1_000, 0), Standing::Failed);
        assert_eq!(story.server.timers, 0);
        story.beat(60 * SECOND, 0);
        assert_eq!(story.standing_at(60 * SECOND, 0), Standing::Alive);
    }

    #[test]
    fn timers_are_of_nodes_that_are_neither_down_nor_gone() {
        let mut story = fleet(600);
        assert_eq!(story.server.timers, 600);
        story.send(2 * SECOND, &stopping(0));
        story.send(2 * SECOND, &stopping(0));
        assert_eq!(story.server.timers, 599);
        story.beat(20 * SECOND, 1);
        story.standing_at(36 * SECOND, 1);
        assert_eq!(story.server.timers, 1, "all others' greatest TTL and grace are over");
    }

    #[test]
    fn after_a_restart_nobody_is_down_for_five_minutes() {
        let mut story = fleet(2);
        story.server.crash(5 * SECOND);
        story.restart(100 * SECOND);
        story.beat(110 * SECOND, 1);
        assert_eq!(story.standing_at(400 * SECOND - 1, 0), Standing::Alive);
        assert_eq!(story.standing_at(400 * SECOND, 0), Standing::Failed);
        assert_eq!(story.server.timers, 0);
    }

    #[test]
    fn a_turn_is_a_change_of_direction_of_the_ttl_without_chance() {
        let mut node = Node::default();
        let turns = [10, 12, 12, 14, 13, 13, 12, 15].map(|base| node.turns(base));
        assert_eq!(turns, [false, false, false, false, true, false, false, true]);
    }
}
