//! `pulsegate policy run`.

use std::collections::BTreeMap;
use std::io::Read as _;

use pulsegate_cases::{Field, Trouble};
use pulsegate_core::cadence::{Bound, Guard};
use pulsegate_core::{Class, Incident, Millis, Observation, Plan};
use pulsegate_gateway::config::Config;
use pulsegate_policy::{Candidate, Hint, Judgement, Trial};
use serde_json::{Value, json};

use super::subject::{Subject, class, told, written};
use super::text::{print, print_json};
use super::{Exit, Failure, Outcome, refused};

/// Most that is read of standard input, in bytes.
const INPUT_BYTES: u64 = 1 << 16;
/// Most heartbeats for which the guard is followed. Source: it moves at most 15 times to a
/// constant hint, and may wait for its turning budget before.
const FOLLOWED: usize = 200;

/// Arguments of `pulsegate policy run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Fields are those of the manual's page on the observation; what is not \
                        named is ordinary. Lists take a plus: signals=idle+was_suspect. Custom \
                        metrics: metrics.tokens_left=5.\nExamples:\n  pulsegate policy run steady \
                        --observation errors=7,status=busy\n  echo '{\"queue_depth\": 900}' | \
                        pulsegate policy run queue-pressure --observation -\n  pulsegate policy \
                        run ladder --config pulsegate.toml --incident kind=silence,number=2")]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// What the policy sees, as fields; - reads a JSON object from standard input; default: an
    /// ordinary heartbeat
    #[arg(long, value_name = "KEY=VALUE,…", conflicts_with = "incident")]
    observation: Option<String>,
    /// Ask for a plan instead, for an incident with these fields; - reads JSON
    #[arg(long, value_name = "KEY=VALUE,…", num_args = 0..=1, default_missing_value = "")]
    incident: Option<String>,
    /// Class of the agent
    #[arg(long, default_value = "normal", value_name = "NAME")]
    class: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.subject.load()?;
    let config = &loaded.config;
    let (_, class) = class(&config.classes, &args.class)?;
    let question = match (&args.incident, &args.observation) {
        (Some(given), _) => Question::Incident(incident(given, class)?),
        (None, given) => observation(given.as_deref().unwrap_or_default(), class)?,
    };
    let source = &loaded.source;
    let candidate = Candidate::load(&loaded.engine, &source.name, &source.bytes)
        .map_err(|error| refused(&error))?;
    let mut trial = candidate
        .start(class, &config.executor_waits(), &source.settings)
        .map_err(|error| refused(&error))?;
    let asked = question.ask(&mut trial, class, config);
    for line in written(&loaded.engine) {
        eprintln!("{}: {line}", source.name);
    }
    let answered = asked?;
    if args.json {
        print_json(&answered.document());
    } else {
        print(&answered.describe());
    }
    Ok(())
}

/// What is asked.
enum Question {
    Observation(Observation, BTreeMap<String, f64>),
    Incident(Incident),
}

/// What was asked and answered.
enum Answered {
    Heartbeat { asked: String, judgement: Option<Judgement>, hint: Option<(Hint, Guarded)> },
    Plan { asked: String, plan: Plan },
}

/// What the guard makes of a hint, for an agent that it has not moved before.
struct Guarded {
    /// Interval in force before.
    before_ms: u32,
    /// Stored intervals, one for each move, if the policy goes on hinting the same.
    stored_ms: Vec<u32>,
    /// The guard that had the last word on the first heartbeat.
    bound: Bound,
    /// Range of what is sent at first, jitter included.
    sent_ms: [u32; 2],
}

