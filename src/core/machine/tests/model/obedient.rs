//! An agent that obeys, and everything against it: hints, lost and late requests and answers, the
//! fleet's floor, a process that ends at any moment, one that begins without a journal, copies of
//! what was answered before, a journal that cannot record. It is never suspect (P1).
//!
//! It beats at any instant up to the latest that it was told, jitter or not: jitter is early only.
//! A heartbeat arrives within one unit of its sending, and the grace is two: were it later,
//! silence would be the truth. A run that has no answer yet obeys nobody, so no process ends then.
//! A new run that is refused because nothing can be recorded tries again within a unit.

use alloc::format;

use super::stage::{Node, Said, Stage, expect};
use super::*;
use crate::machine::record::Record;
use crate::testing::explorer::Model;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    /// A unit of time goes by, and all that is due is handled.
    Step,
    /// It sends its next heartbeat.
    Send,
    /// It starts anew, and sends its first.
    Restart,
    /// The heartbeat arrives: the interval proposed, in units, if the verdict comes; and whether
    /// the answer does.
    Arrive(Option<u8>, bool),
    /// It sends the heartbeat again, as it has no answer; whether one comes.
    Retry(bool),
    /// The floor of the fleet, in units.
    Floor(u8),
    Freeze(bool),
    /// The process ends, with the loss of so many events; another begins so many units before the
    /// agent's next heartbeat.
    Crash(u8, u8),
    /// The same, and nothing is left of the journal.
    Wipe(u8),
    /// A copy of the heartbeat that was answered last before the process ended arrives: the
    /// interval proposed, in units.
    Copy(u8),
}

#[derive(Clone, Copy, Debug)]
struct Agent {
    run: u64,
    sequence: u64,
    /// Number of the newest directive that it received; 0 for none.
    seen: u64,
    /// Units that it was told, before jitter.
    interval: u8,
    /// Units until it sends the next, at the latest.
    wait: u8,
    /// Units since it sent the newest.
    elapsed: u8,
    /// Whether the newest has not arrived yet.
    flies: bool,
    is_answered: bool,
    /// Units for which a copy of what was answered before the process ended may still arrive.
    copies: u8,
}

#[derive(Clone)]
pub(super) struct Moment {
    node: Node,
    agent: Agent,
}

pub(super) struct Obedience {
    pub(super) stage: Stage,
    pub(super) alphabet: Vec<Input>,
}

type Next = Result<Option<Moment>, String>;

impl Obedience {
    fn record(node: &Node) -> Option<&Record> {
        let machine = &node.live.machine;
        machine.agents.find_record(key("a")).map(|slot| &machine.agents[slot])
    }

    /// Nothing was told that an obedient agent need not hear.
    fn next_of<T>(&self, agent: Agent, mut node: Node, said: &Said<T>, is_handled: bool) -> Next {
        self.stage.check(&node, is_handled)?;
        for event in &said.effects.events {
            let is_silence =
                matches!(event.kind, EventKind::Suspected { .. } | EventKind::Failed { .. });
            expect(!is_silence, || format!("an agent that obeys: {event:?}"))?;
        }
        self.stage.bound(&mut node);
        Ok(Some(Moment { node, agent }))
    }

    fn step(&mut self, moment: &Moment) -> Next {
        let Moment { mut node, mut agent } = moment.clone();
        if agent.wait == 0 || agent.flies && agent.elapsed > 0 {
            return Ok(None);
        }
        node.now = node.now.plus(UNIT_MS);
        (agent.wait, agent.elapsed) = (agent.wait - 1, (agent.elapsed + 1).min(LONG));
        agent.copies = agent.copies.saturating_sub(1);
        let (node, said) =
            self.stage.call(
                &node,
                |machine, now, effects| {
                    while machine.handle_deadlines(now, 1, effects) {}
                },
            )?;
        self.next_of(agent, node, &said, true)
    }

