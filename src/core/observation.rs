//! What a policy sees, and what it answers.

use core::fmt;

use pulsegate_wire::{Health, Status};

use crate::Class;

/// Facts about an observation, one bit each, in the order of the WIT flags `signals`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(pub u32);

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $word:literal;)+) => {
        impl Signals {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+
            /// Every signal's word, in the order of its bit.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];
        }
    };
}

signals! {
    /// The first heartbeat of this incarnation.
    FIRST = 0, "first";
    /// The agent echoed the newest directive.
    DIRECTIVE_SEEN = 1, "directive_seen";
    /// A rule of `beat_early` made the agent beat now.
    BEAT_EARLY = 2, "beat_early";
    /// The agent was suspect until this heartbeat.
    WAS_SUSPECT = 3, "was_suspect";
    /// The agent had failed until this heartbeat.
    WAS_FAILED = 4, "was_failed";
    /// The watermark has not risen for `stall_after_ms`.
    PROGRESS_OVERDUE = 5, "progress_overdue";
    /// The agent holds a lease.
    HOLDS_LEASE = 6, "holds_lease";
    /// The agent has reported neither queue nor active tasks for five minutes or more.
    IDLE = 7, "idle";
    /// `queue_depth` was reported.
    HAS_QUEUE_DEPTH = 8, "has_queue_depth";
    /// `active_tasks` was reported.
    HAS_ACTIVE_TASKS = 9, "has_active_tasks";
    /// `cpu_percent` was reported.
    HAS_CPU_PERCENT = 10, "has_cpu_percent";
    /// `memory_bytes` was reported.
    HAS_MEMORY_BYTES = 11, "has_memory_bytes";
    /// `error_count` was reported.
    HAS_ERROR_COUNT = 12, "has_error_count";
    /// `latency_ms` was reported.
    HAS_LATENCY_MS = 13, "has_latency_ms";
    /// `progress` was reported.
    HAS_PROGRESS = 14, "has_progress";
}

impl Signals {
    /// Number of bits in use.
    pub const COUNT: u32 = 15;

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The signal of this word, such as `was_suspect`; `None` where there is none.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        let bit = Self::WORDS.iter().position(|known| *known == word)?;
        Some(Self(1 << bit))
    }

    /// Words of the signals that hold, in the order of their bits.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let words = Self::WORDS.iter().enumerate();
        words.filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, word)| *word)
    }

    /// These, and `other` as well where `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }
}

/// What a policy sees: exactly sixteen scalars, in the order of the WIT record `observation`.
/// A seventeenth would double the price of a call (it would pass through memory).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Core time, in milliseconds.
    pub now_ms: u64,
    /// What the agent reports.
    pub status: Status,
    /// The health judged before; for cadence, the one just judged.
    pub health: Health,
    /// Facts, one bit each.
    pub signals: Signals,
    /// Interval in force, in milliseconds.
    pub interval_ms: u32,
    /// Arrival after the directed due time, in milliseconds; negative when early.
    pub lateness_ms: i64,
    /// Heartbeats that did not come in the silence before this one.
    pub missed: u32,
    /// Pieces of work that wait; 0 when not reported.
    pub queue_depth: f64,
    /// Change of the queue, in pieces per second, over the last window.
    pub queue_trend: f64,
    /// Pieces of work under way; 0 when not reported.
    pub active_tasks: f64,
    /// Processor use of the host, 0 to 100; 0 when not reported.
    pub cpu_percent: f64,
    /// Resident memory, in bytes; 0 when not reported.
    pub memory_bytes: f64,
    /// Errors in the window (the current and the last full minute).
    pub errors: u32,
    /// Typical time of one piece of work, in milliseconds; 0 when not reported.
    pub latency_ms: f64,
    /// Time since the watermark rose, in milliseconds; 0 when no progress is reported.
    pub progress_age_ms: u64,
    /// The fleet's heartbeats, as a share of the gateway's budget: 0 to 1.
    pub fleet_load: f64,
}

/// Core time of an ordinary observation: an hour, so that no window is still new.
/// Source: chosen.
const ORDINARY_NOW_MS: u64 = 3_600_000;

impl Observation {
    /// An agent of this class as it is most of the time: healthy, on time, reporting nothing.
    #[must_use]
    pub fn ordinary(class: &Class) -> Self {
        Self { now_ms: ORDINARY_NOW_MS, interval_ms: class.interval_ms, ..Self::default() }
    }

