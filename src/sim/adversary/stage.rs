//! Where a play is played: resolves its moves against what they met, and keeps what happened.

use pulsegate_core::cadence::{Config, Floor};
use pulsegate_core::{Classes, Millis};

use super::objective::Objective;
use super::play::{Cap, Fleet, Hint, MAX_MOVES, Move, Play, Wait};
use super::subject::{Reading, Subject, Within};

/// Heartbeats a second that the floor keeps a fleet to. Source: DESIGN §5.
const BUDGET_PER_SECOND: f64 = 20_000.0;
/// Agents for each millisecond of floor: the planned share of that budget. Source: DESIGN §5.
const AGENTS_PER_MS: u32 = 16;
/// Most heartbeats under a constant hint: more than a turn period of the shortest interval and
/// every step after it. Source: chosen.
const MOST_BEATS: usize = 2_000;
/// Longest wait of one move, 12 h: an agent that is silent for a day is forgotten, and begins
/// anew. Source: chosen.
const LONGEST_WAIT_MS: u64 = 43_200_000;
/// Length of a tick of the guard's clock, in milliseconds. Source: `pulsegate_core::time`.
pub(super) const TICK_MS: u64 = 16;

/// One heartbeat and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub now: u64,
    /// What was proposed.
    pub hint_ms: f64,
    /// What capped it.
    pub cap_ms: u32,
    /// The fleet's floor.
    pub floor_ms: u32,
    /// What was stored before.
    pub before_ms: u32,
    /// What the agent was told.
    pub told: Reading,
}

/// What happened in a play.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Every heartbeat.
    pub samples: Vec<Sample>,
    /// Which of them is the first under the constant hint.
    pub constant_from: usize,
    /// When the hint became constant.
    pub constant_since: u64,
}

/// Instants that the rules count from, as an onlooker sees them.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    tightened: u64,
    turned: u64,
    relaxed: u64,
    relaxed_to_ms: u32,
    fell: u64,
    rose_last: Option<bool>,
    floor_rose: bool,
    stored_ms: u32,
    sent_ms: u32,
    floor_ms: u32,
}

/// Where plays are played, one after the other.
#[derive(Debug)]
pub struct Stage<'a> {
    config: &'a Config,
    classes: Classes,
    floor: Floor,
    marks: Marks,
    now: u64,
    cap_ms: u32,
    history: History,
}

impl<'a> Stage<'a> {
    /// A stage for a guard of this configuration.
    #[must_use]
    pub fn new(config: &'a Config) -> Self {
        Self {
            config,
            classes: Classes::default(),
            floor: Floor::default(),
            marks: Marks::default(),
            now: 0,
            cap_ms: config.max_ms,
            history: History::default(),
        }
    }

    /// Plays a play as far as an objective asks for it.
    pub fn play<S: Subject>(&mut self, play: &Play, objective: Objective) -> &History {
        let config = self.config;
        self.floor = Floor::default();
        self.now = play.begin;
        let start_ms = play.start_ms.clamp(config.min_ms, config.max_ms);
        self.marks = Marks { stored_ms: start_ms, sent_ms: start_ms, ..Marks::default() };
        self.cap_ms = config.max_ms;
        let first = if objective.has_one_cap() { play.moves.first() } else { None };
        let one_cap_ms = first.map(|first| self.cap(first.cap));
        self.history.samples.clear();
        let mut subject = S::begin(config, Millis(self.now), start_ms);
        for one in play.moves.iter().take(MAX_MOVES) {
            self.now = self.instant(one.wait).min(self.now + LONGEST_WAIT_MS);
            if one.restart {
                subject.restart(Millis(self.now), config);
            }
            self.cap_ms = one_cap_ms.unwrap_or_else(|| self.cap(one.cap));
            let floor_ms = if objective.has_floor() { self.floor(one) } else { 0 };
            self.beat(&mut subject, self.hint(one.hint), floor_ms);
        }
        self.history.constant_from = self.history.samples.len();
        self.history.constant_since = self.now;
        if objective.has_constant_hint() {
            self.hold(&mut subject, play);
        }
        &self.history
    }

