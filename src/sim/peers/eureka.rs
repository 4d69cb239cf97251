//! Eureka's leases: renewed every 30 s, evicted each minute, and nobody at all when too many are
//! missing.
//!
//! Source: Netflix/eureka, `AbstractInstanceRegistry.java` (`register`, `renew`, `internalCancel`,
//! `evict`, `postInit`, `updateRenewsPerMinThreshold`), `PeerAwareInstanceRegistryImpl.java`
//! (`isLeaseExpirationEnabled`, `updateRenewalThreshold`, `openForTraffic`), `Lease.java`,
//! `MeasuredRate.java`; spring-cloud-netflix, `InstanceRegistry.java` (`openForTraffic`):
//!
//! - A renewal sets the last update to *now + duration*, and a lease expires a *duration* after its
//!   last update: 180 s after a renewal, but 90 s after a registration. The source has it so.
//! - Each minute the expired are evicted, at most 15 % of the registry, chosen by chance; but only
//!   if more than 85 % of the renewals that the registry's clients should send came in the whole
//!   minute before (self-preservation).
//! - The expected clients are counted at registration, cancellation and eviction, and set to the
//!   registry's size every 15 min if that is more than 85 % of them. They start at 1, so that
//!   registrations count: the threshold is that of one client more than there are.
//!
//! Assumed: a renewal of an unknown agent registers it at once (404, then `POST`). Agents send once
//! an interval; their doubled waits after time-outs are left out. At a minute's end the renewals
//! are counted before the threshold, and that before evictions. After a restart the registry comes
//! from a neighbour that knew the same, so that each lease begins as if registered now;
//! [`Eureka::alone`] has none and starts empty.

use super::roster::{Arrival, Roster, direct};
use crate::random::Random;
use crate::server::{
    AgentIndex, MINUTE, Micros, Outbox, Protocol, Request, SECOND, Server, Standing,
};

/// `getExpectedClientRenewalIntervalSeconds`, and `lease-renewal-interval-in-seconds`.
const RENEWAL: Micros = 30 * SECOND;
/// `Lease.DEFAULT_DURATION_IN_SECS`.
const DURATION: Micros = 90 * SECOND;
/// `getEvictionIntervalTimerInMs`, and the length of a bucket of `renewsLastMin`.
const EVICTION: Micros = MINUTE;
/// `getRenewalThresholdUpdateIntervalMs`.
const THRESHOLD_UPDATE: Micros = 15 * MINUTE;
/// `getRenewalPercentThreshold`.
const RENEWAL_SHARE: f64 = 0.85;
/// `defaultOpenForTrafficCount`: clients that an empty registry expects.
const OPEN_FOR_TRAFFIC: u64 = 1;

/// A registry of leases.
#[derive(Debug)]
pub struct Eureka {
    random: Random,
    neighbour: bool,
    /// With the lease's last update, as it is written down.
    roster: Roster<Micros>,
    registered: u64,
    expected: u64,
    renewals: u64,
    renewals_before: u64,
    started: Micros,
    /// End of the minute; `None` while it is down.
    next_minute: Option<Micros>,
}

