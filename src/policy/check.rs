//! The check of a policy before anybody depends on it: admission, and then every question of a
//! fixed corpus, asked several times in different ways.
//!
//! Admission tries one ordinary observation. The check tries hundreds, from an agent that reports
//! nothing to the largest numbers there are, for every class; and because a policy must be a
//! function of what it is asked, each question is asked again in another order, in another form,
//! among others, and of an instance that has answered before. Whatever differs is told with the
//! observation that shows it, written as the test cases of a policy write it.
//!
//! What no check can find is a habit that shows only after more calls than it makes, or only in
//! an observation that is not in the corpus. For those there are the limits of each call, the
//! breaker, and shadow runs.

mod corpus;
mod purity;

use std::time::{Duration, Instant};

use pulsegate_core::Classes;
use pulsegate_wire::EarlyRule;

use crate::candidate::{Description, exports, imports};
use crate::loader::{self, Policy};
use crate::{Engine, Error, Source};

/// What a check found out about a policy that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it says about itself.
    pub description: Description,
    /// SHA-256 of the component, in hexadecimal digits.
    pub digest: String,
    /// What explanations call this revision: the first 12 digits of the digest.
    pub revision: String,
    /// Bytes of the component.
    pub size: usize,
    /// What it imports.
    pub imports: Vec<String>,
    /// The questions that it answers: any of `health`, `cadence` and `recovery`.
    pub exports: Vec<&'static str>,
    /// Its rules for early heartbeats, by class.
    pub early_rules: Vec<(String, Vec<EarlyRule>)>,
    /// Different questions that were asked.
    pub questions: usize,
    /// Answers that were compared.
    pub answers: usize,
    /// Most bytes of linear memory that one instance used.
    pub memory_bytes: usize,
    /// The question that took longest.
    pub slowest: Slowest,
    /// Time to compile it, to make instances and to try one call of each, for every class.
    pub admission: Duration,
}

/// The question about one agent that took longest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slowest {
    /// The function that was asked.
    pub function: &'static str,
    /// How long it took, by the quickest of the times that it was asked.
    pub elapsed: Duration,
}

/// Admits a policy and puts the corpus to it. Takes 10 to 100 ms for a policy of the SDK.
///
/// # Errors
/// The first thing that is wrong: of admission; [`Error::Faulty`] for a question that it fails
/// at; [`Error::Impure`] for one that it does not always answer alike.
pub fn check(
    engine: &Engine,
    classes: &Classes,
    executors: &[(String, u32)],
    source: Source,
) -> Result<Report, Error> {
    let began = Instant::now();
    let policy = loader::admit(&engine.shared, source, classes, executors)?;
    let admission = began.elapsed();
    check_admitted(&policy, classes, executors, admission)
}

/// Puts the corpus to a policy that was admitted.
pub(crate) fn check_admitted(
    policy: &Policy,
    classes: &Classes,
    executors: &[(String, u32)],
    admission: Duration,
) -> Result<Report, Error> {
    let mut tally = purity::Tally::default();
    let mut early_rules = Vec::new();
    for ((id, class), part) in classes.iter().zip(&policy.classes) {
        purity::check(policy, (id, class), executors, &part.settings, &mut tally)?;
        early_rules.push((class.name.clone(), part.early.clone()));
    }
    Ok(Report {
        description: policy.shape.description(),
        digest: policy.digest.to_string(),
        revision: policy.revision.clone(),
        size: policy.prepared.size,
        imports: imports(&policy.prepared),
        exports: exports(&policy.prepared),
        early_rules,
        questions: tally.questions,
        answers: tally.answers,
        memory_bytes: tally.memory_bytes,
        slowest: tally.slowest,
        admission,
    })
}