impl Question {
    fn ask(self, trial: &mut Trial, class: &Class, config: &Config) -> Result<Answered, Failure> {
        let exports = trial.exports().to_vec();
        let failed = |function: &str, fault| {
            let message = format!("{function} gives no answer: {}", told(fault, config));
            Failure::new(Exit::Refused, message)
        };
        match self {
            Self::Incident(incident) => {
                if !exports.contains(&"recovery") {
                    let message = "it does not answer incidents: it does not export recovery";
                    return Err(Failure::new(Exit::Refused, message));
                }
                let plan =
                    trial.propose(&incident).map_err(|fault| failed("recovery.propose", fault))?;
                Ok(Answered::Plan { asked: incident.to_string(), plan })
            }
            Self::Observation(mut seen, metrics) => {
                if exports == ["recovery"] {
                    let message = "it answers only incidents: ask with --incident";
                    return Err(Failure::new(Exit::Refused, message));
                }
                known_metrics(&metrics, &trial.description().metrics)?;
                let mut asked = seen.beside(&Observation::ordinary(class)).to_string();
                for (name, value) in &metrics {
                    asked.push_str(&format!(", metrics.{name} = {value:?}"));
                }
                let mut memory = [[0.0; 8]; 2];
                let mut judgement = None;
                if exports.contains(&"health") {
                    let answer = trial.judge(&seen, &metrics, &mut memory[0]);
                    let answer = answer.map_err(|fault| failed("health.judge", fault))?;
                    seen.health = answer.health;
                    judgement = Some(answer);
                }
                let mut hint = None;
                if exports.contains(&"cadence") {
                    let answer = trial.suggest(&seen, &metrics, &mut memory[1]);
                    let answer = answer.map_err(|fault| failed("cadence.suggest", fault))?;
                    let guarded = guard(&seen, answer.interval_ms, class, config);
                    hint = Some((answer, guarded));
                }
                Ok(Answered::Heartbeat { asked, judgement, hint })
            }
        }
    }
}

fn known_metrics(given: &BTreeMap<String, f64>, known: &[String]) -> Result<(), Failure> {
    let Some(name) = given.keys().find(|name| !known.contains(name)) else { return Ok(()) };
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("it reads no custom metric {name:?}; it names: {known}");
    Err(Failure::new(Exit::Refused, message))
}

/// Follows the guard while the policy hints the same again and again.
fn guard(seen: &Observation, hint_ms: f64, class: &Class, config: &Config) -> Guarded {
    let rules = config.core(1).cadence;
    let cap_ms = rules.cap_ms(class.cap_ms(), None);
    let mut guard = Guard::new(seen.interval_ms);
    let first = guard.step(Millis(seen.now_ms), hint_ms, cap_ms, &rules);
    let mut stored_ms = vec![first.stored_ms];
    let mut now_ms = seen.now_ms;
    for _ in 0..FOLLOWED {
        now_ms = now_ms.saturating_add(u64::from(guard.stored_ms()));
        let step = guard.step(Millis(now_ms), hint_ms, cap_ms, &rules);
        if step.stored_ms != step.before_ms {
            stored_ms.push(step.stored_ms);
        }
    }
    let least_ms = (u64::from(first.stored_ms) * 9 / 10) as u32;
    let sent_ms = [least_ms.max(rules.min_ms), first.stored_ms];
    Guarded { before_ms: seen.interval_ms, stored_ms, bound: first.bound, sent_ms }
}

impl Guarded {
    fn describe(&self) -> String {
        let first = self.stored_ms.first().copied().unwrap_or(self.before_ms);
        let said = match self.bound {
            Bound::None if first == self.before_ms => "as it is",
            Bound::None => "taken as it stands",
            Bound::Min => "raised to the shortest interval",
            Bound::Cap => "lowered to the cap of the class",
            Bound::DeadBand => "too close to the interval in force to move",
            Bound::Dwell => "waits after the last tightening",
            Bound::TurnBudget => "waits for the turning budget",
            Bound::Slew => "relaxes one step at a time",
            Bound::Floor => "raised to the fleet's floor",
        };
        let mut moves: Vec<String> = self.stored_ms.iter().map(u32::to_string).collect();
        if first != self.before_ms {
            moves.insert(0, self.before_ms.to_string());
        }
        let [least, most] = self.sent_ms;
        format!("{} ms: {said}; sent at first: {least} to {most} ms", moves.join(" → "))
    }
}

