//! What happens to the fleet, and when: drawn from the seed.

use std::collections::VecDeque;
use std::time::Duration;

use super::chance::Chance;

/// Something that happens to one agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Happening {
    /// This many pieces of work arrive.
    Surge(f64),
    /// The process is killed.
    Crash,
    /// The process is stopped in its tracks, for good.
    Hang,
    /// The process is stopped, and goes on before it counts as failed.
    Hiccup,
    /// The agent goes on beating without getting anything done.
    Stall,
    /// The agent leaves gracefully.
    Leave,
}

/// Each kind happens once, early, so that even a short run shows all of them.
const OPENING: [Happening; 6] = [
    Happening::Surge(1_500.0),
    Happening::Crash,
    Happening::Hang,
    Happening::Stall,
    Happening::Leave,
    Happening::Hiccup,
];
/// Pause between those.
const OPENING_STEP: Duration = Duration::from_millis(400);
/// Happenings a second for 200 agents, in real time. Source: chosen; a fleet that keeps an eye
/// busy and still has nine of ten agents well.
const PER_SECOND: f64 = 1.2;

/// The happenings, one after the other.
#[derive(Debug)]
pub(super) struct Scenario {
    chance: Chance,
    /// Kinds that are still to be shown once.
    opening: VecDeque<Happening>,
    /// Whether the last one drawn was one of those.
    is_opening: bool,
    per_second: f64,
    next_at: Duration,
}

impl Scenario {
    pub(super) fn new(seed: u64, agents: usize) -> Self {
        Self {
            chance: Chance::new(seed),
            opening: OPENING.into(),
            is_opening: false,
            per_second: PER_SECOND * (agents as f64 / 200.0).clamp(0.2, 5.0),
            next_at: OPENING_STEP,
        }
    }

    /// When the next one happens, counted from the start of the scenario.
    pub(super) const fn next_at(&self) -> Duration {
        self.next_at
    }

    /// The next one, and a number that picks its agent.
    pub(super) fn draw(&mut self) -> (Happening, u64) {
        let opening = self.opening.pop_front();
        self.is_opening = opening.is_some();
        let happening = opening.unwrap_or_else(|| self.pick());
        self.next_at += if self.opening.is_empty() {
            // Exponential: happenings that know nothing of each other.
            Duration::from_secs_f64(-(1.0 - self.chance.share()).ln() / self.per_second)
        } else {
            OPENING_STEP
        };
        (happening, self.chance.next())
    }

    /// The last one drawn found no agent that it could happen to: one of the opening waits, any
    /// other is left away.
    pub(super) fn postpone(&mut self, happening: Happening) {
        if self.is_opening {
            self.opening.push_back(happening);
        }
    }

    fn pick(&mut self) -> Happening {
        match self.chance.share() {
            0.0..0.60 => Happening::Surge(self.chance.between(900.0, 2_400.0)),
            0.60..0.74 => Happening::Crash,
            0.74..0.82 => Happening::Hang,
            0.82..0.90 => Happening::Hiccup,
            0.90..0.95 => Happening::Stall,
            _ => Happening::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let story = |seed| {
            let mut scenario = Scenario::new(seed, 200);
            let draw = |_| (scenario.next_at(), scenario.draw());
            (0..200).map(draw).collect::<Vec<_>>()
        };
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn every_kind_happens_within_the_first_seconds() {
        let mut scenario = Scenario::new(3, 20);
        let kinds: Vec<Happening> = (0..OPENING.len()).map(|_| scenario.draw().0).collect();
        assert_eq!(kinds, OPENING);
        assert!(OPENING_STEP * OPENING.len() as u32 <= Duration::from_secs(3));
    }

    #[test]
    fn an_opening_that_found_nobody_comes_again() {
        let mut scenario = Scenario::new(3, 20);
        let (first, _) = scenario.draw();
        scenario.postpone(first);
        let kinds: Vec<Happening> = (0..OPENING.len()).map(|_| scenario.draw().0).collect();
        assert_eq!(kinds.last(), Some(&OPENING[0]));
        scenario.draw();
        scenario.postpone(Happening::Crash);
        assert_eq!(scenario.opening.len(), 0, "any other is left away");
    }
}