    fn beat<S: Subject>(&mut self, subject: &mut S, hint_ms: f64, floor_ms: u32) {
        let before_ms = self.marks.stored_ms;
        let (now, cap_ms) = (self.now, self.cap_ms);
        let told = subject.step(Millis(now), hint_ms, Within { floor_ms, cap_ms }, self.config);
        self.marks.note(now, told);
        self.history.samples.push(Sample { now, hint_ms, cap_ms, floor_ms, before_ms, told });
    }

    /// A constant hint, and an agent that never beats later than it was told.
    fn hold<S: Subject>(&mut self, subject: &mut S, play: &Play) {
        self.cap_ms = self.config.max_ms;
        let target_ms = play.target_ms.clamp(self.config.min_ms, self.config.max_ms);
        for _ in 0..MOST_BEATS {
            let due = self.now + u64::from(self.marks.stored_ms);
            let early = play.early.iter().map(|wait| self.instant(*wait));
            self.now = early.filter(|instant| *instant > self.now).fold(due, u64::min);
            self.beat(subject, f64::from(target_ms), 0);
            if self.marks.stored_ms == target_ms {
                // Once more, to see that nothing moves.
                self.now += u64::from(target_ms);
                self.beat(subject, f64::from(target_ms), 0);
                return;
            }
        }
    }

    fn instant(&self, wait: Wait) -> u64 {
        let (marks, config) = (&self.marks, self.config);
        let tick = |instant: u64, offset: i8| {
            instant.next_multiple_of(TICK_MS).saturating_add_signed(offset.into())
        };
        let instant = match wait {
            Wait::Ms(ms) => self.now + ms,
            Wait::Due(percent) => self.now + u64::from(marks.sent_ms) * u64::from(percent) / 100,
            Wait::Dwell(offset) => tick(marks.tightened + u64::from(config.dwell_ms), offset),
            Wait::Turn(offset) => tick(marks.turned + u64::from(config.turn_period_ms), offset),
            Wait::Step(offset) => {
                tick(marks.relaxed + u64::from(marks.relaxed_to_ms) * 4 / 5, offset)
            }
            Wait::Fall(offset) => tick(marks.fell + u64::from(config.turn_period_ms), offset),
            Wait::Tick(offset) => tick(self.now + 1, offset),
        };
        instant.max(self.now)
    }

    fn hint(&self, hint: Hint) -> f64 {
        let stored_ms = u64::from(self.marks.stored_ms);
        match hint {
            Hint::Ms(ms) => ms,
            Hint::Above => (stored_ms * 120 / 100 + 1) as f64,
            Hint::Below => (stored_ms * 100 / 120) as f64 - 1.0,
            Hint::Within => (stored_ms * 120 / 100) as f64,
        }
    }

    fn cap(&self, cap: Cap) -> u32 {
        let class_cap_ms = match cap {
            Cap::Open => u32::MAX,
            Cap::Ms(ms) => ms,
            Cap::Under => self.marks.stored_ms.saturating_sub(1),
        };
        self.config.cap_ms(class_cap_ms, None)
    }

    fn floor(&mut self, one: &Move) -> u32 {
        let agents = match one.fleet {
            Fleet::Agents(agents) => agents,
            Fleet::Over => self.marks.stored_ms.saturating_add(1).saturating_mul(AGENTS_PER_MS),
        };
        let fleet = [0, agents, 0];
        let (now, classes) = (Millis(self.now), &self.classes);
        let reading = self.floor.update(now, &fleet, classes, BUDGET_PER_SECOND, self.config);
        let before_ms = std::mem::replace(&mut self.marks.floor_ms, reading.base_ms);
        if reading.base_ms > before_ms {
            self.marks.floor_rose = true;
        } else if reading.base_ms < before_ms && std::mem::take(&mut self.marks.floor_rose) {
            self.marks.fell = self.now;
        }
        reading.base_ms
    }
}

impl Marks {
    fn note(&mut self, now: u64, told: Reading) {
        let before_ms = std::mem::replace(&mut self.stored_ms, told.stored_ms);
        self.sent_ms = told.effective_ms;
        if told.stored_ms < before_ms {
            self.tightened = now;
            self.rose_last = Some(false);
        } else if told.stored_ms > before_ms {
            if self.rose_last == Some(false) {
                self.turned = now;
            }
            (self.relaxed, self.relaxed_to_ms) = (now, told.stored_ms);
            self.rose_last = Some(true);
        }
    }
}