    fn send(&self, moment: &Moment, restarts: bool) -> Next {
        let Moment { node, mut agent } = moment.clone();
        if agent.flies || agent.elapsed == 0 {
            return Ok(None);
        }
        if restarts {
            let (run, sequence, interval) = (agent.run + 1, 0, SHORT);
            agent = Agent { run, sequence, seen: 0, interval, copies: 0, ..agent };
        }
        agent.sequence += 1;
        (agent.wait, agent.elapsed) = (agent.interval, 0);
        (agent.flies, agent.is_answered) = (true, false);
        Ok(Some(Moment { node, agent }))
    }

    /// The heartbeat arrives, for the first time or again.
    fn arrive(&mut self, moment: &Moment, hint: Option<u8>, hears: bool) -> Next {
        let mut agent = moment.agent;
        let beat = Beat {
            incarnation: agent.run,
            sequence: agent.sequence,
            directive_seen: agent.seen,
            ..Beat::default()
        };
        let (mut node, said) = self.stage.call(&moment.node, |machine, now, effects| {
            let slot = machine.find(key("a"));
            match machine.handle_heartbeat(now, key("a"), slot, &beat, effects) {
                Ok(Handled::Observe(ticket)) => Ok(hint.map(|units| {
                    let hint_ms = f64::from(units) * UNIT_MS as f64;
                    machine.decide(now, &ticket, &verdict(Health::Healthy, hint_ms), effects)
                })),
                Ok(Handled::Repeat(decision)) => Ok(Some(decision)),
                Err(refusal) => Err(refusal),
            }
        })?;
        (agent.flies, agent.copies) = (false, 0);
        match said.answer {
            Err(Refusal::ReadOnly) => (agent.wait, agent.is_answered) = (agent.wait.min(1), true),
            Err(refusal) => return Err(format!("an agent that obeys is refused: {refusal:?}")),
            Ok(decision) => {
                if let Some(decision) = decision.filter(|_| hears) {
                    self.stage.settle(&mut node);
                    let told = decision.trace.effective_ms;
                    expect(decision.next_interval_ms <= told, || format!("late: {decision:?}"))?;
                    agent.seen = decision.number;
                    agent.interval = (u64::from(told) / UNIT_MS) as u8;
                    agent.wait = agent.interval.saturating_sub(agent.elapsed);
                    agent.is_answered = true;
                }
            }
        }
        self.next_of(agent, node, &said, false)
    }

    fn crash(&mut self, moment: &Moment, lost: usize, phase: u8) -> Next {
        let mut agent = moment.agent;
        if lost >= moment.node.finds.len() || agent.seen == 0 || phase > agent.interval {
            return Ok(None);
        }
        let (node, effects) = self.stage.restart(&moment.node, lost)?;
        // It has beaten on, unheard.
        agent.sequence += 1;
        (agent.wait, agent.elapsed) = (phase, agent.interval - phase + 1);
        (agent.flies, agent.is_answered) = (false, true);
        agent.copies = (u64::from(self.stage.config.late_copy_ms) / UNIT_MS) as u8;
        let said = Said { answer: (), effects, is_changed: true };
        self.next_of(agent, node, &said, false)
    }

    fn wipe(&mut self, moment: &Moment, phase: u8) -> Next {
        let mut wiped = moment.clone();
        self.stage.wipe(&mut wiped.node);
        let mut next = self.crash(&wiped, 0, phase)?;
        // A copy of the very first heartbeat of a run says of no directive: nobody could know that
        // there is one.
        if let Some(next) = next.as_mut().filter(|next| next.agent.seen < 2) {
            next.agent.copies = 0;
        }
        Ok(next)
    }

