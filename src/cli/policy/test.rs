//! `pulsegate policy test`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pulsegate_cases::{self as cases, Answers, Case, FILE_BYTES, File, Kind, Shape};
use pulsegate_core::{Class, Incident, Observation, Plan};
use pulsegate_gateway::config::Config;
use pulsegate_policy::{Candidate, Trial};
use serde_json::json;

use super::subject::{self, Loaded, World, told, written};
use super::text::{print, print_json};
use super::{Exit, Failure, Outcome, refused};

/// Arguments of `pulsegate policy test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 when a case fails, 64 when the file is wrong. The manual's \
                        page on testing policies says what a case may hold.\nExample: pulsegate \
                        policy test busy-bees.wasm cases.toml --filter queue")]
pub(super) struct Args {
    /// The component, or steady, queue-pressure or ladder
    file: PathBuf,
    /// The cases, in TOML
    cases: PathBuf,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    #[command(flatten)]
    world: World,
    /// Print JSON: every case with what was asked and answered
    #[arg(long)]
    json: bool,
}

/// How one case went.
struct Tested<'a> {
    case: &'a Case,
    /// Why the policy did not start, if it did not.
    refused: Option<String>,
    answers: Vec<Answers>,
    log: Vec<String>,
}

impl Tested<'_> {
    fn is_passed(&self) -> bool {
        self.refused.is_none() && self.answers.iter().all(Answers::is_passed)
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = subject::load(&args.file, &args.world, serde_json::Value::Null)?;
    let file = read(&args.cases)?;
    let wanted = |case: &&Case| args.filter.as_ref().is_none_or(|part| case.name.contains(part));
    let chosen: Vec<&Case> = file.cases.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let filter = args.filter.as_deref().unwrap_or_default();
        let message = format!("{}: no case's name contains {filter:?}", file.name);
        return Err(Failure::new(Exit::Refused, message));
    }
    let candidate = Candidate::load(&loaded.engine, &loaded.source.name, &loaded.source.bytes)
        .map_err(|error| refused(&error))?;
    let classes = resolve(&file.name, &chosen, &loaded.config)?;
    let tested: Vec<Tested<'_>> = chosen
        .iter()
        .zip(&classes)
        .map(|(case, class)| test(&loaded, &candidate, case, class))
        .collect();
    let failed = tested.iter().filter(|tested| !tested.is_passed()).count();
    if args.json {
        print_json(&document(&file.name, &tested));
    } else {
        print(&report(&file.name, &tested));
    }
    match failed {
        0 => Ok(()),
        _ => {
            let noun = if tested.len() == 1 { "case" } else { "cases" };
            let message = format!("{failed} of {} {noun} failed", tested.len());
            Err(Failure::new(Exit::Refused, message))
        }
    }
}

