//! Executors of recovery, and an operator, as models.

use std::collections::BTreeMap;

use pulsegate_core::{Action, ActionOutcome};
use pulsegate_wire::{Command, CommandKind};

use super::Gateway;
use super::disk::Journal;
use crate::random::Random;
use crate::server::{AgentIndex, Micros, Outbox, SECOND};

/// Who carries recovery out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Executors {
    /// Mean time of an action, exponentially distributed.
    pub takes: Micros,
    /// Share of actions that come to nothing: failed, timed out or unreachable, each a third.
    pub fails: f64,
    /// Time for the agent to come back before the next rung, in milliseconds.
    pub wait_ms: u32,
}

impl Default for Executors {
    fn default() -> Self {
        Self { takes: 2 * SECOND, fails: 0.0, wait_ms: 30_000 }
    }
}

impl Executors {
    /// Ids and waits as in a configuration.
    pub(super) fn configured(&self) -> Vec<(String, u32)> {
        ["restart", "replace", "alert"].map(|id| (id.to_owned(), self.wait_ms)).to_vec()
    }
}

/// An action under way.
#[derive(Clone, Debug)]
struct Job {
    action: Action,
    /// It begins once this is durable; then the mark is of no interest any more.
    intent: Option<u64>,
}

/// Actions under way.
#[derive(Debug)]
pub(super) struct Crew {
    executors: Option<Executors>,
    random: Random,
    jobs: BTreeMap<(Micros, u64), Job>,
    count: u64,
}

/// How often an action whose intent is not durable looks again. Source: chosen.
const LOOK_AGAIN: Micros = SECOND / 100;

impl Crew {
    pub(super) fn new(executors: Option<Executors>, seed: u64) -> Self {
        Self { executors, random: Random::new(seed, "crew"), jobs: BTreeMap::new(), count: 0 }
    }

    pub(super) fn heal(&mut self) {
        if let Some(executors) = &mut self.executors {
            executors.fails = 0.0;
        }
    }

    pub(super) fn take(&mut self, now: Micros, action: Action, intent: u64) {
        self.push(now, Job { action, intent: Some(intent) });
    }

    fn push(&mut self, at: Micros, job: Job) {
        self.count += 1;
        self.jobs.insert((at, self.count), job);
    }

    pub(super) fn next_at(&self) -> Micros {
        self.jobs.first_key_value().map_or(Micros::MAX, |((at, _), _)| *at)
    }

    fn due(&mut self, now: Micros) -> Option<Job> {
        let first = self.jobs.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    fn takes(&mut self) -> Micros {
        let mean = self.executors.map_or(SECOND, |executors| executors.takes);
        1 + self.random.exponential(mean as f64) as Micros
    }

    fn outcome(&mut self) -> ActionOutcome {
        let failing = [ActionOutcome::Failed, ActionOutcome::TimedOut, ActionOutcome::Unreachable];
        let fails = self.executors.map_or(1.0, |executors| executors.fails);
        if self.random.happens(fails) {
            self.random.pick(&failing).copied().unwrap_or(ActionOutcome::Failed)
        } else {
            ActionOutcome::Done
        }
    }

    /// The process that carried them out is gone.
    pub(super) fn crash(&mut self) {
        self.jobs.clear();
    }
}

impl Gateway {
    /// Actions whose intent is durable begin, and those that are over have their outcome.
    pub(super) fn handle_actions(&mut self, now: Micros, out: &mut Outbox) {
        while let Some(job) = self.crew.due(now) {
            match job.intent {
                Some(intent) => self.start(now, job, intent, out),
                None => {
                    let outcome = self.crew.outcome();
                    let heals = outcome == ActionOutcome::Done && job.action.executor != "alert";
                    if heals {
                        out.restarts.push(self.names.agent(&job.action.agent_id));
                    }
                    self.end(now, &job.action, outcome, out);
                }
            }
        }
    }

    fn start(&mut self, now: Micros, job: Job, intent: u64, out: &mut Outbox) {
        let journal = self.journal.as_ref();
        if journal.is_none_or(|journal| journal.is_durable(intent)) {
            let at = now + self.crew.takes();
            self.crew.push(at, Job { intent: None, ..job });
        } else if journal.is_some_and(Journal::is_read_only) {
            // Not started: its intent cannot be made durable.
            self.end(now, &job.action, ActionOutcome::Failed, out);
        } else {
            self.crew.push(now + LOOK_AGAIN, Job { intent: Some(intent), ..job });
        }
    }

    fn end(&mut self, now: Micros, action: &Action, outcome: ActionOutcome, out: &mut Outbox) {
        let core = self.core(now);
        let (stamp, id) = (action.stamp, action.id);
        self.machine.handle_outcome(core, stamp, id, outcome, &mut self.effects);
        self.settle(now, out);
    }

    /// An operator does something to somebody. A refusal is nothing to an operator.
    pub(super) fn operate(&mut self, now: Micros, out: &mut Outbox) {
        let agent = self.operator.below(self.options.agents.into()) as AgentIndex;
        let what = self.operator.below(6);
        let core = self.core(now);
        let Some(slot) = self.slot(agent) else { return };
        let effects = &mut self.effects;
        let machine = &mut self.machine;
        let _ = match what {
            0 | 1 => machine.handle_pause(core, slot, true, effects),
            2 | 3 => machine.handle_pause(core, slot, false, effects),
            4 => machine.handle_stop(core, slot, effects),
            _ => {
                let id = format!("c{}", core.0);
                let kind = CommandKind::Checkpoint as i32;
                let command = Command { id, kind, ..Command::default() };
                machine.handle_command(core, slot, command, effects)
            }
        };
        self.settle(now, out);
    }

    /// Everybody whom an operator paused goes on.
    pub(super) fn unpause(&mut self, now: Micros) {
        let core = self.core(now);
        let slots: Vec<_> = self.machine.slots(pulsegate_core::Slot(0)).collect();
        for slot in slots {
            // What is refused now, because nothing can be recorded, stays paused.
            let _ = self.machine.handle_pause(core, slot, false, &mut self.effects);
        }
        self.settle(now, &mut Outbox::default());
    }
}