impl Answered {
    fn describe(&self) -> String {
        let mut rows: Vec<(&str, String)> = Vec::new();
        match self {
            Self::Heartbeat { asked, judgement, hint } => {
                rows.push(("observation", asked.clone()));
                if let Some(answer) = judgement {
                    let Judgement { health, score, reason } = answer;
                    rows.push(("judgement", format!("{health}, score {score}: {reason}")));
                }
                if let Some((hint, guarded)) = hint {
                    rows.push(("hint", format!("{} ms: {}", hint.interval_ms, hint.reason)));
                    rows.push(("guard", guarded.describe()));
                }
            }
            Self::Plan { asked, plan } => {
                rows.push(("incident", asked.clone()));
                rows.push(("plan", plan.reason.clone()));
                for (index, rung) in plan.rungs.iter().enumerate() {
                    let step =
                        format!("{}. {}, then {} ms", index + 1, rung.executor, rung.wait_ms);
                    rows.push(("", step));
                }
                if plan.rungs.is_empty() {
                    rows.push(("", "nothing is done".to_owned()));
                }
            }
        }
        rows.iter().map(|(key, value)| format!("{key:11}  {value}\n")).collect()
    }

    fn document(&self) -> Value {
        match self {
            Self::Heartbeat { asked, judgement, hint } => json!({
                "observation": asked,
                "judgement": judgement.as_ref().map(|answer| json!({
                    "health": answer.health.as_str(),
                    "score": answer.score,
                    "reason": answer.reason,
                })),
                "hint": hint.as_ref().map(|(hint, _)| json!({
                    "interval_ms": hint.interval_ms,
                    "reason": hint.reason,
                })),
                "guard": hint.as_ref().map(|(_, guarded)| json!({
                    "before_ms": guarded.before_ms,
                    "stored_ms": guarded.stored_ms,
                    "bound": guarded.bound.as_str(),
                    "sent_ms": guarded.sent_ms,
                })),
            }),
            Self::Plan { asked, plan } => json!({
                "incident": asked,
                "plan": {
                    "rungs": plan.rungs.iter().map(|rung| json!({
                        "executor": rung.executor, "wait_ms": rung.wait_ms,
                    })).collect::<Vec<_>>(),
                    "reason": plan.reason,
                },
            }),
        }
    }
}

/// An observation from a flag or standard input.
fn observation(given: &str, class: &Class) -> Result<Question, Failure> {
    const FLAG: &str = "--observation";
    let mut fields = Vec::new();
    let mut metrics = BTreeMap::new();
    for (key, value) in pairs(FLAG, given)? {
        let wrong = |message: &dyn std::fmt::Display| usage(FLAG, &key, message);
        let number = |name: &str, value: &Value| {
            let number = value.as_f64().filter(|number| number.is_finite());
            let key = format!("metrics.{name}");
            number.ok_or_else(|| usage(FLAG, &key, &"must be a finite number"))
        };
        if let Some(name) = key.strip_prefix("metrics.") {
            metrics.insert(name.to_owned(), number(name, &value)?);
        } else if let ("metrics", Some(custom)) = (key.as_str(), value.as_object()) {
            for (name, value) in custom {
                metrics.insert(name.clone(), number(name, value)?);
            }
        } else {
            match Field::read(&key, &value) {
                Ok(Some(field)) => fields.push(field),
                Ok(None) => return Err(wrong(&Field::unknown(&key))),
                Err(message) => return Err(wrong(&message)),
            }
        }
    }
    Ok(Question::Observation(Field::observation(&fields, class), metrics))
}