impl Eureka {
    /// A registry that gets its agents back from a neighbour after a restart.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed, "eureka"),
            neighbour: true,
            roster: Roster::new(),
            registered: 0,
            expected: OPEN_FOR_TRAFFIC,
            renewals: 0,
            renewals_before: 0,
            started: 0,
            next_minute: Some(EVICTION),
        }
    }

    /// A registry that is empty after a restart.
    #[must_use]
    pub fn alone(seed: u64) -> Self {
        Self { neighbour: false, ..Self::new(seed) }
    }

    /// Renewals of a minute that must be exceeded for anybody to be evicted.
    fn threshold(&self) -> u64 {
        let a_minute = MINUTE as f64 / RENEWAL as f64;
        (self.expected as f64 * a_minute * RENEWAL_SHARE) as u64
    }

    fn is_expiration_enabled(&self) -> bool {
        self.threshold() > 0 && self.renewals_before > self.threshold()
    }

    fn evict(&mut self, now: Micros, out: &mut Outbox) {
        let mut expired = self.roster.watched();
        expired.retain(|agent| now > *self.roster.own(*agent) + DURATION);
        let kept = (self.registered as f64 * RENEWAL_SHARE) as u64;
        let evicted = (self.registered - kept).min(expired.len() as u64) as usize;
        for index in 0..evicted {
            let among = (expired.len() - index) as u64;
            expired.swap(index, index + self.random.below(among) as usize);
            self.roster.fail(expired[index], out);
            self.cancel();
        }
    }

    fn register(&mut self) {
        self.registered += 1;
        self.expected += u64::from(self.expected > 0);
    }

    const fn cancel(&mut self) {
        self.registered -= 1;
        self.expected = self.expected.saturating_sub(1);
    }

    fn is_registered(&self, agent: AgentIndex) -> bool {
        self.roster.standing(agent) == Standing::Alive
    }
}

