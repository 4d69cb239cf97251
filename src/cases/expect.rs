//! What an answer is held to.

use std::fmt;

use pulsegate_core::Plan;
use pulsegate_wire::Health;

use crate::run::{Answers, Miss};

/// What is expected of one step: only what is named is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Every expectation, in the order of the file.
    pub all: Vec<Expected>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// `health`: one of these.
    Health(Vec<Health>),
    /// `score`
    Score(Bounds),
    /// `health_reason`: this text.
    HealthReason(String),
    /// `interval_ms`: what the policy proposes, before any guard.
    Interval(Bounds),
    /// `interval_reason`: this text.
    IntervalReason(String),
    /// `plan`: these rungs in this order.
    Plan(Vec<Rung>),
    /// `plan_reason`: this text.
    PlanReason(String),
}

/// A range that includes both of its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest number that fits.
    pub min: f64,
    /// Largest number that fits.
    pub max: f64,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Id of its executor.
    pub executor: String,
    /// Time that it is given, in milliseconds; `None` where any is fine.
    pub wait_ms: Option<u32>,
}

impl Bounds {
    /// Whether a number lies within; NaN never does.
    #[must_use]
    pub fn hold(&self, number: f64) -> bool {
        self.min <= number && number <= self.max
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min == f64::NEG_INFINITY, self.max == f64::INFINITY) {
            _ if self.min == self.max => write!(f, "{}", self.min),
            (false, false) => write!(f, "{} to {}", self.min, self.max),
            (false, true) => write!(f, "at least {}", self.min),
            (true, false) => write!(f, "at most {}", self.max),
            (true, true) => f.write_str("any number"),
        }
    }
}

impl Expect {
    /// What of it the answers miss.
    pub(crate) fn misses(&self, answers: &Answers) -> Vec<Miss> {
        self.all.iter().filter_map(|expected| expected.miss(answers)).collect()
    }
}

impl Expected {
    /// The key of the file.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Health(_) => "health",
            Self::Score(_) => "score",
            Self::HealthReason(_) => "health_reason",
            Self::Interval(_) => "interval_ms",
            Self::IntervalReason(_) => "interval_reason",
            Self::Plan(_) => "plan",
            Self::PlanReason(_) => "plan_reason",
        }
    }

    fn miss(&self, answers: &Answers) -> Option<Miss> {
        let (holds, answered) = match self {
            Self::Health(healths) => {
                let answered = answers.judgement.as_ref()?;
                (healths.contains(&answered.health), answered.health.to_string())
            }
            Self::Score(bounds) => {
                let answered = answers.judgement.as_ref()?.score;
                (bounds.hold(answered), answered.to_string())
            }
            Self::HealthReason(text) => {
                let answered = &answers.judgement.as_ref()?.reason;
                (text == answered, quoted(answered))
            }
            Self::Interval(bounds) => {
                let answered = answers.hint.as_ref()?.interval_ms;
                (bounds.hold(answered), answered.to_string())
            }
            Self::IntervalReason(text) => {
                let answered = &answers.hint.as_ref()?.reason;
                (text == answered, quoted(answered))
            }
            Self::Plan(rungs) => {
                let answered = answers.plan.as_ref()?;
                (is_plan(rungs, answered), rungs_of(answered))
            }
            Self::PlanReason(text) => {
                let answered = &answers.plan.as_ref()?.reason;
                (text == answered, quoted(answered))
            }
        };
        let miss = || Miss { key: self.key(), expected: self.to_string(), answered };
        (!holds).then(miss)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health(healths) => {
                let words: Vec<_> = healths.iter().map(|health| health.as_str()).collect();
                f.write_str(&words.join(" or "))
            }
            Self::Score(bounds) | Self::Interval(bounds) => bounds.fmt(f),
            Self::HealthReason(text) | Self::IntervalReason(text) | Self::PlanReason(text) => {
                f.write_str(&quoted(text))
            }
            Self::Plan(rungs) => {
                let rungs: Vec<_> = rungs.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", rungs.join(", "))
            }
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait_ms {
            None => f.write_str(&self.executor),
            Some(wait_ms) => write!(f, "{} ({wait_ms} ms)", self.executor),
        }
    }
}

fn is_plan(rungs: &[Rung], answered: &Plan) -> bool {
    rungs.len() == answered.rungs.len()
        && rungs.iter().zip(&answered.rungs).all(|(wanted, rung)| {
            wanted.executor == rung.executor
                && wanted.wait_ms.is_none_or(|wait_ms| wait_ms == rung.wait_ms)
        })
}

/// The rungs of a plan as people read them.
pub(crate) fn rungs_of(plan: &Plan) -> String {
    let rungs = plan.rungs.iter();
    let rungs: Vec<_> =
        rungs.map(|rung| format!("{} ({} ms)", rung.executor, rung.wait_ms)).collect();
    format!("[{}]", rungs.join(", "))
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