    /// The fields in which this differs from another observation, written as the test cases of a
    /// policy write them: `queue_depth = 1200.0, status = "busy"`.
    #[must_use]
    pub const fn beside<'a>(&'a self, other: &'a Self) -> Beside<'a> {
        Beside { seen: self, other }
    }
}

/// Shows how one observation differs from another; see [`Observation::beside`].
#[derive(Debug)]
pub struct Beside<'a> {
    seen: &'a Observation,
    other: &'a Observation,
}

impl fmt::Display for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, other } = *self;
        let is_new = |signal| seen.signals.has(signal) && !other.signals.has(signal);
        let mut list = List { f, is_begun: false };
        macro_rules! field {
            ($name:ident, $form:literal $(, $signal:ident)?) => {
                if seen.$name != other.$name $(|| is_new(Signals::$signal))? {
                    let name = stringify!($name);
                    list.item(format_args!(concat!("{} = ", $form), name, seen.$name))?;
                }
            };
        }
        field!(now_ms, "{}");
        if seen.status != other.status {
            list.item(format_args!("status = \"{}\"", seen.status))?;
        }
        if seen.health != other.health {
            list.item(format_args!("health = \"{}\"", seen.health))?;
        }
        list.signals(seen.signals)?;
        field!(interval_ms, "{}");
        field!(lateness_ms, "{}");
        field!(missed, "{}");
        field!(queue_depth, "{:?}", HAS_QUEUE_DEPTH);
        field!(queue_trend, "{:?}");
        field!(active_tasks, "{:?}", HAS_ACTIVE_TASKS);
        field!(cpu_percent, "{:?}", HAS_CPU_PERCENT);
        field!(memory_bytes, "{:?}", HAS_MEMORY_BYTES);
        field!(errors, "{}", HAS_ERROR_COUNT);
        field!(latency_ms, "{:?}", HAS_LATENCY_MS);
        field!(progress_age_ms, "{}", HAS_PROGRESS);
        field!(fleet_load, "{:?}");
        if list.is_begun { Ok(()) } else { f.write_str("nothing out of the ordinary") }
    }
}

/// Items with commas between them.
struct List<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    is_begun: bool,
}

impl List<'_, '_> {
    fn item(&mut self, item: fmt::Arguments<'_>) -> fmt::Result {
        if self.is_begun {
            self.f.write_str(", ")?;
        }
        self.is_begun = true;
        self.f.write_fmt(item)
    }

    /// The signals that hold, but for those that say that a field was reported: the field does.
    fn signals(&mut self, signals: Signals) -> fmt::Result {
        let mut words = signals.words().filter(|word| !word.starts_with("has_"));
        let Some(first) = words.next() else { return Ok(()) };
        self.item(format_args!("signals = [\"{first}\""))?;
        for word in words {
            write!(self.f, ", \"{word}\"")?;
        }
        self.f.write_str("]")
    }
}

/// Who gave a verdict; kept in four bytes with the agent so that a duplicate is explained alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictSource {
    /// Index of the policy that proposed the cadence; 0 is the built-in one.
    pub policy: u16,
    /// Index of its reason text.
    pub reason: u16,
}

/// What policies propose for one heartbeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The health judged.
    pub health: Health,
    /// How good it is, 0 (worst) to 100; shown, never used.
    pub score: f64,
    /// The interval proposed, in milliseconds: anything at all; the guard makes it fit.
    pub interval_ms: f64,
    /// Who proposed that interval, and why.
    pub source: VerdictSource,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn signals_have_one_word_each() {
        assert_eq!(Signals::WORDS.len(), Signals::COUNT as usize);
        for (bit, word) in Signals::WORDS.iter().enumerate() {
            assert_eq!(Signals::find(word), Some(Signals(1 << bit)));
        }
        assert_eq!(Signals::find("idel"), None);
        assert!(Signals(0b101).words().eq(["first", "beat_early"]));
    }

    #[test]
    fn an_observation_is_shown_by_what_is_out_of_the_ordinary() {
        let ordinary = Observation { now_ms: 5, ..Observation::default() };
        assert_eq!(ordinary.beside(&ordinary).to_string(), "nothing out of the ordinary");
        let seen = Observation {
            status: Status::Busy,
            signals: Signals::IDLE.with(Signals::HAS_QUEUE_DEPTH).with(Signals::HAS_ERROR_COUNT),
            queue_depth: 1_200.0,
            latency_ms: 1e300,
            ..ordinary
        };
        assert_eq!(
            seen.beside(&ordinary).to_string(),
            "status = \"busy\", signals = [\"idle\"], queue_depth = 1200.0, errors = 0, \
             latency_ms = 1e300"
        );
    }
}
