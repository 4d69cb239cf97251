//! The exact part: each recorded observation, answered again.
//!
//! The candidate sees what the enforced policy saw: also the intervals, latenesses and earlier
//! healths that the enforced policy caused. What it answers moves a guard of its own, at the
//! recorded instants; the recorded hints move another one, which must come to what was recorded.

use std::collections::BTreeMap;

use pulsegate_core::cadence::{Config, Guard, Step};
use pulsegate_core::{Millis, Signals};
use pulsegate_wire::Health;

use crate::agents::Lane;
use crate::answers::Answer;
use crate::spread::{Ratios, Spread};

/// What the exact part keeps of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    guards: Option<Guards>,
    /// Healths judged last: enforced, candidate.
    judged: Option<[Health; 2]>,
    at_ms: u64,
    /// Enforced: until when it is due, with its grace.
    quiet_until: u64,
    pub(crate) beats: u32,
    /// Heartbeats with another health or another interval.
    pub(crate) differing: u32,
    pub(crate) other_health: u32,
    /// Sum of the logarithms of the ratio of the two intervals.
    pub(crate) log_ratio: f32,
}

#[derive(Clone, Copy, Debug)]
struct Guards {
    enforced: Guard,
    candidate: Guard,
}

/// One side of the comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Side {
    pub(crate) health_changes: u64,
    pub(crate) moves: u64,
    pub(crate) turns: u64,
    pub(crate) interval_ms: f64,
}

/// What all heartbeats came to.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) beats: u64,
    /// Heartbeats that only said where the guard of an agent stands.
    pub(crate) met_mid_life: u64,
    /// Heartbeats whose recorded interval is not what the recorded hint comes to.
    pub(crate) unexplained: u64,
    pub(crate) sides: [Side; 2],
    /// Enforced by candidate.
    pub(crate) confusion: [[u64; 4]; 4],
    pub(crate) ratios: Ratios,
    /// Candidate less enforced, in seconds.
    pub(crate) differences: Spread,
    pub(crate) differing: u64,
    /// Time under watch, in milliseconds.
    pub(crate) watched_ms: u64,
    pub(crate) examples: BTreeMap<Kind, Shown>,
}

/// A kind of difference, of which an example is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Enforced and candidate, by number.
    Health(u8, u8),
    Tighter,
    Relaxed,
    Fault,
}

/// An example: the first of its kind, or the one with the largest ratio.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) lane: Lane,
    pub(crate) policy: String,
    pub(crate) reason: String,
    pub(crate) answer: Answer,
    pub(crate) effective_ms: u32,
    ratio: f64,
}

