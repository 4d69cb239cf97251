//! Puts a case to a policy, step by step, as a gateway would.

use std::collections::BTreeMap;

use pulsegate_core::{Class, Incident, Observation, Plan, Signals};
use pulsegate_wire::Health;

use crate::{Asked, Case, Field, Step};

/// What can be asked: one fresh instance of a policy, with the settings of a case.
pub trait Policy {
    /// What it answers and needs.
    fn shape(&self) -> Shape;

    /// Judges one observation, and changes the memory that it keeps with the agent.
    ///
    /// # Errors
    /// A text when it traps, runs too long, or answers with what is no answer.
    fn judge(
        &mut self,
        seen: &Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Judgement, String>;

    /// Proposes an interval, likewise.
    ///
    /// # Errors
    /// As for [`Policy::judge`].
    fn suggest(
        &mut self,
        seen: &Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Hint, String>;

    /// Plans for an incident.
    ///
    /// # Errors
    /// As for [`Policy::judge`].
    fn propose(&mut self, incident: &Incident) -> Result<Plan, String>;
}

/// What a policy answers and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Whether it judges health.
    pub judges: bool,
    /// Whether it proposes intervals.
    pub paces: bool,
    /// Whether it plans recoveries.
    pub plans: bool,
    /// Custom metrics that it names.
    pub metrics: Vec<String>,
    /// Numbers that it keeps with an agent, at most eight for each of health and cadence.
    pub memory_columns: usize,
}

/// A health, as a policy answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The health.
    pub health: Health,
    /// Its score.
    pub score: f64,
    /// The text of its reason.
    pub reason: String,
}

/// An interval, as a policy proposed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// The interval, in milliseconds.
    pub interval_ms: f64,
    /// The text of its reason.
    pub reason: String,
}

/// What a step was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Position of the step in its case, from 1.
    pub step: usize,
    /// Its line.
    pub line: usize,
    /// Which repetition, from 1; the last one unless an earlier one failed.
    pub repetition: u32,
    /// Whether it was a heartbeat or an incident.
    pub kind: Kind,
    /// What the policy saw, as fields of a case.
    pub asked: String,
    /// The health, where the policy judges.
    pub judgement: Option<Judgement>,
    /// The interval, where the policy paces.
    pub hint: Option<Hint>,
    /// The plan, where the step is an incident.
    pub plan: Option<Plan>,
    /// What was expected and not answered.
    pub misses: Vec<Miss>,
    /// Why there is no answer, or no question.
    pub fault: Option<String>,
}

/// What a step asks about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// An observation.
    #[default]
    Observation,
    /// An incident.
    Incident,
}

/// One expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Key of the expectation.
    pub key: &'static str,
    /// What was expected.
    pub expected: String,
    /// What was answered.
    pub answered: String,
}

impl Answers {
    /// Whether all was answered as expected.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.misses.is_empty() && self.fault.is_none()
    }
}

/// Puts a case to a policy: the answers, step by step, up to the first fault.
pub fn run(case: &Case, class: &Class, policy: &mut dyn Policy) -> Vec<Answers> {
    let shape = policy.shape();
    let mut agent = Agent {
        class,
        now_ms: None,
        health: Health::Healthy,
        memory: [[0.0; 8]; 2],
        columns: shape.memory_columns.min(8),
    };
    let mut all = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        let place = Answers { step: index + 1, line: step.line, ..Answers::default() };
        let answers = match unanswerable(step, &shape) {
            Some(fault) => Answers { fault: Some(fault), ..place },
            None => agent.take(step, place, &shape, policy),
        };
        let is_over = answers.fault.is_some();
        all.push(answers);
        if is_over {
            break;
        }
    }
    all
}

/// Why a step asks what the policy cannot answer, if it does.
fn unanswerable(step: &Step, shape: &Shape) -> Option<String> {
    use crate::Expected::{
        Health, HealthReason, Interval, IntervalReason, Plan, PlanReason, Score,
    };
    for expected in &step.expect.all {
        let (is_answered, question) = match expected {
            Health(_) | Score(_) | HealthReason(_) => (shape.judges, "health"),
            Interval(_) | IntervalReason(_) => (shape.paces, "cadence"),
            Plan(_) | PlanReason(_) => (shape.plans, "recovery"),
        };
        if !is_answered {
            let key = expected.key();
            return Some(format!("{key} is expected, but the policy does not export {question}"));
        }
    }
    let Asked::Heartbeat { metrics, .. } = &step.asked else {
        let missing = "an incident, but the policy does not export recovery";
        return (!shape.plans).then(|| missing.to_owned());
    };
    let unknown = metrics.keys().find(|name| !shape.metrics.contains(name))?;
    let known = match shape.metrics.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    Some(format!("the policy reads no custom metric {unknown:?}; it names: {known}"))
}

/// What passes from step to step.
struct Agent<'a> {
    class: &'a Class,
    now_ms: Option<u64>,
    health: Health,
    memory: [[f64; 8]; 2],
    columns: usize,
}