/// An incident from a flag or standard input.
fn incident(given: &str, class: &Class) -> Result<Incident, Failure> {
    const FLAG: &str = "--incident";
    let mut trouble = Trouble::default();
    for (key, value) in pairs(FLAG, given)? {
        match trouble.set(&key, &value) {
            Ok(true) => {}
            Ok(false) => return Err(usage(FLAG, &key, &Trouble::unknown(&key))),
            Err(message) => return Err(usage(FLAG, &key, &message)),
        }
    }
    Ok(trouble.incident(class))
}

fn usage(flag: &str, key: &str, message: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, format!("{flag}: {key}: {message}"))
}

/// Keys with their values: `queue_depth=5,signals=idle+first`, or JSON from standard input.
fn pairs(flag: &str, given: &str) -> Result<Vec<(String, Value)>, Failure> {
    if given == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(INPUT_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Exit::Usage, format!("{flag}: {error}")))?;
        return match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => Ok(fields.into_iter().collect()),
            Ok(_) => Err(Failure::new(Exit::Usage, format!("{flag}: must be a JSON object"))),
            Err(error) => Err(Failure::new(Exit::Usage, format!("{flag}: {error}"))),
        };
    }
    let mut all = Vec::new();
    for pair in given.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{flag}: {pair:?} must look like queue_depth=12"))
        })?;
        all.push((key.trim().to_owned(), value_of(key.trim(), value.trim())));
    }
    Ok(all)
}

/// A value as somebody types it: a number, true or false, else a word; signals are a list.
fn value_of(key: &str, text: &str) -> Value {
    if key == "signals" {
        return text.split('+').map(Value::from).collect();
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use pulsegate_core::Classes;

    use super::*;

    fn guarded(interval_ms: u32, hint_ms: f64) -> Guarded {
        let classes = Classes::default();
        let class = &classes[classes.normal()];
        let seen = Observation { interval_ms, ..Observation::ordinary(class) };
        guard(&seen, hint_ms, class, &Config::default())
    }

    #[test]
    fn the_guard_is_followed_to_where_it_comes_to_rest() {
        let said = |interval_ms, hint_ms| guarded(interval_ms, hint_ms).describe();
        assert_eq!(
            said(30_000, 10_000.0),
            "30000 → 10000 ms: taken as it stands; sent at first: 9000 to 10000 ms"
        );
        assert_eq!(
            said(10_000, 60_000.0),
            "10000 → 15000 → 22500 → 33750 → 50625 → 60000 ms: relaxes one step at a time; sent \
             at first: 13500 to 15000 ms"
        );
        assert_eq!(
            said(30_000, 0.0),
            "30000 → 1000 ms: raised to the shortest interval; sent at first: 1000 to 1000 ms"
        );
        assert!(said(55_000, 1e9).contains("70000 ms: lowered to the cap of the class"));
        assert!(said(30_000, 31_000.0).starts_with("30000 ms: too close to"));
        assert!(said(30_000, 30_000.0).starts_with("30000 ms: as it is"));
        assert!(said(30_000, f64::NAN).starts_with("30000 ms: as it is"));
    }

    #[test]
    fn what_is_typed_is_read_by_its_looks() {
        let pairs = pairs("--observation", "queue-depth=5, status=busy,signals=idle+first,x=true");
        let pairs = pairs.expect("pairs");
        let values: Vec<&Value> = pairs.iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&json!(5), &json!("busy"), &json!(["idle", "first"]), &json!(true)]);
        let classes = Classes::default();
        let class = &classes[classes.normal()];
        let message = |given: &str| match observation(given, class) {
            Err(failure) => failure.message,
            Ok(_) => panic!("{given} is understood"),
        };
        assert_eq!(message("depth"), "--observation: \"depth\" must look like queue_depth=12");
        assert!(message("queue_dept=3").contains("did you mean queue_depth?"));
        assert!(message("cpu_percent=300").contains("cpu_percent: must be a number from 0 to 100"));
        assert!(message("metrics.a=b").contains("metrics.a: must be a finite number"));
    }
}
