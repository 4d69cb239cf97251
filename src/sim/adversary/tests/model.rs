//! The guard once more, in plain milliseconds, with one rule that can be left out.

use pulsegate_core::Millis;
use pulsegate_core::cadence::Config;

use super::super::stage::TICK_MS;
use super::super::subject::{Reading, Subject, Within, told};

/// Nothing is left out.
pub(super) const NOTHING: u8 = 0;
/// Relaxing right after a tightening.
pub(super) const NO_DWELL: u8 = 1;
/// Relaxing after a tightening as often as the dwell allows.
pub(super) const NO_BUDGET: u8 = 2;
/// Relaxing in one step.
pub(super) const NO_SLEW: u8 = 3;
/// Moving for every little difference.
pub(super) const NO_DEAD_BAND: u8 = 4;
/// Keeping to no cap.
pub(super) const NO_CAP: u8 = 5;
/// Dwelling before a tightening, too.
pub(super) const NOT_AT_ONCE: u8 = 6;
/// A relaxing that is refused makes the dwell begin anew.
pub(super) const NO_PATIENCE: u8 = 7;
/// A step of relaxing goes as far as it can, past the hint.
pub(super) const NO_AIM: u8 = 8;
/// Relaxing by a tenth a step.
pub(super) const NO_STRIDE: u8 = 9;
/// What the guard once did: it waits from the beginning of time, on a clock that wraps around.
pub(super) const NO_BEGINNING: u8 = 10;

/// A guard without one rule.
#[derive(Debug)]
pub(super) struct Model<const WITHOUT: u8> {
    stored_ms: u32,
    dwell_until: u64,
    step_at: u64,
    turn_at: u64,
    rose_last: Option<bool>,
    under_way: bool,
    sequence: u64,
}

/// The first tick that is at least `ms` after `now`.
fn after(now: u64, ms: u32) -> u64 {
    (now + u64::from(ms)).next_multiple_of(TICK_MS)
}

impl<const WITHOUT: u8> Subject for Model<WITHOUT> {
    const NAME: &'static str = "model";

    fn begin(_config: &Config, now: Millis, start_ms: u32) -> Self {
        let wrap_ms = 1 << 36;
        let lies_ahead = WITHOUT == NO_BEGINNING && now.0 % wrap_ms > wrap_ms / 2;
        let from = if lies_ahead { now.0.next_multiple_of(wrap_ms) } else { 0 };
        Self {
            stored_ms: start_ms,
            dwell_until: from,
            step_at: from,
            turn_at: from,
            rose_last: None,
            under_way: false,
            sequence: 0,
        }
    }

    fn step(&mut self, now: Millis, hint_ms: f64, within: Within, config: &Config) -> Reading {
        let cap_ms = if WITHOUT == NO_CAP { config.max_ms } else { within.cap_ms };
        let wanted_ms = if hint_ms.is_nan() { self.stored_ms } else { hint_ms as u32 };
        self.approach(now.0, wanted_ms.min(cap_ms).max(config.min_ms), config);
        if self.stored_ms > cap_ms {
            self.tighten(now.0, cap_ms, config);
        }
        self.sequence += 1;
        told(self.stored_ms, Within { cap_ms, ..within }, config, self.sequence)
    }
}

impl<const WITHOUT: u8> Model<WITHOUT> {
    fn approach(&mut self, now: u64, target_ms: u32, config: &Config) {
        let (target, current) = (u64::from(target_ms), u64::from(self.stored_ms));
        self.under_way &= target > current;
        let is_near = target <= current * 120 / 100 && target >= current * 100 / 120;
        let is_near = is_near && WITHOUT != NO_DEAD_BAND;
        if target == current || is_near && !self.under_way {
            return;
        }
        if target > current {
            self.relax(now, target_ms, config);
        } else if WITHOUT != NOT_AT_ONCE || self.has_come(now, self.dwell_until) {
            self.tighten(now, target_ms, config);
        }
    }

    fn has_come(&self, now: u64, instant: u64) -> bool {
        now / TICK_MS * TICK_MS >= instant
    }

    fn tighten(&mut self, now: u64, target_ms: u32, config: &Config) {
        self.stored_ms = target_ms;
        self.rose_last = Some(false);
        self.under_way = false;
        self.dwell_until = after(now, config.dwell_ms);
    }

    fn relax(&mut self, now: u64, target_ms: u32, config: &Config) {
        let turns = self.rose_last == Some(false);
        let dwells = WITHOUT != NO_DWELL && !self.has_come(now, self.dwell_until);
        let is_spent = WITHOUT != NO_BUDGET && turns && !self.has_come(now, self.turn_at);
        let is_early = WITHOUT != NO_SLEW && !self.has_come(now, self.step_at);
        if dwells || is_spent || is_early {
            if WITHOUT == NO_PATIENCE {
                self.dwell_until = after(now, config.dwell_ms);
            }
            return;
        }
        if turns {
            self.turn_at = after(now, config.turn_period_ms);
        }
        let stride_ms = self.stored_ms / if WITHOUT == NO_STRIDE { 10 } else { 2 };
        let reach_ms = self.stored_ms.saturating_add(stride_ms.max(1));
        self.stored_ms = match WITHOUT {
            NO_SLEW => target_ms,
            NO_AIM => reach_ms.min(config.max_ms),
            _ => target_ms.min(reach_ms),
        };
        self.rose_last = Some(true);
        self.under_way = self.stored_ms < target_ms;
        self.step_at = after(now, (u64::from(self.stored_ms) * 4 / 5) as u32);
    }
}
