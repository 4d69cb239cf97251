//! What the adversary tries to reach, and what it should never.
//!
//! A score is what was reached, a whole number, and less than one for how near the next number
//! came: without that a search sees nothing but plains.

use std::cmp::Ordering;

use pulsegate_core::cadence::Config;

use super::stage::{History, Sample, TICK_MS};

/// A minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// What the adversary tries to make large. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Turns of the stored interval in the worst window of this length.
    StoredTurns(u64),
    /// Turns of what is sent, before jitter, in the worst window of this length, under one cap.
    SentTurns(u64),
    /// Turns of what is sent beyond those of stored interval and floor together, under one cap.
    SentSurplus,
    /// The same beyond those of stored interval, floor and cap, where caps come and go.
    CappedSurplus,
    /// Time until a constant hint is reached, by an agent that never beats late.
    Stick,
    /// Moves until a constant hint is reached.
    Moves,
    /// Moves away from a constant hint, or after it was reached.
    Astray,
    /// Moves within the dead band that finish none under way.
    Fidget,
    /// How far above a shorter hint, or a lowered cap, the stored interval stays.
    Delay,
    /// How far what is stored, effective or sent leaves its bounds.
    Escape,
    /// How much too early (after the step or the tightening before), or too far, an interval was
    /// relaxed.
    Haste,
}

