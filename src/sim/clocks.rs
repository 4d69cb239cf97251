//! Clocks that run wrong: an agent counts its intervals on its own.

use crate::random::Random;
use crate::server::{AgentIndex, HOUR, Micros};

/// How agents' clocks run beside the true one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Drift {
    /// As the true one.
    #[default]
    None,
    /// Each by its own constant share, up to so many millionths, fast or slow.
    Linear(u32),
    /// Each by another constant share every hour.
    Stepping(u32),
    /// Each by a share that swings once a day, as with the temperature of a room.
    Periodic(u32),
}

impl Drift {
    /// Most that a clock may be off, in millionths. Source: DESIGN §8 reckons with 500 for leases;
    /// quartz keeps 100.
    pub const MOST_PPM: u32 = 500;

    /// Millionths by which an agent's clock is fast at this time.
    fn ppm(self, seed: u64, agent: AgentIndex, now: Micros) -> f64 {
        let share = |salt: u64| {
            let stream = seed ^ (u64::from(agent) << 24) ^ salt;
            2.0 * Random::new(stream, "drift").share() - 1.0
        };
        match self {
            Self::None => 0.0,
            Self::Linear(ppm) => f64::from(ppm) * share(0),
            Self::Stepping(ppm) => f64::from(ppm) * share(1 + now / HOUR),
            Self::Periodic(ppm) => {
                let turn = now as f64 / (24.0 * HOUR as f64) + share(0);
                f64::from(ppm) * (std::f64::consts::TAU * turn).sin()
            }
        }
    }

    /// True time in which an agent's clock counts a span.
    #[inline]
    #[must_use]
    pub fn true_span(self, seed: u64, agent: AgentIndex, now: Micros, counted: Micros) -> Micros {
        if self == Self::None {
            return counted;
        }
        let rate = 1.0 + self.ppm(seed, agent, now) * 1e-6;
        (counted as f64 / rate) as Micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_off_by_no_more_than_was_asked_for_and_not_all_alike() {
        for drift in [Drift::Linear(500), Drift::Stepping(500), Drift::Periodic(500)] {
            let span = |agent, now| drift.true_span(9, agent, now, HOUR);
            let spans: Vec<_> =
                (0..200).map(|agent| span(agent, u64::from(agent) * HOUR)).collect();
            let (low, high) = (HOUR - 1_802_000, HOUR + 1_802_000);
            assert!(spans.iter().all(|span| (low..=high).contains(span)), "{drift:?}");
            assert!(spans.iter().any(|&span| span > HOUR) && spans.iter().any(|&span| span < HOUR));
        }
    }

    #[test]
    fn a_constant_drift_is_constant_and_the_others_are_not() {
        let spans =
            |drift: Drift| [0, 5, 10].map(|hours| drift.true_span(1, 3, hours * HOUR, HOUR));
        let linear = spans(Drift::Linear(500));
        assert!(linear[0] == linear[1] && linear[1] == linear[2]);
        for drift in [Drift::Stepping(500), Drift::Periodic(500)] {
            assert_ne!(spans(drift)[0], spans(drift)[1]);
        }
        assert_eq!(Drift::None.true_span(1, 3, 0, HOUR), HOUR);
    }
}
