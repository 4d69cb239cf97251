//! A failed step as people read it.

use crate::expect::rungs_of;
use crate::{Answers, Kind};

/// What a step was asked, what was expected and what was answered, a line each, every line after
/// an indent. `steps` is the number of steps of its case: where there is but one, which one it
/// was goes without saying.
#[must_use]
pub fn told(answers: &Answers, steps: usize, indent: &str) -> String {
    let mut lines = Vec::new();
    if steps > 1 || answers.repetition > 1 {
        let times = match answers.repetition {
            0 | 1 => String::new(),
            times => format!(", asked {times} times"),
        };
        lines.push(format!("step {} at line {}{times}", answers.step, answers.line));
    }
    let kind = match answers.kind {
        Kind::Observation => "observation",
        Kind::Incident => "incident",
    };
    if !answers.asked.is_empty() {
        lines.push(format!("{kind:12} {}", answers.asked));
    }
    for miss in &answers.misses {
        lines.push(format!("{:12} {} {}", "expected", miss.key, miss.expected));
        lines.push(format!("{:12} {} {}", "answered", miss.key, miss.answered));
    }
    if !answers.misses.is_empty() {
        lines.extend(whole(answers).map(|whole| format!("{:12} {whole}", "in full")));
    }
    lines.extend(answers.fault.as_ref().map(|fault| format!("{:12} {fault}", "no answer")));
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}

/// Everything that was answered, in one line.
fn whole(answers: &Answers) -> Option<String> {
    let judgement = answers
        .judgement
        .as_ref()
        .map(|answer| format!("{}, score {} ({})", answer.health, answer.score, answer.reason));
    let hint = answers
        .hint
        .as_ref()
        .map(|answer| format!("{} ms ({})", answer.interval_ms, answer.reason));
    let plan = answers.plan.as_ref().map(|plan| format!("{} ({})", rungs_of(plan), plan.reason));
    let all: Vec<String> = judgement.into_iter().chain(hint).chain(plan).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