impl Objective {
    /// Every objective, with the windows that turns are counted in.
    pub const ALL: [Self; 17] = [
        Self::StoredTurns(MINUTE_MS),
        Self::StoredTurns(5 * MINUTE_MS),
        Self::StoredTurns(20 * MINUTE_MS),
        Self::StoredTurns(60 * MINUTE_MS),
        Self::StoredTurns(360 * MINUTE_MS),
        Self::SentTurns(MINUTE_MS),
        Self::SentTurns(20 * MINUTE_MS),
        Self::SentTurns(60 * MINUTE_MS),
        Self::SentSurplus,
        Self::CappedSurplus,
        Self::Stick,
        Self::Moves,
        Self::Astray,
        Self::Fidget,
        Self::Delay,
        Self::Escape,
        Self::Haste,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> String {
        let minutes = |window_ms: u64| window_ms as f64 / MINUTE_MS as f64;
        match self {
            Self::StoredTurns(window) => format!("stored turns in {} min", minutes(window)),
            Self::SentTurns(window) => format!("sent turns in {} min", minutes(window)),
            Self::SentSurplus => "sent turns beyond stored + floor".into(),
            Self::CappedSurplus => "sent turns beyond stored + floor + cap".into(),
            Self::Stick => "ms until a constant hint is reached".into(),
            Self::Moves => "moves until a constant hint is reached".into(),
            Self::Astray => "moves away from a constant hint".into(),
            Self::Fidget => "moves within the dead band".into(),
            Self::Delay => "ms by which a tightening falls short".into(),
            Self::Escape => "ms out of bounds".into(),
            Self::Haste => "ms too early or too far relaxed".into(),
        }
    }

    /// What is proven, or promised, never to be exceeded.
    #[must_use]
    pub fn limit(self, config: &Config) -> u64 {
        let stored = |window: u64| 2 * (1 + window.div_ceil(config.turn_period_ms.into())) + 1;
        match self {
            Self::StoredTurns(window) => stored(window),
            // As promised; the floor follows the rules of the stored interval, mirrored.
            Self::SentTurns(window) => 2 * (2 * stored(window)) + 1,
            // Each peak of the larger of two is a peak of one of them; counted out, that leaves
            // one turn more than both have. A cap is once more the same, upside down.
            Self::SentSurplus => 1,
            Self::CappedSurplus => 2,
            Self::Stick => longest_stick_ms(config),
            Self::Moves => 15,
            Self::Astray | Self::Fidget | Self::Delay | Self::Escape | Self::Haste => 0,
        }
    }

    /// The true maximum, where it is known: derived in `exact`, and found by
    /// exhaustion there on a coarse clock.
    #[must_use]
    pub fn exact(self, config: &Config) -> Option<u64> {
        match self {
            Self::StoredTurns(window) => Some(super::exact::stored_turns(window, config)),
            Self::SentTurns(window) => Some(super::exact::sent_turns(window, config)),
            Self::SentSurplus => Some(1),
            Self::CappedSurplus => Some(2),
            Self::Moves => Some(u64::from(super::exact::moves(config))),
            Self::Astray | Self::Fidget | Self::Delay | Self::Escape | Self::Haste => Some(0),
            Self::Stick => None,
        }
    }

    /// What was reached in a history; see [`Objective`] for its unit.
    #[must_use]
    pub fn score(self, history: &History, start_ms: u32, config: &Config) -> f64 {
        let samples = &history.samples;
        let stored = || samples.iter().map(|sample| (sample.now, sample.told.stored_ms));
        let sent = || samples.iter().map(|sample| (sample.now, sample.told.effective_ms));
        let floors = || samples.iter().map(|sample| (sample.now, sample.floor_ms));
        let caps = || samples.iter().map(|sample| (sample.now, sample.cap_ms));
        let begin = samples.first().map_or(0, |sample| sample.now);
        let start = || std::iter::once((begin, start_ms.clamp(config.min_ms, config.max_ms)));
        match self {
            Self::StoredTurns(window_ms) => densest(&turns(start().chain(stored())), window_ms),
            Self::SentTurns(window_ms) => densest(&turns(sent()), window_ms),
            Self::SentSurplus => {
                let from = turns(stored()).len() + turns(floors()).len();
                surplus(turns(sent()).len(), from)
            }
            Self::CappedSurplus => {
                let from = [turns(stored()), turns(floors()), turns(caps())];
                surplus(turns(sent()).len(), from.iter().map(Vec::len).sum())
            }
            Self::Stick => stuck_ms(history),
            Self::Moves => moves(history) as f64,
            Self::Astray => astray(history) as f64,
            Self::Fidget => fidgets(samples) as f64,
            Self::Delay => most(samples, |sample| delay_ms(sample, config)),
            Self::Escape => most(samples, |sample| escape_ms(sample, config)),
            Self::Haste => haste_ms(samples, config),
        }
    }

    /// Whether the fleet's floor is in the play.
    #[must_use]
    pub const fn has_floor(self) -> bool {
        matches!(self, Self::SentTurns(_) | Self::SentSurplus | Self::CappedSurplus | Self::Escape)
    }

    /// Whether the cap of the first move is that of all.
    #[must_use]
    pub const fn has_one_cap(self) -> bool {
        matches!(self, Self::SentTurns(_) | Self::SentSurplus)
    }

    /// Whether a constant hint follows the moves.
    #[must_use]
    pub const fn has_constant_hint(self) -> bool {
        matches!(self, Self::Stick | Self::Moves | Self::Astray)
    }
}

/// Instants at which a sequence changes direction.
pub(super) fn turns(values: impl Iterator<Item = (u64, u32)>) -> Vec<u64> {
    let (mut last, mut rising, mut turns) = (None, None, Vec::new());
    for (now, value) in values {
        if let Some(before) = last.replace(value).filter(|before| *before != value) {
            let rises = value > before;
            if rising.replace(rises).is_some_and(|rose| rose != rises) {
                turns.push(now);
            }
        }
    }
    turns
}

/// Most turns in a closed window, and how nearly one more would have fitted into it.
fn densest(turns: &[u64], window_ms: u64) -> f64 {
    let mut first = 0;
    let mut most = 0;
    for (last, to) in turns.iter().enumerate() {
        while to - turns[first] > window_ms {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    let spans = turns.windows(most + 1).map(|run| run[most] - run[0]);
    let nearness = spans.min().map_or(0.0, |span_ms| window_ms as f64 / (span_ms + 1) as f64);
    most as f64 + nearness.min(0.999)
}

/// Below 0 counts as 0, and more turns are nearer to one more than few.
fn surplus(turns: usize, from: usize) -> f64 {
    let nearness = turns as f64 / (turns as f64 + 1_000.0);
    turns.saturating_sub(from) as f64 + if turns >= from { nearness } else { 0.0 }
}

fn stuck_ms(history: &History) -> f64 {
    let held = &history.samples[history.constant_from..];
    let moved = held.iter().rfind(|sample| sample.told.stored_ms != sample.before_ms);
    let is_reached = held.last().is_some_and(|last| {
        let (target, current) = (last.hint_ms, f64::from(last.told.stored_ms));
        target <= (current * 1.2).floor() && target >= (current / 1.2).floor()
    });
    let until = if is_reached { moved } else { held.last() };
    until.map_or(0.0, |sample| (sample.now - history.constant_since) as f64)
}

fn moves(history: &History) -> usize {
    let held = &history.samples[history.constant_from..];
    held.iter().filter(|sample| sample.told.stored_ms != sample.before_ms).count()
}

fn astray(history: &History) -> usize {
    let held = &history.samples[history.constant_from..];
    let is_astray = |sample: &&Sample| {
        let (before, stored) = (f64::from(sample.before_ms), f64::from(sample.told.stored_ms));
        let target = sample.hint_ms;
        stored != before
            && !(before < stored && stored <= target || target <= stored && stored < before)
    };
    held.iter().filter(is_astray).count()
}

fn delay_ms(sample: &Sample, config: &Config) -> u32 {
    let before = u64::from(sample.before_ms);
    let wanted_ms = (sample.hint_ms as u32).max(config.min_ms);
    let is_wanted = !sample.hint_ms.is_nan() && u64::from(wanted_ms) < before * 100 / 120;
    let over_hint = if is_wanted { sample.told.stored_ms.saturating_sub(wanted_ms) } else { 0 };
    over_hint.max(sample.told.stored_ms.saturating_sub(sample.cap_ms))
}

fn escape_ms(sample: &Sample, config: &Config) -> u32 {
    let out = |ms: u32| config.min_ms.saturating_sub(ms).max(ms.saturating_sub(sample.cap_ms));
    let told = sample.told;
    out(told.stored_ms).max(out(told.effective_ms)).max(out(told.sent_ms))
}

fn most(samples: &[Sample], of: impl Fn(&Sample) -> u32) -> f64 {
    samples.iter().map(of).max().map_or(0.0, f64::from)
}

/// What lies nearest to too early is one that came just in time.
fn haste_ms(samples: &[Sample], config: &Config) -> f64 {
    let (mut worst, mut nearness, mut not_before) = (0_u64, 0.0_f64, None::<u64>);
    for sample in samples {
        let (now, before_ms, stored_ms) = (sample.now, sample.before_ms, sample.told.stored_ms);
        let wait_ms = match stored_ms.cmp(&before_ms) {
            Ordering::Equal => continue,
            Ordering::Less => u64::from(config.dwell_ms),
            Ordering::Greater => {
                let reach_ms = before_ms + (before_ms / 2).max(1);
                worst = worst.max(stored_ms.saturating_sub(reach_ms).into());
                if let Some(not_before) = not_before {
                    worst = worst.max(not_before.saturating_sub(now));
                    let late_ms = now.saturating_sub(not_before);
                    nearness = nearness.max(0.999 / (1.0 + late_ms as f64));
                }
                u64::from(stored_ms) * 4 / 5
            }
        };
        // A tightening does not shorten the wait of the step before it.
        not_before = not_before.max(Some(now + wait_ms));
    }
    worst as f64 + nearness
}

/// Of relaxings only those count that no relaxing came before: another may be its end.
fn fidgets(samples: &[Sample]) -> usize {
    let mut rose_last = false;
    let mut fidgets = 0;
    for sample in samples {
        let (before, stored) = (u64::from(sample.before_ms), u64::from(sample.told.stored_ms));
        let is_near = stored <= before * 120 / 100 && stored >= before * 100 / 120;
        let is_excused = sample.cap_ms < sample.before_ms || stored > before && rose_last;
        if stored != before {
            fidgets += usize::from(is_near && !is_excused);
            rose_last = stored > before;
        }
    }
    fidgets
}

/// The longest time until a constant hint is reached, by the rules: a heartbeat just before the
/// last of turning budget, dwell and slew has passed, one at its due time after it; then a step
/// is refused just before the slew allows it, and taken one interval later.
fn longest_stick_ms(config: &Config) -> u64 {
    let most = u64::from(config.max_ms);
    let blocked = u64::from(config.turn_period_ms).max(config.dwell_ms.into()).max(most * 4 / 5);
    // An instant to wait for is rounded up to a tick, and the refused heartbeat comes before it.
    let refused = |until: u64| until + TICK_MS - 2;
    let climb = |start: u64| {
        let (mut at, mut current) = (refused(blocked) + start, start + (start / 2).max(1));
        while current < most {
            at += refused(current * 4 / 5) + current;
            current += (current / 2).max(1);
        }
        at
    };
    (u64::from(config.min_ms)..=most).map(climb).max().unwrap_or(0)
}
