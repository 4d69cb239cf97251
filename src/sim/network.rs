//! The network between agents and their server: delay, loss, bursts of it, copies, reordering,
//! partitions.

use crate::random::Random;
use crate::server::{AgentIndex, MS, Micros, SECOND};

/// How the network treats messages, each way.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Shortest delay.
    pub delay_min: Micros,
    /// Mean of what comes on top, exponentially distributed.
    pub delay_mean: Micros,
    /// Share of messages that are lost, each by itself.
    pub loss: f64,
    /// Losses that come together.
    pub burst: Option<Burst>,
    /// Share of messages that arrive twice.
    pub duplicates: f64,
    /// Share of messages that are held up, for up to [`HELD_UP`]: later ones overtake them.
    pub held_up: f64,
}

/// The model of Gilbert and Elliott: the way of each agent is good or bad for a while.
/// Source: Elliott, "Estimates of error rates for codes on burst-noise channels", 1963.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Mean of a good time.
    pub good: Micros,
    /// Mean of a bad time.
    pub bad: Micros,
    /// Share of messages that are lost in a bad time.
    pub loss: f64,
}

/// Longest that a held-up message is held up. Source: chosen; the third retry overtakes it.
pub const HELD_UP: Micros = 5 * SECOND;

/// A delay above this is a slow message: an agent cannot be blamed for it, nor the server.
/// Source: the promise tests of the core, which allow a second each way.
pub const SLOW: Micros = SECOND;

impl Default for Network {
    /// What is usual: 1 ms and 20 ms on top, nothing lost.
    fn default() -> Self {
        Self {
            delay_min: MS,
            delay_mean: 20 * MS,
            loss: 0.0,
            burst: None,
            duplicates: 0.0,
            held_up: 0.0,
        }
    }
}

/// Who is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partition {
    /// Share of the agents, by a hash of their number.
    pub share: f64,
    /// Which hash: so that it is not the same agents each time.
    pub salt: u64,
    /// Their heartbeats do not arrive.
    pub to_server: bool,
    /// Answers to them do not arrive.
    pub to_agents: bool,
}

impl Partition {
    /// Whether an agent is on the other side.
    #[must_use]
    pub fn holds(&self, agent: AgentIndex) -> bool {
        let mixed = Random::new(self.salt ^ u64::from(agent), "partition").share();
        mixed < self.share
    }
}

/// What becomes of one message: when it arrives, and its copy; `None` where it does not.
pub(crate) type Fate = [Option<Micros>; 2];

/// The network at work.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) network: Network,
    pub(crate) partition: Option<Partition>,
    random: Random,
    /// Of each agent's way: until when it is as it is, and whether that is bad.
    ways: Vec<(Micros, bool)>,
}

impl Links {
    pub(crate) fn new(network: Network, agents: u32, seed: u64) -> Self {
        let ways = if network.burst.is_some() { agents as usize } else { 0 };
        Self {
            network,
            partition: None,
            random: Random::new(seed, "network"),
            ways: vec![(0, true); ways],
        }
    }

    /// Nothing is lost, doubled or held up from now on.
    pub(crate) fn heal(&mut self) {
        self.network = Network {
            delay_min: self.network.delay_min,
            delay_mean: self.network.delay_mean.min(20 * MS),
            ..Network::default()
        };
        self.partition = None;
    }

    #[inline]
    pub(crate) fn request(&mut self, now: Micros, agent: AgentIndex) -> Fate {
        let is_cut = self.partition.is_some_and(|cut| cut.to_server && cut.holds(agent));
        self.fate(now, agent, is_cut)
    }

    #[inline]
    pub(crate) fn reply(&mut self, now: Micros, agent: AgentIndex) -> Fate {
        let is_cut = self.partition.is_some_and(|cut| cut.to_agents && cut.holds(agent));
        self.fate(now, agent, is_cut)
    }

    #[inline]
    fn fate(&mut self, now: Micros, agent: AgentIndex, is_cut: bool) -> Fate {
        let is_lost = self.random.happens(self.network.loss) || self.is_bad(now, agent);
        if is_cut || is_lost {
            return [None, None];
        }
        let first = Some(now + self.delay());
        let is_doubled = self.random.happens(self.network.duplicates);
        [first, is_doubled.then(|| now + self.delay())]
    }

    #[inline]
    fn delay(&mut self) -> Micros {
        let network = &self.network;
        let mut delay = network.delay_min;
        delay += self.random.exponential(network.delay_mean as f64) as Micros;
        if self.random.happens(network.held_up) {
            delay += self.random.below(HELD_UP);
        }
        delay
    }

    /// Whether a message meets a bad time of its way, and is lost in it.
    fn is_bad(&mut self, now: Micros, agent: AgentIndex) -> bool {
        let Some(burst) = self.network.burst else { return false };
        let way = &mut self.ways[agent as usize];
        while way.0 <= now {
            way.1 = !way.1;
            let mean = if way.1 { burst.bad } else { burst.good };
            // The first good time begins with the run.
            way.0 += 1 + self.random.exponential(mean as f64) as Micros;
        }
        way.1 && self.random.happens(burst.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(network: Network) -> Links {
        Links::new(network, 10, 3)
    }

    fn lost(links: &mut Links, gap: Micros) -> Vec<bool> {
        (0..100_000).map(|at| links.request(at * gap, 0)[0].is_none()).collect()
    }

    fn share(lost: &[bool]) -> f64 {
        lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64
    }

    #[test]
    fn losses_have_the_share_that_was_asked_for() {
        let lost = lost(&mut links(Network { loss: 0.05, ..Network::default() }), SECOND);
        assert!((share(&lost) - 0.05).abs() < 0.0035, "{}", share(&lost));
    }

    #[test]
    fn losses_of_a_burst_come_together() {
        let burst = Some(Burst { good: 95 * SECOND, bad: 5 * SECOND, loss: 1.0 });
        let lost = lost(&mut links(Network { burst, ..Network::default() }), SECOND);
        assert!((share(&lost) - 0.05).abs() < 0.01, "{}", share(&lost));
        let both = lost.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
        let after = both / lost.iter().filter(|lost| **lost).count() as f64;
        assert!(after > 0.7, "after one loss another is likely: {after}");
    }

    #[test]
    fn a_partition_cuts_its_share_off_in_its_direction() {
        let mut links = links(Network::default());
        let cut = Partition { share: 0.4, salt: 1, to_server: true, to_agents: false };
        links.partition = Some(cut);
        let inside = (0..10_000).filter(|&agent| cut.holds(agent)).count();
        assert!((3_800..4_200).contains(&inside), "{inside}");
        let agent = (0..10).find(|&agent| cut.holds(agent)).expect("one of ten");
        assert_eq!(links.request(0, agent), [None, None]);
        assert!(links.reply(0, agent)[0].is_some());
    }

    #[test]
    fn what_is_held_up_is_overtaken_and_copies_arrive() {
        let network = Network { held_up: 0.5, duplicates: 0.5, ..Network::default() };
        let mut links = links(network);
        let fates: Vec<Fate> = (0..1_000).map(|at| links.request(at * 100 * MS, 0)).collect();
        let arrivals: Vec<_> = fates.iter().filter_map(|fate| fate[0]).collect();
        assert!(!arrivals.is_sorted());
        assert!(fates.iter().filter(|fate| fate[1].is_some()).count() > 400);
        links.heal();
        assert!((0..1_000).all(|at| links.request(at, 0) < [Some(at + SECOND), Some(0)]));
    }
}
