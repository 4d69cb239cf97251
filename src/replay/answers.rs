//! Asking the candidate, in batches of different agents.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pulsegate_core::{ClassId, Observation, VerdictSource};
use pulsegate_policy::{Evaluation, Fault, Item, Memory, Worker};
use pulsegate_wire::Health;

use crate::Candidate;
use crate::agents::Custom;

/// Heartbeats of one batch: four calls where all are of one class. Source: benches/replay.rs; a
/// larger batch gains nothing and pushes what it works on out of the cache.
pub(crate) const BATCH: usize = 256;
/// Faults after which a replay ends: a policy that fails at every heartbeat would take hours, and
/// what it does is known by then. Source: chosen; a runaway call costs up to 8 ms.
pub const FAULTS_MAX: u64 = 1_000;
/// Faults in one window that open a breaker, and the window in milliseconds. Source: the defaults
/// of `pulsegate_policy::Limits`.
const BREAKER: (u32, u64) = (10, 60_000);

/// One heartbeat to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) agent: u32,
    pub(crate) class: ClassId,
    pub(crate) seen: Observation,
    pub(crate) custom: Custom,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) health: Health,
    pub(crate) hint_ms: f64,
    pub(crate) health_source: VerdictSource,
    pub(crate) cadence_source: VerdictSource,
    pub(crate) fault: Option<Fault>,
}

/// Asks, and counts what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    worker: Worker,
    evaluations: Vec<Evaluation>,
    lent: Vec<Memory>,
    nothing: BTreeMap<String, f64>,
    /// Time in the candidate, what the host does for a call included.
    pub(crate) elapsed: Duration,
    pub(crate) asked: u64,
    /// By kind, in the order of [`Fault::ALL`].
    pub(crate) faults: [u64; Fault::ALL.len()],
    /// How often a breaker would have opened for these faults alone.
    pub(crate) trips: u64,
    /// Window of the last fault, and faults in it.
    window: (u64, u32),
}

impl Asker {
    /// Asks about heartbeats of different agents; answers are appended in the same order. `kept`
    /// has the memory columns by agent, or nothing where the candidate keeps none.
    pub(crate) fn ask(
        &mut self,
        candidate: &Candidate,
        asks: &[Ask],
        kept: &mut [Memory],
        answers: &mut Vec<Answer>,
    ) {
        for asks in asks.chunks(BATCH) {
            let first = answers.len();
            let began = Instant::now();
            self.evaluate(candidate, asks, kept);
            self.elapsed += began.elapsed();
            self.asked += asks.len() as u64;
            answers.extend(self.evaluations.iter().map(answer));
            if answers[first..].iter().any(|answer| answer.fault.is_some()) {
                // One bad row refuses a whole call. Alone, each shows whose fault it is.
                answers.truncate(first);
                for ask in asks {
                    self.evaluate(candidate, std::slice::from_ref(ask), kept);
                    let answer = answer(&self.evaluations[0]);
                    self.count(ask.seen.now_ms, answer.fault);
                    self.give_back(std::slice::from_ref(ask), kept);
                    answers.push(answer);
                }
            } else {
                self.give_back(asks, kept);
            }
        }
    }

    fn evaluate(&mut self, candidate: &Candidate, asks: &[Ask], kept: &[Memory]) {
        if self.lent.len() < asks.len() {
            self.lent.resize_with(asks.len(), Memory::default);
        }
        if !kept.is_empty() {
            for (lent, ask) in self.lent.iter_mut().zip(asks) {
                lent.clone_from(&kept[ask.agent as usize]);
            }
        }
        let nothing = &self.nothing;
        let mut items: Vec<Item<'_>> = asks
            .iter()
            .zip(&mut self.lent)
            .map(|(ask, memory)| Item {
                assignment: candidate.assignment(ask.class),
                class: ask.class,
                observation: ask.seen,
                custom: ask.custom.as_deref().unwrap_or(nothing),
                memory,
            })
            .collect();
        let (worker, answers) = (&mut self.worker, &mut self.evaluations);
        if candidate.judges {
            worker.evaluate_batch(&candidate.set, &mut items, answers);
        } else {
            worker.pace_batch(&candidate.set, &mut items, answers);
        }
    }

    fn give_back(&mut self, asks: &[Ask], kept: &mut [Memory]) {
        if !kept.is_empty() {
            for (lent, ask) in self.lent.iter().zip(asks) {
                kept[ask.agent as usize].clone_from(lent);
            }
        }
    }

    fn count(&mut self, now_ms: u64, fault: Option<Fault>) {
        let Some(fault) = fault else { return };
        if let Some(place) = Fault::ALL.iter().position(|known| *known == fault) {
            self.faults[place] += 1;
        }
        let window = now_ms / BREAKER.1;
        self.window =
            if self.window.0 == window { (window, self.window.1 + 1) } else { (window, 1) };
        self.trips += u64::from(self.window.1 == BREAKER.0);
    }

    pub(crate) fn all_faults(&self) -> u64 {
        self.faults.iter().sum()
    }
}

fn answer(evaluation: &Evaluation) -> Answer {
    let faults = evaluation.calls.iter().flatten().find_map(|call| call.fault);
    Answer {
        health: evaluation.verdict.health,
        hint_ms: evaluation.verdict.interval_ms,
        health_source: evaluation.health_source,
        cadence_source: evaluation.verdict.source,
        fault: faults,
    }
}