impl Agent<'_> {
    fn take(
        &mut self,
        step: &Step,
        place: Answers,
        shape: &Shape,
        policy: &mut dyn Policy,
    ) -> Answers {
        let mut answers = place;
        for repetition in 1..=step.repeat.max(1) {
            answers.repetition = repetition;
            let outcome = match &step.asked {
                Asked::Heartbeat { fields, metrics } => {
                    let seen = self.observation(fields);
                    let usual = Observation::ordinary(self.class);
                    answers.asked = seen.beside(&usual).to_string();
                    for (name, value) in metrics {
                        answers.asked.push_str(&format!(", metrics.{name} = {value:?}"));
                    }
                    self.beat(seen, metrics, &mut answers, shape, policy)
                }
                Asked::Incident(trouble) => {
                    let incident = trouble.incident(self.class);
                    answers.kind = Kind::Incident;
                    answers.asked = incident.to_string();
                    policy.propose(&incident).map(|plan| answers.plan = Some(plan))
                }
            };
            if let Err(fault) = outcome {
                answers.fault = Some(fault);
                return answers;
            }
        }
        answers.misses = step.expect.misses(&answers);
        answers
    }

    fn beat(
        &mut self,
        mut seen: Observation,
        metrics: &BTreeMap<String, f64>,
        answers: &mut Answers,
        shape: &Shape,
        policy: &mut dyn Policy,
    ) -> Result<(), String> {
        let [of_health, of_cadence] = &mut self.memory;
        if shape.judges {
            let judgement = policy.judge(&seen, metrics, &mut of_health[..self.columns])?;
            seen.health = judgement.health;
            self.health = judgement.health;
            answers.judgement = Some(judgement);
        }
        if shape.paces {
            let hint = policy.suggest(&seen, metrics, &mut of_cadence[..self.columns])?;
            answers.hint = Some(hint);
        }
        Ok(())
    }

    /// The next observation: the ordinary one with these fields.
    fn observation(&mut self, fields: &[Field]) -> Observation {
        let mut seen = Observation { health: self.health, ..Observation::ordinary(self.class) };
        let mut is_timed = false;
        for field in fields {
            is_timed |= matches!(field, Field::Now(_));
            set(&mut seen, *field);
        }
        if let (Some(last_ms), false) = (self.now_ms, is_timed) {
            let due_ms = last_ms + u64::from(seen.interval_ms);
            seen.now_ms = due_ms.saturating_add_signed(seen.lateness_ms).clamp(last_ms, NOW_MAX_MS);
        }
        self.now_ms = Some(seen.now_ms);
        seen
    }
}

/// Latest core time. Source: `wit/types.wit`.
const NOW_MAX_MS: u64 = (1 << 53) - 1;

fn set(seen: &mut Observation, field: Field) {
    let reported = match field {
        Field::QueueDepth(_) | Field::QueueTrend(_) => Signals::HAS_QUEUE_DEPTH,
        Field::ActiveTasks(_) => Signals::HAS_ACTIVE_TASKS,
        Field::CpuPercent(_) => Signals::HAS_CPU_PERCENT,
        Field::MemoryBytes(_) => Signals::HAS_MEMORY_BYTES,
        Field::Errors(_) => Signals::HAS_ERROR_COUNT,
        Field::Latency(_) => Signals::HAS_LATENCY_MS,
        Field::ProgressAge(_) => Signals::HAS_PROGRESS,
        Field::Signals(signals) => signals,
        _ => Signals::default(),
    };
    seen.signals = seen.signals.with(reported);
    match field {
        Field::Now(value) => seen.now_ms = value,
        Field::Status(value) => seen.status = value,
        Field::Health(value) => seen.health = value,
        Field::Signals(_) => {}
        Field::Interval(value) => seen.interval_ms = value,
        Field::Lateness(value) => seen.lateness_ms = value,
        Field::Missed(value) => seen.missed = value,
        Field::QueueDepth(value) => seen.queue_depth = value,
        Field::QueueTrend(value) => seen.queue_trend = value,
        Field::ActiveTasks(value) => seen.active_tasks = value,
        Field::CpuPercent(value) => seen.cpu_percent = value,
        Field::MemoryBytes(value) => seen.memory_bytes = value,
        Field::Errors(value) => seen.errors = value,
        Field::Latency(value) => seen.latency_ms = value,
        Field::ProgressAge(value) => seen.progress_age_ms = value,
        Field::FleetLoad(value) => seen.fleet_load = value,
    }
}

/// The observation that these fields make of an ordinary one, for whoever asks once.
impl Field {
    /// Applies fields to an ordinary observation of a class.
    #[must_use]
    pub fn observation(fields: &[Self], class: &Class) -> Observation {
        let mut seen = Observation::ordinary(class);
        fields.iter().for_each(|field| set(&mut seen, *field));
        seen
    }
}
