//! An adversary that plays against the cadence guard, to make it turn, stick or leave its bounds.
//!
//! ```text
//! a play: moves told by their relation to the rules    play, mutate
//!   → resolved and played against the guard            stage, subject
//!   → scored by what it reached                        objective
//!   → changed, and kept when it is worse for the guard search
//! the same on a coarse clock, every play there is      exact
//! ```
//!
//! A random hint rarely comes in the very millisecond in which a dwell ends. The adversary knows
//! the rules, sees what the guard did, and optimises. The same seed gives the same plays.

mod exact;
mod mutate;
mod objective;
mod play;
mod search;
mod stage;
mod subject;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use pulsegate_core::cadence::Config;

pub use exact::{Coarse, most_turns};
pub use objective::Objective;
pub use play::{Cap, Fleet, Hint, MAX_MOVES, Move, Play, Unreadable, Wait};
pub use search::{Found, attack, guess};
pub use stage::{History, Sample, Stage};
pub use subject::{Bare, Reading, Subject, Whole, Within};

/// The worst play against the guard that this many plays find. The same seed finds the same.
#[must_use]
pub fn search(objective: Objective, config: &Config, seed: u64, evaluations: u64) -> Found {
    attack::<Bare>(objective, config, seed, evaluations)
}

/// The worst play for each objective, and what random plays reach with as many: first against the
/// guard alone, with `evaluations` for each, then a twentieth of them against a whole machine that
/// is also restarted.
#[must_use]
pub fn report(seed: u64, evaluations: u64) -> Vec<Found> {
    let config = Config::default();
    let against_guard = Objective::ALL.into_iter().map(|objective| Found {
        random: Some(guess::<Bare>(objective, &config, seed, evaluations).score),
        ..attack::<Bare>(objective, &config, seed, evaluations)
    });
    let fewer = evaluations.div_ceil(20);
    let against_machine = Objective::ALL.into_iter().map(|objective| Found {
        random: Some(guess::<Whole>(objective, &config, seed, fewer).score),
        ..attack::<Whole>(objective, &config, seed, fewer)
    });
    against_guard.chain(against_machine).collect()
}

/// Plays a play against the guard, and gives what it reaches.
#[must_use]
pub fn replay(play: &Play, objective: Objective, config: &Config) -> u64 {
    let mut stage = Stage::new(config);
    objective.score(stage.play::<Bare>(play, objective), play.start_ms, config) as u64
}

impl Found {
    /// Whether a limit was exceeded.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        self.score > self.limit
    }
}

impl Display for Found {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let known = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        write!(
            to,
            "{:<7} {:<38} limit {:>7} exact {:>7} random {:>7} found {:>7}, {} plays, {} beats: {}",
            self.subject,
            self.objective.name(),
            self.limit,
            known(self.exact),
            known(self.random),
            self.score,
            self.evaluations,
            self.beats,
            self.play,
        )
    }
}
