//! The optimal detectors of Chen, Toueg and Aguilera: freshness points instead of timeouts that
//! start at the last receipt.
//!
//! Source: Chen, Toueg, Aguilera, "On the Quality of Service of Failure Detectors", IEEE
//! Transactions on Computers 51(5), 2002: NFD-S for synchronised clocks, NFD-E for others (NFD-U
//! with estimated arrivals). Heartbeat i is sent at σᵢ; from the freshness point τᵢ on, the agent
//! is trusted only if heartbeat i or a later one has been received. A heartbeat that arrives after
//! the next freshness point therefore restores nothing.
//!
//! Assumed: attempts are not repeated; the first heartbeat of a run is trusted until the freshness
//! point that follows from it; after a restart each agent is trusted for one interval and the
//! margin, and estimates begin anew.

use super::roster::{Arrival, Roster, direct, once_every};
use crate::server::{AgentIndex, Micros, Outbox, Protocol, Request, Server, Standing};

/// Heartbeats from which the next arrival is estimated. Source: the paper's
/// simulations (n = 32).
const WINDOW: usize = 32;

/// Synchronised clocks: τᵢ = σᵢ + δ. The one server that reads when a heartbeat was sent, because
/// that both clocks agree is its assumption; it is the yardstick, not a rival.
#[derive(Debug)]
pub struct NfdS {
    interval: Micros,
    shift: Micros,
    /// With the newest sequence.
    roster: Roster<u64>,
}

impl NfdS {
    /// Detects within `interval` + `shift` (the paper's η and δ).
    #[must_use]
    pub fn new(interval: Micros, shift: Micros) -> Self {
        Self { interval, shift, roster: Roster::new() }
    }
}

impl Server for NfdS {
    fn protocol(&self) -> Protocol {
        once_every(self.interval)
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let arrival = self.roster.arrive(request, out);
        if matches!(arrival, Arrival::Left | Arrival::Refused) {
            return;
        }
        direct(request, self.interval, out);
        let newest = self.roster.own(request.agent);
        if arrival == Arrival::First || request.sequence > *newest {
            *newest = request.sequence;
            let freshness = request.sent_at + self.interval + self.shift;
            trust_until(&mut self.roster, now, request.agent, arrival, freshness, out);
        }
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.roster.fail_expired(now, out);
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            self.roster.arm(agent, now + self.interval + self.shift);
        }
    }
}

/// Clocks that agree on nothing but their rate: τᵢ = EAᵢ + α, where the expected arrival EAᵢ is
/// the mean of what the last 32 heartbeats would have predicted.
#[derive(Debug)]
pub struct NfdE {
    interval: Micros,
    margin: Micros,
    roster: Roster<Arrivals>,
}

impl NfdE {
    /// Detects within about `interval` + mean delay + `margin` (the paper's η and α).
    #[must_use]
    pub fn new(interval: Micros, margin: Micros) -> Self {
        Self { interval, margin, roster: Roster::new() }
    }
}

impl Server for NfdE {
    fn protocol(&self) -> Protocol {
        once_every(self.interval)
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let arrival = self.roster.arrive(request, out);
        if matches!(arrival, Arrival::Left | Arrival::Refused) {
            return;
        }
        direct(request, self.interval, out);
        let arrivals = self.roster.own(request.agent);
        if arrival == Arrival::First {
            *arrivals = Arrivals::of(request.sequence);
        } else if request.sequence <= arrivals.newest {
            return;
        }
        let freshness = arrivals.next_after(now, request.sequence, self.interval) + self.margin;
        trust_until(&mut self.roster, now, request.agent, arrival, freshness, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.roster.fail_expired(now, out);
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            let newest = self.roster.own(agent).newest;
            *self.roster.own(agent) = Arrivals::of(newest);
            self.roster.arm(agent, now + self.interval + self.margin);
        }
    }
}

/// When heartbeats arrived, each moved back to the time of one base heartbeat.
#[derive(Debug, Default)]
struct Arrivals {
    newest: u64,
    /// Sequence of the heartbeat that the others are moved back to.
    base: u64,
    moved: [i64; WINDOW],
    count: usize,
    sum: i64,
}

impl Arrivals {
    fn of(base: u64) -> Self {
        Self { newest: base, base, ..Self::default() }
    }