    /// Its answer goes nowhere.
    fn copy(&mut self, moment: &Moment, hint: u8) -> Next {
        let mut agent = moment.agent;
        let (incarnation, sequence) = (agent.run, agent.seen);
        let beat = Beat { incarnation, sequence, directive_seen: sequence - 1, ..Beat::default() };
        agent.copies = 0;
        let (node, said) = self.stage.call(&moment.node, |machine, now, effects| {
            let slot = machine.find(key("a"));
            let handled = machine.handle_heartbeat(now, key("a"), slot, &beat, effects);
            if let Ok(Handled::Observe(ticket)) = handled {
                let hint_ms = f64::from(hint) * UNIT_MS as f64;
                machine.decide(now, &ticket, &verdict(Health::Healthy, hint_ms), effects);
            }
        })?;
        self.next_of(agent, node, &said, false)
    }

    fn with(
        &mut self,
        moment: &Moment,
        call: impl FnOnce(&mut Machine, Millis, &mut Effects),
    ) -> Next {
        let (node, said) = self.stage.call(&moment.node, call)?;
        self.next_of(moment.agent, node, &said, false)
    }
}

impl Model for Obedience {
    type State = Moment;
    type Input = Input;

    fn initial(&mut self) -> Moment {
        let agent = Agent {
            run: 7,
            sequence: 0,
            seen: 0,
            interval: SHORT,
            wait: SHORT,
            elapsed: 1,
            flies: false,
            is_answered: true,
            copies: 0,
        };
        Moment { node: self.stage.begin(), agent }
    }

    fn inputs(&self, _: &Moment, inputs: &mut Vec<Input>) {
        inputs.extend_from_slice(&self.alphabet);
    }

    fn next(&mut self, moment: &Moment, input: Input) -> Next {
        let (agent, machine) = (&moment.agent, &moment.node.live.machine);
        match input {
            Input::Step => self.step(moment),
            Input::Send => self.send(moment, false),
            Input::Restart => self.send(moment, true),
            Input::Arrive(hint, hears) if agent.flies => self.arrive(moment, hint, hears),
            Input::Retry(hears) if !agent.flies && !agent.is_answered && agent.elapsed < 2 => {
                self.arrive(moment, None, hears)
            }
            Input::Floor(units) if machine.floor_ms != u32::from(units) * UNIT_MS as u32 => self
                .with(moment, |machine, _, _| {
                    machine.set_floor(u32::from(units) * UNIT_MS as u32, 0.5);
                }),
            Input::Freeze(on) if machine.frozen != on => {
                self.with(moment, |machine, now, effects| {
                    machine.set_frozen(now, on, effects);
                })
            }
            Input::Crash(lost, phase) => self.crash(moment, lost.into(), phase),
            Input::Wipe(phase) => self.wipe(moment, phase),
            Input::Copy(hint) if agent.copies > 0 => self.copy(moment, hint),
            _ => Ok(None),
        }
    }

    fn form(&self, moment: &Moment, form: &mut Vec<u8>) {
        let Moment { node, agent } = moment;
        form::live(form, node.now, &node.live);
        form.extend([node.finds.len() as u8, node.needed as u8]);
        for find in &node.finds {
            form::found(form, node.now, &find.machine);
            let slot = find.machine.agents.find_record(key("a"));
            let run = slot.map_or(0, |slot| find.machine.agents[slot].incarnation);
            form.push((agent.run - run).min(2) as u8);
        }
        let known = Self::record(node);
        let run = known.map_or(0, |record| record.incarnation);
        let known = known.filter(|record| record.incarnation == agent.run);
        // Only whether a copy of what was answered says of a directive before it.
        let directive = known.map_or(0, Record::directive);
        form.extend([agent.seen.min(2) as u8, directive.min(2) as u8]);
        let is_newest = known.is_some_and(|record| record.directive() == agent.seen);
        let is_repeated = known.is_some_and(|record| record.sequence >= agent.sequence);
        form.extend([(agent.run - run).min(2) as u8, agent.sequence.min(2) as u8]);
        form.extend([agent.interval, agent.wait, agent.elapsed, agent.copies]);
        let facts = [is_newest, is_repeated, agent.flies, agent.is_answered];
        form.extend(facts.map(u8::from));
    }
}
