//! What befalls agents by themselves: crashes with and without a sign, pauses, surges of work.

use crate::random::Random;
use crate::server::{HOUR, MINUTE, Micros, SECOND};

/// What befalls agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lives {
    /// Crashes.
    pub crashes: Option<Crashes>,
    /// Pauses.
    pub pauses: Option<Pauses>,
    /// Surges of work.
    pub surges: Option<Surges>,
    /// Whether agents tell of a queue, empty between surges.
    pub have_queue: bool,
    /// Active tasks that agents tell of between surges; `None` for agents that do not tell. One
    /// that has none is idle.
    pub tasks: Option<u64>,
}

/// Agents that die, and come back as a new run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crashes {
    /// Mean time from a start to a crash, exponentially distributed.
    pub every: Micros,
    /// Mean time until the next run starts, exponentially distributed.
    pub down: Micros,
    /// Share that reports trouble for a minute or more before.
    pub warned: f64,
    /// Share that leaves gracefully instead.
    pub leaves: f64,
}

/// Agents that stand still and go on, as in a garbage collection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pauses {
    /// Mean time from one to the next, exponentially distributed.
    pub every: Micros,
    /// Median of their length, lognormally distributed.
    pub median: Micros,
    /// Deviation of the logarithm of their length.
    pub sigma: f64,
}

/// Longest pause. Source: chosen; longer is a crash, to whoever looks on.
pub const PAUSE_MAX: Micros = 10 * MINUTE;

/// Agents that have much to do for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surges {
    /// Mean time from the end of one to the next, exponentially distributed.
    pub every: Micros,
    /// Mean of their length, exponentially distributed, and a minute at least.
    pub lasts: Micros,
    /// Pieces of work that wait in one.
    pub depth: u64,
}

/// What happens next in the life of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It reports trouble; the crash follows.
    Warn,
    Crash,
    Leave,
    Start,
    Pause,
    Resume,
    Surge,
    Calm,
}

/// When what happens next to one agent; [`Micros::MAX`] for never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// Its process: crash or start.
    pub(crate) process: (Micros, Fate),
    pub(crate) pause: (Micros, Fate),
    pub(crate) work: (Micros, Fate),
    /// When the queue will look at it next.
    pub(crate) queued_at: Micros,
}

/// Draws lives; each kind of event from a stream of its own.
#[derive(Debug)]
pub(crate) struct Lots {
    pub(crate) lives: Lives,
    crashes: Random,
    pauses: Random,
    surges: Random,
}

const NEVER: Micros = Micros::MAX;

impl Lots {
    pub(crate) fn new(lives: Lives, seed: u64) -> Self {
        Self {
            lives,
            crashes: Random::new(seed, "crashes"),
            pauses: Random::new(seed, "pauses"),
            surges: Random::new(seed, "surges"),
        }
    }

    /// Nothing befalls anybody any more; who is down starts, who is paused goes on.
    pub(crate) fn heal(&mut self) {
        self.lives.crashes = None;
        self.lives.pauses = None;
        self.lives.surges = None;
    }

    pub(crate) fn birth(&mut self, now: Micros) -> Life {
        Life {
            process: self.next_end(now),
            pause: self.next_pause(now),
            work: self.next_surge(now),
            queued_at: NEVER,
        }
    }

    /// When a run that begins now ends, and how it begins to.
    pub(crate) fn next_end(&mut self, now: Micros) -> (Micros, Fate) {
        let Some(crashes) = self.lives.crashes else { return (NEVER, Fate::Crash) };
        let at = now + after(&mut self.crashes, crashes.every);
        let fate = match self.crashes.share() {
            share if share < crashes.leaves => Fate::Leave,
            share if share < crashes.leaves + crashes.warned => Fate::Warn,
            _ => Fate::Crash,
        };
        (at, fate)
    }

    /// When a run that was warned of ends.
    pub(crate) fn after_warning(&mut self, now: Micros) -> (Micros, Fate) {
        (now + self.crashes.between(MINUTE, 5 * MINUTE), Fate::Crash)
    }

    /// When the next run starts.
    pub(crate) fn next_start(&mut self, now: Micros) -> (Micros, Fate) {
        let down = self.lives.crashes.map_or(SECOND, |crashes| crashes.down);
        (now + after(&mut self.crashes, down), Fate::Start)
    }

    pub(crate) fn next_pause(&mut self, now: Micros) -> (Micros, Fate) {
        let Some(pauses) = self.lives.pauses else { return (NEVER, Fate::Pause) };
        (now + after(&mut self.pauses, pauses.every), Fate::Pause)
    }

    pub(crate) fn next_resume(&mut self, now: Micros) -> (Micros, Fate) {
        let Some(pauses) = self.lives.pauses else { return (now, Fate::Resume) };
        let lasts = self.pauses.lognormal(pauses.median as f64, pauses.sigma);
        (now + (lasts as Micros).clamp(1, PAUSE_MAX), Fate::Resume)
    }

    pub(crate) fn next_surge(&mut self, now: Micros) -> (Micros, Fate) {
        let Some(surges) = self.lives.surges else { return (NEVER, Fate::Surge) };
        (now + after(&mut self.surges, surges.every), Fate::Surge)
    }

    pub(crate) fn next_calm(&mut self, now: Micros) -> (Micros, Fate) {
        let Some(surges) = self.lives.surges else { return (now, Fate::Calm) };
        (now + MINUTE + after(&mut self.surges, surges.lasts), Fate::Calm)
    }
}

impl Life {
    /// The next event.
    pub(crate) fn next_at(&self) -> Micros {
        self.process.0.min(self.pause.0).min(self.work.0)
    }
}

/// An exponentially distributed wait, and no longer than some years.
fn after(random: &mut Random, mean: Micros) -> Micros {
    1 + (random.exponential(mean as f64) as Micros).min(100_000 * HOUR)
}
