//! The true maxima: derived, and found by exhaustion on a coarse clock.
//!
//! A search that finds nothing worse proves little. On a clock of a few ticks a window, with two
//! intervals to propose, the guard has so few states that all of them can be followed at once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use pulsegate_core::Millis;
use pulsegate_core::cadence::{Config, Guard};

/// Heartbeats at one instant of the coarse clock: a tightening, a relaxing and a tightening, and
/// one to spare.
const BEATS_AN_INSTANT: usize = 4;

/// Most turns of a stored interval in a closed window.
///
/// Relaxings that turn are a turn period apart: 1 + ⌊W / period⌋ of them. A tightening follows
/// each at once; before the first of them one more fits if there is room for the dwell between.
#[must_use]
pub(super) fn stored_turns(window_ms: u64, config: &Config) -> u64 {
    let period_ms = u64::from(config.turn_period_ms);
    let relaxings = 1 + window_ms / period_ms;
    2 * relaxings + u64::from(window_ms % period_ms >= u64::from(config.dwell_ms))
}

/// Moves from the shortest interval to the longest.
#[must_use]
pub(super) fn moves(config: &Config) -> u32 {
    let (mut current_ms, mut moves) = (config.min_ms, 0);
    while current_ms < config.max_ms {
        current_ms = current_ms.saturating_add((current_ms / 2).max(1)).min(config.max_ms);
        moves += 1;
    }
    moves
}

/// Most turns of what is sent, under one cap, in a closed window.
///
/// The floor follows the rules of the stored interval, mirrored, and what is sent turns as often
/// as both together. Where one more tightening fits into the window, so does one more rise of the
/// floor, and two turns that are neither's: the larger of the two may change once more, and a
/// floor that has fallen unseen, above the cap, falls on below it. The search found the last of
/// these, when this was derived without it.
#[must_use]
pub(super) fn sent_turns(window_ms: u64, config: &Config) -> u64 {
    stored_turns(window_ms, config).next_multiple_of(2) * 2
}

/// What exhaustion follows.
#[derive(Clone, Copy, Debug)]
pub struct Coarse<'a> {
    /// Distance of two instants, in milliseconds; a multiple of the guard's tick.
    pub instant_ms: u64,
    /// Instants before the window, so that it begins in every state that there is.
    pub before: u64,
    /// Instants in the window, its end included.
    pub window: u64,
    /// What is proposed, in milliseconds.
    pub hints_ms: &'a [u32],
    /// Between what the fleet's floor moves, in milliseconds; it begins at 0.
    pub floors_ms: &'a [u32],
}

/// The floor of a fleet that comes and goes, in instants of the coarse clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ladder {
    base_ms: u32,
    /// Instants until it may fall at all, and until it may fall after a rise.
    dwell: u64,
    turn: u64,
    rose_last: bool,
}

/// One state of guard, floor and what the agent was told.
#[derive(Clone, Copy, Debug, Hash)]
struct State {
    guard: Guard,
    ladder: Ladder,
    sent_ms: u32,
    rose: Option<bool>,
}

/// States by their hash, each with the most turns on any way to it.
type Layer = BTreeMap<u64, (State, u32)>;

/// Follows every history on a coarse clock; gives the most turns of what is sent in the window,
/// and how many states were met.
#[must_use]
pub fn most_turns(config: &Config, coarse: &Coarse<'_>) -> (u32, usize) {
    let guard = Guard::new(config.min_ms);
    let sent_ms = config.min_ms;
    let mut layer = Layer::new();
    keep(&mut layer, State { guard, ladder: Ladder::default(), sent_ms, rose: None }, 0);
    let mut met = 0;
    for instant in 0..=coarse.before + coarse.window {
        if instant == coarse.before {
            layer.values_mut().for_each(|(_, turns)| *turns = 0);
        }
        layer = follow(layer, Millis(instant * coarse.instant_ms), config, coarse);
        met += layer.len();
    }
    (layer.values().map(|(_, turns)| *turns).max().unwrap_or(0), met)
}

/// All that can be one instant later.
fn follow(layer: Layer, now: Millis, config: &Config, coarse: &Coarse<'_>) -> Layer {
    let mut reached = Layer::new();
    for (mut state, turns) in layer.into_values() {
        // A hint that proposes nothing renews what has come, so that equal states are equal.
        state.guard.step(now, f64::NAN, config.max_ms, config);
        state.ladder.dwell = state.ladder.dwell.saturating_sub(1);
        state.ladder.turn = state.ladder.turn.saturating_sub(1);
        keep(&mut reached, state, turns);
    }
    let mut fresh: Vec<(State, u32)> = reached.values().copied().collect();
    for _ in 0..BEATS_AN_INSTANT {
        let mut next = Vec::new();
        for (state, turns) in fresh {
            for &hint_ms in coarse.hints_ms {
                for &floor_ms in coarse.floors_ms {
                    let mut moved = state;
                    moved.guard.step(now, hint_ms.into(), config.max_ms, config);
                    moved.ladder.follow(floor_ms, config, coarse.instant_ms);
                    let turns = turns + moved.tell(config.max_ms);
                    if keep(&mut reached, moved, turns) {
                        next.push((moved, turns));
                    }
                }
            }
        }
        fresh = next;
    }
    reached
}

/// Keeps the better way to a state; says whether this is it.
fn keep(layer: &mut Layer, state: State, turns: u32) -> bool {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    let known = layer.get(&hasher.finish()).map(|(_, turns)| *turns);
    let is_better = known.is_none_or(|known| turns > known);
    if is_better {
        layer.insert(hasher.finish(), (state, turns));
    }
    is_better
}

impl Ladder {
    /// Rises at once, falls if it may.
    fn follow(&mut self, wanted_ms: u32, config: &Config, instant_ms: u64) {
        let instants = |ms: u32| u64::from(ms).div_ceil(instant_ms);
        if wanted_ms > self.base_ms {
            (self.base_ms, self.rose_last) = (wanted_ms, true);
            self.dwell = instants(config.dwell_ms);
        } else if wanted_ms < self.base_ms && self.dwell == 0 && (!self.rose_last || self.turn == 0)
        {
            if self.rose_last {
                self.turn = instants(config.turn_period_ms);
            }
            (self.base_ms, self.rose_last) = (wanted_ms, false);
        }
    }
}

impl State {
    /// Takes what is sent now; gives 1 for a turn.
    fn tell(&mut self, cap_ms: u32) -> u32 {
        let sent_ms = self.guard.stored_ms().max(self.ladder.base_ms).min(cap_ms);
        let before_ms = std::mem::replace(&mut self.sent_ms, sent_ms);
        if sent_ms == before_ms {
            return 0;
        }
        let rises = sent_ms > before_ms;
        u32::from(self.rose.replace(rises).is_some_and(|rose| rose != rises))
    }
}