/// The two of a kind that the guard tells apart anyway are not worth an example. Source: the dead
/// band.
const SHOWN_RATIO: f64 = 1.2;

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            beats: 0,
            met_mid_life: 0,
            unexplained: 0,
            sides: [Side::default(); 2],
            confusion: [[0; 4]; 4],
            ratios: Ratios::default(),
            differences: Spread::new(0.1, 300.0),
            differing: 0,
            watched_ms: 0,
            examples: BTreeMap::new(),
        }
    }

    /// Compares one heartbeat.
    pub(crate) fn compare(
        &mut self,
        agent: &mut Agent,
        lane: &Lane,
        answer: &Answer,
        texts: &str,
        (config, default_ms, grace_ms): (&Config, u32, u32),
    ) {
        self.beats += 1;
        self.watch(agent, lane, grace_ms);
        self.compare_health(agent, lane, answer);
        let now = Millis(lane.seen.now_ms);
        let stored_ms = match &mut agent.guards {
            Some(guards) => self.step(guards, lane, answer, now, config),
            None => self.meet(agent, lane, answer, (config, default_ms)),
        };
        let effective_ms = stored_ms.max(lane.floor_ms).min(lane.cap_ms).max(config.min_ms);
        self.ratios.add(effective_ms, lane.effective_ms);
        let difference_ms = f64::from(effective_ms) - f64::from(lane.effective_ms);
        self.differences.add(difference_ms / 1_000.0);
        self.sides[0].interval_ms += f64::from(lane.effective_ms);
        self.sides[1].interval_ms += f64::from(effective_ms);
        let other_health = answer.health != lane.judged;
        let differs = other_health || effective_ms != lane.effective_ms;
        agent.beats += 1;
        agent.other_health += u32::from(other_health);
        agent.differing += u32::from(differs);
        self.differing += u64::from(differs);
        if differs {
            let ratio = f64::from(effective_ms) / f64::from(lane.effective_ms.max(1));
            agent.log_ratio += ratio.ln() as f32;
            self.show(lane, answer, texts, effective_ms, ratio);
        } else if answer.fault.is_some() {
            self.show(lane, answer, texts, effective_ms, 1.0);
        }
    }

    /// Time is watched from one heartbeat to the next, but for silences.
    fn watch(&mut self, agent: &mut Agent, lane: &Lane, grace_ms: u32) {
        let now_ms = lane.seen.now_ms;
        if agent.at_ms != 0 && !lane.seen.signals.has(Signals::FIRST) {
            self.watched_ms += now_ms.min(agent.quiet_until).saturating_sub(agent.at_ms);
        }
        agent.at_ms = now_ms;
        agent.quiet_until = now_ms + u64::from(lane.effective_ms) + u64::from(grace_ms);
    }

    fn compare_health(&mut self, agent: &mut Agent, lane: &Lane, answer: &Answer) {
        let now = [lane.judged, answer.health];
        self.confusion[now[0] as usize][now[1] as usize] += 1;
        if let Some(before) = agent.judged {
            for side in 0..2 {
                self.sides[side].health_changes += u64::from(before[side] != now[side]);
            }
        }
        agent.judged = Some(now);
    }

    /// The first heartbeat of an agent that is met. One that registers begins as every agent does;
    /// of one that lived before, only where its guard stands now is known: both go on from there.
    fn meet(
        &mut self,
        agent: &mut Agent,
        lane: &Lane,
        answer: &Answer,
        (config, default_ms): (&Config, u32),
    ) -> u32 {
        if lane.seen.signals.has(Signals::FIRST) {
            let new = Guard::new(default_ms);
            let mut guards = Guards { enforced: new, candidate: new };
            let now = Millis(lane.seen.now_ms);
            let step = guards.enforced.step(now, lane.hint_ms, lane.cap_ms, config);
            if step.stored_ms == lane.stored_ms {
                let tried = guards.candidate.step(now, answer.hint_ms, lane.cap_ms, config);
                self.count([step, tried]);
                agent.guards = Some(guards);
                return tried.stored_ms;
            }
        }
        self.met_mid_life += 1;
        let stands = Guard::new(lane.stored_ms);
        agent.guards = Some(Guards { enforced: stands, candidate: stands });
        lane.stored_ms
    }

    fn step(
        &mut self,
        guards: &mut Guards,
        lane: &Lane,
        answer: &Answer,
        now: Millis,
        config: &Config,
    ) -> u32 {
        let enforced = guards.enforced.step(now, lane.hint_ms, lane.cap_ms, config);
        if enforced.stored_ms != lane.stored_ms {
            self.unexplained += 1;
            guards.enforced.set_stored(lane.stored_ms);
        }
        let candidate = guards.candidate.step(now, answer.hint_ms, lane.cap_ms, config);
        self.count([enforced, candidate]);
        candidate.stored_ms
    }

    fn count(&mut self, steps: [Step; 2]) {
        for (side, step) in self.sides.iter_mut().zip(steps) {
            side.moves += u64::from(step.stored_ms != step.before_ms);
            side.turns += u64::from(step.turned);
        }
    }

    fn show(&mut self, lane: &Lane, answer: &Answer, texts: &str, effective_ms: u32, ratio: f64) {
        let kind = if answer.fault.is_some() {
            Kind::Fault
        } else if answer.health != lane.judged {
            Kind::Health(lane.judged as u8, answer.health as u8)
        } else if ratio > SHOWN_RATIO {
            Kind::Relaxed
        } else if ratio < 1.0 / SHOWN_RATIO {
            Kind::Tighter
        } else {
            return;
        };
        let is_better = self.examples.get(&kind).is_none_or(|known| match kind {
            Kind::Relaxed => ratio > known.ratio,
            Kind::Tighter => ratio < known.ratio,
            Kind::Health(..) | Kind::Fault => false,
        });
        if is_better {
            let text = |(from, to): (u32, u32)| texts[from as usize..to as usize].to_owned();
            let [policy, reason] = lane.texts.map(text);
            let (lane, answer) = (lane.clone(), *answer);
            let shown = Shown { lane, policy, reason, answer, effective_ms, ratio };
            self.examples.insert(kind, shown);
        }
    }
}

impl Agent {
    /// Nobody knows it any more: it would begin anew.
    pub(crate) fn forget(&mut self) {
        self.guards = None;
        self.judged = None;
        self.at_ms = 0;
    }
}
