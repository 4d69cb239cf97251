//! The guard of one agent: steps 1 to 6, a pure function over twenty bytes.

use pulsegate_wire::event::GuardMemory;

use super::{Bound, Config};
use crate::Millis;
use crate::time::Tick;

/// What the guard remembers of one agent. Instants are those to wait for, not those that were, so
/// that each is renewed at every use and none outlives its 16 ms ticks: whole seconds would round
/// a step of 0.8 × 1 s up to every second heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    stored_ms: u32,
    /// No relaxing before: the dwell.
    dwell_until: Tick,
    /// No further step of relaxing before: the slew.
    step_at: Tick,
    /// No relaxing after a tightening before: the turning budget, a GCRA with a burst of one.
    turn_at: Tick,
    last_move: Move,
    /// A relaxing was cut short by the slew and goes on, dead band or not.
    under_way: bool,
}

const _: () = assert!(size_of::<Guard>() <= 24, "a million agents each keep one");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Move {
    None,
    Relax,
    Tighten,
}

/// What one hint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The hint within bounds and cap, in milliseconds.
    pub clamped_ms: u32,
    /// Stored before, in milliseconds.
    pub before_ms: u32,
    /// Stored now, in milliseconds.
    pub stored_ms: u32,
    /// The guard that had the last word.
    pub bound: Bound,
    /// Whether the interval now moves the other way than the last time it moved.
    pub turned: bool,
}

impl Guard {
    /// A guard that starts at an interval.
    #[must_use]
    pub fn new(interval_ms: u32) -> Self {
        Self {
            stored_ms: interval_ms,
            dwell_until: Tick::default(),
            step_at: Tick::default(),
            turn_at: Tick::default(),
            last_move: Move::None,
            under_way: false,
        }
    }

    /// The stored interval, in milliseconds.
    #[must_use]
    pub const fn stored_ms(&self) -> u32 {
        self.stored_ms
    }

    /// A guard as it was recorded, where `now` is the instant of the record or a little later.
    /// What is not kept is that a move was under way: within the dead band of its target it ends
    /// there.
    pub(crate) fn recorded(stored_ms: u32, memory: Option<&GuardMemory>, now: Millis) -> Self {
        let mut guard = Self::new(stored_ms);
        guard.recall(memory, now);
        guard
    }

    /// Takes the memory of a record.
    pub(crate) fn recall(&mut self, memory: Option<&GuardMemory>, now: Millis) {
        let tick = |instant_ms: u64| Tick::at(Millis(instant_ms.max(now.0)));
        let known = memory.cloned().unwrap_or_default();
        self.dwell_until = tick(known.dwell_until_ms);
        self.step_at = tick(known.step_at_ms);
        self.turn_at = tick(known.turn_at_ms);
        self.under_way = false;
        self.last_move = match memory {
            None => Move::None,
            Some(known) if known.relaxed => Move::Relax,
            Some(_) => Move::Tighten,
        };
    }

    /// Sets the stored interval to a recorded one; what the guard remembers of its moves stays.
    pub fn set_stored(&mut self, stored_ms: u32) {
        self.stored_ms = stored_ms;
    }

    /// What to record: instants that have come are 0; `None` before the first move.
    pub(crate) fn memory(&self, now: Millis) -> Option<GuardMemory> {
        let instant_ms = |tick: Tick| if tick.has_come(now) { 0 } else { tick.near(now).0 };
        (self.last_move != Move::None).then(|| GuardMemory {
            dwell_until_ms: instant_ms(self.dwell_until),
            step_at_ms: instant_ms(self.step_at),
            turn_at_ms: instant_ms(self.turn_at),
            relaxed: self.last_move == Move::Relax,
        })
    }

    /// All that decides how it moves from now on, with instants as the time until they come.
    #[cfg(test)]
    pub(crate) fn form(&self, now: Millis) -> [u32; 6] {
        let ahead = |tick: Tick| tick.near(now).since(now) as u32;
        let moves = self.last_move as u32;
        let [dwell, step, turn] = [self.dwell_until, self.step_at, self.turn_at].map(ahead);
        [self.stored_ms, dwell, step, turn, moves, self.under_way.into()]
    }