fn read(path: &std::path::Path) -> Result<File, Failure> {
    let name = path.display().to_string();
    let wrong = |message: String| Failure::new(Exit::Usage, format!("{name}: {message}"));
    let size =
        std::fs::metadata(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if size.len() > FILE_BYTES as u64 {
        return Err(wrong(format!("{} bytes, at most {FILE_BYTES}", size.len())));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    File::read(&name, &text).map_err(|error| {
        let count = error.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        Failure::new(Exit::Usage, format!("the cases have {count} {noun}\n{error}"))
    })
}

/// The class of each case; everything that is wrong at once.
fn resolve(file: &str, chosen: &[&Case], config: &Config) -> Result<Vec<Class>, Failure> {
    let mut classes = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    for case in chosen {
        match case.class.find(&config.classes) {
            Ok(class) => classes.push(class),
            Err((line, message)) => {
                let problem = format!("{file}:{line}: class: {message}");
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }
    if problems.is_empty() {
        return Ok(classes);
    }
    Err(Failure::new(Exit::Usage, problems.join("\n")))
}

fn test<'a>(loaded: &Loaded, candidate: &Candidate, case: &'a Case, class: &Class) -> Tested<'a> {
    let started = candidate.start(class, &case.executors, &case.settings);
    let (refused, answers) = match started {
        Err(error) => (Some(error.to_string()), Vec::new()),
        Ok(trial) => {
            let mut instance = Instance { trial, config: &loaded.config };
            (None, cases::run(case, class, &mut instance))
        }
    };
    Tested { case, refused, answers, log: written(&loaded.engine) }
}

/// One instance of the component, as cases ask it.
struct Instance<'a> {
    trial: Trial,
    config: &'a Config,
}

impl cases::Policy for Instance<'_> {
    fn shape(&self) -> Shape {
        let exports = self.trial.exports();
        let description = self.trial.description();
        Shape {
            judges: exports.contains(&"health"),
            paces: exports.contains(&"cadence"),
            plans: exports.contains(&"recovery"),
            metrics: description.metrics,
            memory_columns: description.memory_columns,
        }
    }

    fn judge(
        &mut self,
        seen: &Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<cases::Judgement, String> {
        let answer = self.trial.judge(seen, metrics, memory);
        let answer = answer.map_err(|fault| told(fault, self.config))?;
        let (health, score, reason) = (answer.health, answer.score, answer.reason);
        Ok(cases::Judgement { health, score, reason })
    }

    fn suggest(
        &mut self,
        seen: &Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<cases::Hint, String> {
        let answer = self.trial.suggest(seen, metrics, memory);
        let answer = answer.map_err(|fault| told(fault, self.config))?;
        Ok(cases::Hint { interval_ms: answer.interval_ms, reason: answer.reason })
    }

    fn propose(&mut self, incident: &Incident) -> Result<Plan, String> {
        self.trial.propose(incident).map_err(|fault| told(fault, self.config))
    }
}

fn report(file: &str, tested: &[Tested<'_>]) -> String {
    let mut text = String::new();
    for one in tested {
        if one.is_passed() {
            text.push_str(&format!("ok      {}\n", one.case.name));
            continue;
        }
        text.push_str(&format!("FAILED  {}  ({file}:{})\n", one.case.name, one.case.line));
        if let Some(refused) = &one.refused {
            text.push_str(&format!("        {refused}\n"));
        }
        for answers in one.answers.iter().filter(|answers| !answers.is_passed()) {
            text.push_str(&cases::told(answers, one.case.steps.len(), "        "));
        }
        for line in &one.log {
            text.push_str(&format!("        it wrote {line}\n"));
        }
    }
    let passed = tested.iter().filter(|one| one.is_passed()).count();
    let noun = if tested.len() == 1 { "case" } else { "cases" };
    text.push_str(&format!(
        "{} {noun}: {passed} passed, {} failed\n",
        tested.len(),
        tested.len() - passed
    ));
    text
}

fn document(file: &str, tested: &[Tested<'_>]) -> serde_json::Value {
    let passed = tested.iter().filter(|one| one.is_passed()).count();
    json!({
        "file": file,
        "passed": passed,
        "failed": tested.len() - passed,
        "cases": tested.iter().map(|one| json!({
            "name": one.case.name,
            "line": one.case.line,
            "passed": one.is_passed(),
            "refused": one.refused,
            "steps": one.answers.iter().map(step).collect::<Vec<_>>(),
            "log": one.log,
        })).collect::<Vec<_>>(),
    })
}

fn step(answers: &Answers) -> serde_json::Value {
    let judgement = answers.judgement.as_ref().map(|answer| {
        let health = answer.health.as_str();
        json!({ "health": health, "score": answer.score, "reason": answer.reason })
    });
    let hint = answers.hint.as_ref();
    let plan = answers.plan.as_ref().map(|plan| {
        let rungs = plan.rungs.iter();
        let rungs: Vec<_> = rungs
            .map(|rung| json!({ "executor": rung.executor, "wait_ms": rung.wait_ms }))
            .collect();
        json!({ "rungs": rungs, "reason": plan.reason })
    });
    json!({
        "step": answers.step,
        "line": answers.line,
        "repetition": answers.repetition,
        "asked": match answers.kind {
            Kind::Observation => "observation",
            Kind::Incident => "incident",
        },
        "seen": answers.asked,
        "judgement": judgement,
        "hint": hint.map(|hint| {
            json!({ "interval_ms": hint.interval_ms, "reason": hint.reason })
        }),
        "plan": plan,
        "misses": answers.misses.iter().map(|miss| json!({
            "key": miss.key, "expected": miss.expected, "answered": miss.answered,
        })).collect::<Vec<_>>(),
        "fault": answers.fault,
    })
}