impl Server for Eureka {
    fn protocol(&self) -> Protocol {
        Protocol::default()
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let registered = self.is_registered(request.agent);
        let arrival = self.roster.arrive(request, out);
        match arrival {
            Arrival::First | Arrival::Again => {}
            Arrival::Left if registered => return self.cancel(),
            Arrival::Left | Arrival::Refused => return,
        }
        let last_update = self.roster.own(request.agent);
        if registered && arrival == Arrival::Again {
            *last_update = now + DURATION;
            self.renewals += 1;
        } else {
            *last_update = now;
            if !registered {
                self.register();
            }
        }
        self.roster.stand(request.agent, Standing::Alive, out);
        direct(request, RENEWAL, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.next_minute
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        while let Some(minute) = self.next_minute
            && minute <= now
        {
            self.next_minute = Some(minute + EVICTION);
            self.renewals_before = std::mem::take(&mut self.renewals);
            let update = (minute - self.started).is_multiple_of(THRESHOLD_UPDATE);
            if update && self.registered as f64 > RENEWAL_SHARE * self.expected as f64 {
                self.expected = self.registered;
            }
            if self.is_expiration_enabled() {
                self.evict(minute, out);
            }
        }
    }

    fn crash(&mut self, _now: Micros) {
        self.next_minute = None;
    }

    fn restart(&mut self, now: Micros, out: &mut Outbox) {
        (self.started, self.next_minute) = (now, Some(now + EVICTION));
        (self.renewals, self.renewals_before) = (0, 0);
        for agent in self.roster.watched() {
            *self.roster.own(agent) = now;
            if !self.neighbour {
                self.roster.stand(agent, Standing::Unknown, out);
                self.registered -= 1;
            }
        }
        self.expected = self.registered.max(OPEN_FOR_TRAFFIC);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::driver::{Story, stopping};

    /// A fleet that all renew at 1 and 31 s of each minute, for three minutes: until 151 s.
    struct Fleet {
        story: Story<Eureka>,
        agents: AgentIndex,
        beats: u64,
    }

    impl Fleet {
        fn of(agents: AgentIndex, server: Eureka) -> Self {
            let mut fleet = Self { story: Story::of(server), agents, beats: 0 };
            fleet.lives_until(3, agents);
            fleet
        }

        /// Only those below `living` renew from now on.
        fn lives_until(&mut self, minute: u64, living: AgentIndex) {
            while self.beats < 2 * minute {
                let now = self.beats * RENEWAL + SECOND;
                (0..living.min(self.agents)).for_each(|agent| self.story.beat(now, agent));
                self.beats += 1;
            }
        }

        fn failed_at(&mut self, minute: u64) -> usize {
            self.story.count_at(minute * MINUTE, Standing::Failed)
        }
    }

    #[test]
    fn a_renewed_lease_lasts_twice_its_duration_and_is_evicted_at_the_next_minute() {
        let mut fleet = Fleet::of(100, Eureka::new(1));
        fleet.lives_until(5, 99);
        assert_eq!(fleet.failed_at(5), 0, "300 s is within 151 + 180 s");
        fleet.lives_until(6, 99);
        assert_eq!(fleet.failed_at(6), 1);
        assert_eq!(fleet.story.standing_at(6 * MINUTE, 99), Standing::Failed);
        fleet.story.beat(6 * MINUTE + SECOND, 99);
        assert_eq!(fleet.story.standing_at(6 * MINUTE + SECOND, 99), Standing::Alive);
        assert!(fleet.story.intervals.iter().all(|interval| *interval == 30_000));
    }

    #[test]
    fn a_lease_that_was_never_renewed_lasts_its_duration() {
        let mut fleet = Fleet::of(99, Eureka::new(1));
        fleet.story.beat(151 * SECOND, 99);
        fleet.lives_until(4, 99);
        assert_eq!(fleet.failed_at(4), 0);
        fleet.lives_until(5, 99);
        assert_eq!(fleet.failed_at(5), 1, "151 + 90 s is over at 300 s");
    }

    #[test]
    fn self_preservation_engages_at_fifteen_percent_missing() {
        for (missing, failed) in [(14, 14), (15, 0), (16, 0), (100, 0)] {
            let mut fleet = Fleet::of(100, Eureka::new(2));
            assert_eq!(fleet.story.server.threshold(), 171);
            fleet.lives_until(14, 100 - missing);
            assert_eq!(fleet.failed_at(14), failed, "{missing} missing");
        }
    }

    #[test]
    fn the_silent_stay_preserved_for_as_long_as_they_are_too_many() {
        let mut fleet = Fleet::of(100, Eureka::new(2));
        fleet.lives_until(200, 70);
        assert_eq!(fleet.failed_at(200), 0);
        assert_eq!(fleet.story.server.registered, 100);
    }

    /// Such a number expires at once only when the registry was not able to hear them.
    #[test]
    fn one_run_evicts_fifteen_percent_at_most() {
        let mut fleet = Fleet::of(100, Eureka::new(3));
        fleet.lives_until(4, 100);
        for agent in 0..40 {
            *fleet.story.server.roster.own(agent) = 0;
        }
        fleet.story.server.evict(4 * MINUTE, &mut Outbox::default());
        assert_eq!((fleet.story.server.registered, fleet.story.server.expected), (85, 86));
    }

    #[test]
    fn a_fleet_that_shrank_a_little_is_expected_anew_after_fifteen_minutes() {
        let mut fleet = Fleet::of(100, Eureka::new(4));
        (0..5).for_each(|agent| fleet.story.send(181 * SECOND, &stopping(agent)));
        assert_eq!(fleet.story.server.expected, 96);
        fleet.failed_at(14);
        assert_eq!(fleet.story.server.expected, 96);
        fleet.failed_at(15);
        assert_eq!(fleet.story.server.expected, 95);
    }

    #[test]
    fn after_a_restart_a_neighbour_gives_the_registry_back() {
        let mut fleet = Fleet::of(100, Eureka::new(5));
        fleet.story.server.crash(4 * MINUTE);
        assert_eq!(fleet.story.server.next_deadline(), None);
        fleet.story.restart(60 * MINUTE);
        assert_eq!((fleet.story.server.registered, fleet.story.server.threshold()), (100, 170));
        assert_eq!(fleet.failed_at(120), 0, "nobody renews, so nobody is evicted");
    }

    #[test]
    fn after_a_restart_alone_nobody_is_known() {
        let mut fleet = Fleet::of(10, Eureka::alone(5));
        fleet.story.server.crash(4 * MINUTE);
        fleet.story.restart(5 * MINUTE);
        assert_eq!(fleet.story.count_at(5 * MINUTE, Standing::Unknown), 10);
        fleet.story.beat(5 * MINUTE + SECOND, 3);
        assert_eq!(fleet.story.standing_at(5 * MINUTE + SECOND, 3), Standing::Alive);
        assert_eq!(fleet.story.server.expected, 2);
    }
}