    /// Takes a hint, in milliseconds, and moves the stored interval as far as the guard allows.
    /// Whatever is no number proposes nothing: the stored interval stands. `cap_ms` is
    /// [`Config::cap_ms`].
    pub fn step(&mut self, now: Millis, hint_ms: f64, cap_ms: u32, config: &Config) -> Step {
        self.renew(now);
        let before_ms = self.stored_ms;
        let last_move = self.last_move;
        let (clamped_ms, clamped_by) = clamp(hint_ms, before_ms, cap_ms, config);
        let mut bound = self.approach(now, clamped_ms, clamped_by, config);
        if self.stored_ms > cap_ms {
            // The cap came down; waiting for a hint to say so would break its promise.
            self.tighten(now, cap_ms, config);
            bound = Bound::Cap;
        }
        self.stored_ms = self.stored_ms.max(config.min_ms);
        let turned =
            self.stored_ms != before_ms && last_move != Move::None && self.last_move != last_move;
        Step { clamped_ms, before_ms, stored_ms: self.stored_ms, bound, turned }
    }

    /// Instants that have come are now. Before the first move there is none to wait for: those
    /// that a new guard is made with are 0, which half of the time appears to lie ahead.
    fn renew(&mut self, now: Millis) {
        let is_new = self.last_move == Move::None;
        for instant in [&mut self.dwell_until, &mut self.step_at, &mut self.turn_at] {
            *instant = if is_new { Tick::at(now) } else { instant.or_now(now) };
        }
    }

    /// Steps 2 to 5.
    fn approach(&mut self, now: Millis, target_ms: u32, clamped: Bound, config: &Config) -> Bound {
        let current_ms = self.stored_ms;
        if target_ms <= current_ms {
            self.under_way = false;
        }
        if target_ms == current_ms {
            return clamped;
        }
        if !self.under_way && is_near(target_ms, current_ms) {
            return Bound::DeadBand;
        }
        if target_ms < current_ms {
            self.tighten(now, target_ms, config);
            return clamped;
        }
        self.relax(now, target_ms, clamped, config)
    }

    fn tighten(&mut self, now: Millis, target_ms: u32, config: &Config) {
        self.stored_ms = target_ms;
        self.last_move = Move::Tighten;
        self.under_way = false;
        self.dwell_until = Tick::after(now, config.dwell_ms);
    }

    fn relax(&mut self, now: Millis, target_ms: u32, clamped: Bound, config: &Config) -> Bound {
        let turns = self.last_move == Move::Tighten;
        if !self.dwell_until.has_come(now) {
            return Bound::Dwell;
        }
        if turns && !self.turn_at.has_come(now) {
            return Bound::TurnBudget;
        }
        if !self.step_at.has_come(now) {
            return Bound::Slew;
        }
        if turns {
            self.turn_at = Tick::after(now, config.turn_period_ms);
        }
        let reach_ms = self.stored_ms.saturating_add((self.stored_ms / 2).max(1));
        self.stored_ms = target_ms.min(reach_ms);
        self.last_move = Move::Relax;
        self.under_way = self.stored_ms < target_ms;
        self.step_at = Tick::after(now, (u64::from(self.stored_ms) * 4 / 5) as u32);
        if self.under_way { Bound::Slew } else { clamped }
    }
}

/// Step 1. A hint that is no number stands for the stored interval: as an interval of zero it
/// would turn one broken policy into a storm.
fn clamp(hint_ms: f64, stored_ms: u32, cap_ms: u32, config: &Config) -> (u32, Bound) {
    let wanted_ms = if hint_ms.is_nan() { stored_ms } else { hint_ms as u32 };
    if wanted_ms > cap_ms {
        (cap_ms, Bound::Cap)
    } else if wanted_ms < config.min_ms {
        (config.min_ms, Bound::Min)
    } else {
        (wanted_ms, Bound::None)
    }
}

/// The dead band: within a fifth more, or a sixth less, an interval is not worth moving.
fn is_near(target_ms: u32, current_ms: u32) -> bool {
    let (target, current) = (u64::from(target_ms), u64::from(current_ms));
    target <= current * 120 / 100 && target >= current * 100 / 120
}