    /// Adds an arrival, and gives the expected one of the heartbeat after it.
    fn next_after(&mut self, now: Micros, sequence: u64, interval: Micros) -> Micros {
        self.newest = sequence;
        let since_base = ((sequence - self.base) * interval).cast_signed();
        let moved = now.cast_signed() - since_base;
        let slot = &mut self.moved[self.count % WINDOW];
        // Empty slots are zero.
        self.sum += moved - std::mem::replace(slot, moved);
        self.count += 1;
        let mean = self.sum / self.count.min(WINDOW) as i64;
        (mean + since_base + interval.cast_signed()).cast_unsigned()
    }
}

/// Trusts an agent up to a freshness point, unless that has passed.
fn trust_until<T>(
    roster: &mut Roster<T>,
    now: Micros,
    agent: AgentIndex,
    arrival: Arrival,
    freshness: Micros,
    out: &mut Outbox,
) {
    if now < freshness || arrival == Arrival::First {
        roster.arm(agent, freshness);
        roster.stand(agent, Standing::Alive, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::{Expected, exponential};
    use crate::peers::driver::{Story, World};
    use crate::quality::{Estimate, Quality, Report};
    use crate::server::{Change, HOUR, MS, SECOND};

    fn sent(sequence: u64, sent_at: Micros) -> Request {
        Request { sequence, sent_at, ..Request::default() }
    }

    #[test]
    fn trust_ends_at_the_freshness_point_however_late_the_heartbeat_was() {
        for late in [0, 200 * MS, 499 * MS] {
            let mut story = Story::of(NfdS::new(SECOND, SECOND / 2));
            story.send(late, &sent(1, 0));
            assert_eq!(story.standing_at(1_500 * MS - 1, 0), Standing::Alive);
            assert_eq!(story.standing_at(1_500 * MS, 0), Standing::Failed);
        }
    }

    #[test]
    fn a_heartbeat_that_comes_after_the_next_freshness_point_restores_nothing() {
        let mut story = Story::of(NfdS::new(SECOND, SECOND / 2));
        story.send(0, &sent(1, 0));
        story.send(2_600 * MS, &sent(2, SECOND));
        assert_eq!(story.standing_at(2_600 * MS, 0), Standing::Failed);
        story.send(2_700 * MS, &sent(3, 2 * SECOND));
        assert_eq!(story.standing_at(2_700 * MS, 0), Standing::Alive);
        assert_eq!(story.standing_at(3_500 * MS, 0), Standing::Failed);
    }

    #[test]
    fn a_heartbeat_that_was_overtaken_changes_nothing() {
        for overtaken in [false, true] {
            let mut story = Story::of(NfdE::new(SECOND, SECOND / 2));
            story.send(0, &sent(1, 0));
            story.send(2_100 * MS, &sent(3, 2 * SECOND));
            if overtaken {
                story.send(2_200 * MS, &sent(2, SECOND));
            }
            // The two arrivals predict 3.0 and 3.1 s.
            assert_eq!(story.standing_at(3_550 * MS - 1, 0), Standing::Alive);
            assert_eq!(story.standing_at(3_550 * MS, 0), Standing::Failed);
        }
    }

    #[test]
    fn the_estimate_is_the_mean_of_the_last_thirty_two() {
        let mut arrivals = Arrivals::of(7);
        // Eight late ones are forgotten once 32 others have come.
        for index in 0..40 {
            let late = if index < 8 { 300 } else { 100 + 10 * (index % 2) };
            let expected = arrivals.next_after(index * 1_000 + late, 7 + index, 1_000);
            if index == 7 {
                assert_eq!(expected, 8_300);
            }
            if index == 39 {
                assert_eq!(expected, 40_105);
            }
        }
    }

    #[test]
    fn without_loss_and_with_room_for_delays_nobody_is_suspected() {
        let world = World {
            seed: 4,
            agents: 50,
            interval: SECOND,
            loss: 0.0,
            mean_delay: 20 * MS,
            until: HOUR / 10,
        };
        let mut changes = 0;
        world.run(&mut NfdS::new(SECOND, SECOND), |_, _| changes += 1);
        world.run(&mut NfdE::new(SECOND, SECOND), |_, _| changes += 1);
        assert_eq!(changes, 100, "each is alive once");
    }

    #[test]
    fn a_new_run_counts_from_its_own_first_heartbeat() {
        let mut story = Story::of(NfdE::new(SECOND, SECOND / 2));
        (0..50).for_each(|index| story.send(index * SECOND, &sent(1 + index, index * SECOND)));
        let first = Request { incarnation: 1, ..sent(1, 50_300 * MS) };
        story.send(50_300 * MS, &first);
        assert_eq!(story.standing_at(51_800 * MS - 1, 0), Standing::Alive);
        assert_eq!(story.standing_at(51_800 * MS, 0), Standing::Failed);
    }

    /// What a run of one agent for so many seconds comes to, over a link with exponential delays of
    /// 20 ms: the paper's own setting.
    fn measured(server: &mut impl Server, loss: f64, seconds: u64) -> Report {
        let until = seconds * SECOND;
        let world =
            World { seed: 11, agents: 1, interval: SECOND, loss, mean_delay: 20 * MS, until };
        let mut quality = Quality::new(1);
        quality.handle_up(0, 0);
        world.run(server, |now, change| quality.handle_change(now, change));
        quality.finish(until)
    }

    fn assert_agree(measured: &Report, expected: &Expected, loss: f64) {
        let mistakes = &measured.false_suspicions;
        let recurrence = mistakes.recurrence.expect("two mistakes at least");
        let mut duration = mistakes.duration.expect("a mistake at least");
        // A share `loss` of the mistakes lasts an interval longer, and few may hold none of those.
        duration.error = duration.error.max((loss / mistakes.count as f64).sqrt());
        let near = |estimate: Estimate, truth: f64| {
            assert!((estimate.mean - truth).abs() < 4.0 * estimate.error, "{estimate:?} {truth}");
        };
        near(recurrence, expected.recurrence);
        near(duration, expected.duration);
        // The share of the time in mistakes is the quotient of the two.
        let relative = (recurrence.error / recurrence.mean).hypot(duration.error / duration.mean);
        let mean = 1.0 - measured.accuracy.expect("it was watched");
        near(Estimate { mean, error: mean * relative }, 1.0 - expected.accuracy);
    }

    /// The time depends on when in its interval the agent crashes, and on nothing else.
    #[test]
    fn nfd_s_detects_a_crash_after_the_shift_and_within_the_bound() {
        let mut server = NfdS::new(SECOND, SECOND / 2);
        let mut quality = Quality::new(1_000);
        let mut out = Outbox::default();
        let crash = 10 * SECOND;
        for agent in 0..1_000 {
            quality.handle_up(0, agent);
            quality.handle_change(0, Change { agent, to: Standing::Alive });
            quality.handle_down(crash, agent);
            let sent_at = crash - u64::from(agent) * MS;
            let request = Request { agent, sent_at, ..Request::default() };
            server.handle(crash + 40 * MS, &request, &mut out);
        }
        out.changes.clear();
        while let Some(now) = server.next_deadline() {
            server.handle_deadlines(now, &mut out);
            out.changes.drain(..).for_each(|change| quality.handle_change(now, change));
        }
        let time = quality.finish(HOUR).failed.time.expect("all were detected");
        assert_eq!((time.count, time.max), (1_000, 1.5));
        assert!((time.mean - 1.0005).abs() < 1e-9 && (time.p50 - 1.0).abs() < 2e-3);
    }

    /// With a tenth of the heartbeats lost the longer bound has mistakes enough to be strict with.
    #[test]
    fn nfd_s_is_as_good_as_theory_says() {
        for (bound, loss, seconds) in
            [(1.5, 0.01, 200_000), (2.25, 0.01, 600_000), (2.25, 0.1, 200_000)]
        {
            let shift = ((bound - 1.0) * SECOND as f64) as Micros;
            let measured = measured(&mut NfdS::new(SECOND, shift), loss, seconds);
            assert_agree(&measured, &exponential(1.0, bound, loss, 0.02), loss);
        }
    }

    /// An estimate from 32 arrivals errs by 3.5 ms, which at this margin hardly matters.
    #[test]
    fn nfd_e_is_nearly_as_good_as_nfd_s_with_the_mean_delay_known() {
        let measured = measured(&mut NfdE::new(SECOND, 480 * MS), 0.01, 150_000);
        assert_agree(&measured, &exponential(1.0, 1.5, 0.01, 0.02), 0.01);
    }
}
