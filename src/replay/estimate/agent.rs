//! One agent under the candidate: when it beats, what it would have told, when it would have been
//! missed.
//!
//! It is a state machine without a clock: things that were recorded of it go in, one after the
//! other; each needs any number of verdicts until it is done.

use pulsegate_core::cadence::{self, Guard};
use pulsegate_core::{ClassId, Millis, Observation, Signals};
use pulsegate_wire::{EarlyRule, Health, Status};

use super::{FORGIVEN_MS, Rules, Tally};
use crate::agents::{Custom, Lane};
use crate::answers::Answer;

/// An instant that never comes.
const NEVER: u64 = u64::MAX;
/// A heartbeat this long before its due time, by no rule, was not directed, in milliseconds; an
/// agent counts from its first attempt, so the lateness of the one before is allowed as well.
/// Source: chosen; beyond what a network and a clock do.
const UNDIRECTED_MS: u64 = 1_000;
/// Slack of a deadline in the records, in milliseconds. Source: chosen; the wheel's tick, threads
/// that race, and rounding.
const SLACK_MS: u64 = 1_000;

/// What was recorded of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Thing {
    /// A heartbeat: its place in the window.
    Beat(u32),
    /// It was suspected.
    Suspected { last_receipt_ms: u64, deadline_ms: u64 },
    /// It is known no more, or left.
    Gone,
    /// The records end at this instant.
    End(u64),
}

/// A heartbeat that the candidate is to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) class: ClassId,
    pub(crate) observation: Observation,
    pub(crate) custom: Custom,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The next thing has not been looked at.
    #[default]
    New,
    /// Heartbeats before it are due.
    Before,
    /// It is there.
    At,
    /// All verdicts that it needs were given.
    After,
}

/// What is known of the last recorded heartbeat.
#[derive(Clone, Debug, Default)]
struct Held {
    class: ClassId,
    seen: Observation,
    custom: Custom,
    judged: Health,
    at_ms: u64,
    /// When the enforced directive wanted the next one.
    due_ms: u64,
    effective_ms: u32,
    cap_ms: u32,
    floor_ms: u32,
}

/// A silence: deadlines that the candidate would have set, by when it began.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    low_ms: u64,
    high_ms: u64,
    /// Sum of deadlines, each weighted with the time for which it holds.
    weighted: f64,
    since_ms: u64,
    /// When the enforced policy noticed it; 0 while it did not.
    enforced_ms: u64,
    /// It was looked at up to where it must have begun.
    is_closed: bool,
}

/// One agent under the candidate.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    hash: u64,
    guard: Option<Guard>,
    incarnation: u64,
    number: u64,
    in_force_ms: u32,
    effective_ms: u32,
    last_ms: u64,
    due_ms: u64,
    early_ms: u64,
    last_early_ms: u64,
    /// Rules that have fired and sleep, one bit each.
    asleep: u8,
    /// The directive to come spreads over the whole interval, as the recorded one did.
    spreads: bool,
    health: Health,
    held: Held,
    stage: Stage,
    /// Heartbeats before the present thing are due until then.
    until_ms: u64,
    is_silent: bool,
    silence: Silence,
    pub(crate) recorded: u32,
    pub(crate) estimated: u32,
}

impl Agent {
    pub(crate) fn new(hash: u64) -> Self {
        Self {
            hash,
            guard: None,
            incarnation: 0,
            number: 0,
            in_force_ms: 0,
            effective_ms: 0,
            last_ms: 0,
            due_ms: NEVER,
            early_ms: NEVER,
            last_early_ms: 0,
            asleep: 0,
            spreads: false,
            health: Health::default(),
            held: Held::default(),
            stage: Stage::New,
            until_ms: 0,
            is_silent: false,
            silence: Silence::default(),
            recorded: 0,
            estimated: 0,
        }
    }

    /// Goes on with a thing until a verdict is needed; `None` when it is done.
    pub(crate) fn advance(
        &mut self,
        thing: Thing,
        lanes: &[Lane],
        early: &[EarlyRule],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Option<Seen> {
        let lane = match thing {
            Thing::Beat(place) => Some(&lanes[place as usize]),
            _ => None,
        };
        loop {
            match self.stage {
                Stage::New => {
                    self.begin(thing, lane, rules, tally);
                    self.stage = Stage::Before;
                }
                Stage::Before => {
                    if let Some(seen) = self.before(lane, rules, tally) {
                        return Some(seen);
                    }
                    self.stage = Stage::At;
                }
                Stage::At => {
                    self.stage = Stage::After;
                    let seen = self.at(thing, lane, early, rules, tally);
                    if seen.is_some() {
                        return seen;
                    }
                }
                Stage::After => {
                    if let Some(lane) = lane {
                        self.hold(lane);
                    }
                    self.stage = Stage::New;
                    return None;
                }
            }
        }
    }

    /// How the time since the last thing is to be understood.
    fn begin(&mut self, thing: Thing, lane: Option<&Lane>, rules: &Rules, tally: &mut Tally) {
        let held = &self.held;
        self.is_silent = false;
        self.until_ms = match (thing, lane) {
            _ if self.guard.is_none() => 0,
            (Thing::Beat(_), Some(lane)) => {
                let now_ms = lane.seen.now_ms;
                let is_first = lane.seen.signals.has(Signals::FIRST);
                let is_late = now_ms > held.due_ms.saturating_add(FORGIVEN_MS);
                self.is_silent = is_first || is_late || self.silence.enforced_ms != 0;
                if self.is_silent { held.due_ms.min(now_ms) } else { now_ms }
            }
            (Thing::Suspected { .. }, _) => {
                self.is_silent = true;
                held.due_ms
            }
            (Thing::End(end_ms), _) => end_ms.min(held.due_ms),
            _ => held.due_ms.min(held.at_ms),
        };
        if self.guard.is_some() && !self.silence.is_closed {
            tally.lived_ms += self.until_ms.saturating_sub(held.at_ms);
        }
        if self.is_silent && !self.silence.is_closed {
            let deadline_ms = self.deadline_ms(rules);
            let since_ms = held.at_ms;
            let (low_ms, high_ms) = (deadline_ms, deadline_ms);
            self.silence = Silence { low_ms, high_ms, since_ms, ..Silence::default() };
        }
    }

    /// When the agent would be suspect if it fell silent now.
    fn deadline_ms(&self, rules: &Rules) -> u64 {
        let grace_ms = rules.core.classes[self.held.class].suspect_grace_ms;
        self.last_ms + u64::from(self.in_force_ms) + u64::from(grace_ms)
    }

    /// The next heartbeat that is due before the thing.
    fn before(&mut self, lane: Option<&Lane>, rules: &Rules, tally: &mut Tally) -> Option<Seen> {
        let next_ms = self.due_ms.min(self.early_ms);
        if self.silence.is_closed || next_ms >= self.until_ms {
            return None;
        }
        if self.is_silent {
            tally.uncertain += 1;
            self.pass(next_ms, rules);
        }
        if self.early_ms < self.due_ms {
            self.last_early_ms = next_ms;
            tally.early[1] += 1;
        }
        self.early_ms = NEVER;
        // What a heartbeat says that a rule caused was not so before.
        let near = lane.filter(|lane| {
            !self.is_silent
                && !lane.seen.signals.has(Signals::BEAT_EARLY)
                && lane.seen.now_ms - next_ms <= next_ms.saturating_sub(self.held.at_ms)
        });
        let seen = match near {
            Some(lane) => self.seen(next_ms, &lane.seen, lane.judged, rules),
            None => self.seen(next_ms, &self.held.seen, self.held.judged, rules),
        };
        let custom = near.map_or(&self.held.custom, |lane| &lane.custom).clone();
        Some(Seen { class: self.held.class, observation: seen, custom })
    }

    /// A recorded observation as it would have been at another time, under another cadence.
    fn seen(&self, at_ms: u64, told: &Observation, judged: Health, rules: &Rules) -> Observation {
        let moved = Signals::FIRST
            .with(Signals::BEAT_EARLY)
            .with(Signals::WAS_SUSPECT)
            .with(Signals::WAS_FAILED);
        let age_ms = told.progress_age_ms.saturating_add(at_ms).saturating_sub(told.now_ms);
        let has_progress = told.signals.has(Signals::HAS_PROGRESS);
        Observation {
            now_ms: at_ms,
            health: if rules.judges { self.health } else { judged },
            signals: Signals(told.signals.0 & !moved.0).with(Signals::DIRECTIVE_SEEN),
            interval_ms: self.effective_ms,
            lateness_ms: 0,
            missed: 0,
            progress_age_ms: if has_progress { age_ms } else { 0 },
            ..*told
        }
    }

    /// A heartbeat that may have been the last: the silence begins before it, or after.
    fn pass(&mut self, next_ms: u64, rules: &Rules) {
        let deadline_ms = self.deadline_ms(rules);
        let silence = &mut self.silence;
        silence.low_ms = silence.low_ms.min(deadline_ms);
        silence.high_ms = silence.high_ms.max(deadline_ms);
        let lasted = next_ms.saturating_sub(silence.since_ms);
        silence.weighted += deadline_ms as f64 * lasted as f64;
        silence.since_ms = silence.since_ms.max(next_ms);
    }

    /// The deadlines of the silence: earliest, middle, latest.
    fn close(&mut self, rules: &Rules) -> [u64; 3] {
        if !self.silence.is_closed {
            let end_ms = self.held.due_ms.max(self.held.at_ms + 1);
            self.pass(end_ms, rules);
            self.silence.weighted /= (end_ms - self.held.at_ms) as f64;
            self.silence.is_closed = true;
        }
        let Silence { low_ms, high_ms, weighted, .. } = self.silence;
        [low_ms, (weighted.round() as u64).clamp(low_ms, high_ms), high_ms]
    }

    /// The thing itself.
    fn at(
        &mut self,
        thing: Thing,
        lane: Option<&Lane>,
        early: &[EarlyRule],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Option<Seen> {
        match (thing, lane) {
            (Thing::Beat(_), Some(lane)) => self.beat(lane, early, rules, tally),
            (Thing::Suspected { last_receipt_ms, deadline_ms }, _) if self.guard.is_some() => {
                self.close(rules);
                self.silence.enforced_ms = deadline_ms;
                if last_receipt_ms > self.held.at_ms + SLACK_MS {
                    // It was heard since, or the gateway began anew: for both alike.
                    let grace_ms = rules.core.classes[self.held.class].suspect_grace_ms;
                    let granted_ms = u64::from(self.in_force_ms) + u64::from(grace_ms);
                    let same_ms = last_receipt_ms + granted_ms;
                    (self.silence.low_ms, self.silence.high_ms) = (same_ms, same_ms);
                    self.silence.weighted = same_ms as f64;
                }
                None
            }
            (Thing::Gone, _) => {
                self.lost(None, rules, tally);
                self.guard = None;
                None
            }
            (Thing::End(_), _) => {
                self.lost(None, rules, tally);
                None
            }
            _ => None,
        }
    }

    /// A silence that was noticed turns out to be real.
    fn lost(&mut self, back_ms: Option<u64>, rules: &Rules, tally: &mut Tally) {
        if self.guard.is_some() && self.silence.enforced_ms != 0 {
            let deadlines = self.close(rules);
            tally.detection.count(self.silence.enforced_ms, deadlines, back_ms);
        }
        self.silence = Silence::default();
    }

    fn beat(
        &mut self,
        lane: &Lane,
        early: &[EarlyRule],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Option<Seen> {
        let now_ms = lane.seen.now_ms;
        let signals = lane.seen.signals;
        tally.record(now_ms);
        self.recorded += 1;
        tally.early[0] += u64::from(signals.has(Signals::BEAT_EARLY));
        if signals.has(Signals::FIRST) {
            self.lost(Some(now_ms), rules, tally);
            let seen = self.first(lane, rules);
            // What this heartbeat tells needs no rule.
            self.note(lane, early);
            return Some(seen);
        }
        if self.guard.is_none() {
            self.join(lane, tally);
            return None;
        }
        let leaves = lane.seen.status == Status::Stopping;
        let late_ms = self.held.seen.lateness_ms.max(0).unsigned_abs();
        let undirected = now_ms + UNDIRECTED_MS + late_ms < self.held.due_ms;
        let has_reason = signals.has(Signals::BEAT_EARLY) || leaves;
        tally.disobedient += u64::from(undirected && !has_reason);
        let was_suspect = self.is_silent && self.returns(lane, rules, tally);
        if self.note(lane, early) && self.early_ms == NEVER {
            let earliest_ms = self.last_early_ms.saturating_add(rules.early_gap_ms);
            self.early_ms = if self.last_early_ms == 0 { now_ms } else { now_ms.max(earliest_ms) };
        }
        let is_early = self.early_ms <= now_ms && self.early_ms < self.due_ms;
        if self.due_ms > now_ms && !is_early && !leaves {
            return None;
        }
        if is_early {
            self.last_early_ms = now_ms;
            tally.early[1] += 1;
        }
        self.early_ms = NEVER;
        let mut seen = self.seen(now_ms, &lane.seen, lane.judged, rules);
        let late_ms = now_ms.saturating_sub(self.due_ms);
        seen.lateness_ms = if self.due_ms == NEVER { 0 } else { late_ms as i64 };
        let silent_ms = now_ms.saturating_sub(self.last_ms).saturating_sub(1_000);
        let missed = silent_ms / u64::from(self.in_force_ms.max(1));
        seen.missed = if late_ms > FORGIVEN_MS { missed.min(u32::MAX.into()) as u32 } else { 0 };
        seen.signals = seen
            .signals
            .with_if(is_early, Signals::BEAT_EARLY)
            .with_if(was_suspect, Signals::WAS_SUSPECT);
        Some(Seen { class: lane.class, observation: seen, custom: lane.custom.clone() })
    }

    /// A new incarnation: it beats at once, and what the one before was told holds no more.
    fn first(&mut self, lane: &Lane, rules: &Rules) -> Seen {
        let interval_ms = lane.seen.interval_ms;
        self.guard.get_or_insert_with(|| Guard::new(interval_ms));
        self.incarnation = lane.incarnation;
        self.number = lane.sequence.saturating_sub(1);
        (self.in_force_ms, self.effective_ms) = (interval_ms, interval_ms);
        (self.early_ms, self.last_early_ms, self.asleep) = (NEVER, 0, 0);
        let shortest = u64::from(lane.effective_ms) * 9 / 10;
        self.spreads = u64::from(lane.sent_ms) < shortest;
        let health = if rules.judges { self.health } else { lane.judged };
        let observation = Observation { health, ..lane.seen };
        Seen { class: lane.class, observation, custom: lane.custom.clone() }
    }

    /// An agent that lived before the records begin: it goes on from where it stands.
    fn join(&mut self, lane: &Lane, tally: &mut Tally) {
        let now_ms = lane.seen.now_ms;
        self.guard = Some(Guard::new(lane.stored_ms));
        (self.incarnation, self.number) = (lane.incarnation, lane.sequence);
        self.effective_ms = lane.effective_ms;
        self.in_force_ms = lane.effective_ms.max(lane.seen.interval_ms);
        self.health = lane.judged;
        (self.last_ms, self.due_ms) = (now_ms, now_ms + u64::from(lane.sent_ms));
        tally.estimate(now_ms);
        self.estimated += 1;
    }

    /// A living agent is back from a silence. Whether the candidate would have suspected it.
    fn returns(&mut self, lane: &Lane, rules: &Rules, tally: &mut Tally) -> bool {
        let now_ms = lane.seen.now_ms;
        let signals = lane.seen.signals;
        let has_failed = signals.has(Signals::WAS_FAILED);
        let recorded = signals.has(Signals::WAS_SUSPECT) || has_failed;
        let class = &rules.core.classes[self.held.class];
        let in_force_ms = self.held.effective_ms.max(lane.seen.interval_ms);
        let longest_ms = u64::from(in_force_ms) + u64::from(class.suspect_grace_ms) + SLACK_MS;
        let is_known = recorded || self.silence.enforced_ms != 0;
        if !is_known && now_ms.saturating_sub(self.held.at_ms) > longest_ms {
            tally.breaks += 1;
            self.silence = Silence::default();
            self.due_ms = now_ms;
            return false;
        }
        let deadlines = self.close(rules);
        let more_ms = class.fail_grace_ms.saturating_sub(class.suspect_grace_ms);
        // The latest deadline suspects the fewest.
        let [low, middle, high] = deadlines;
        let at = |later_ms: u32| [high, middle, low].map(|ms| now_ms > ms + u64::from(later_ms));
        tally.mistakes[0].count(recorded, at(0));
        tally.mistakes[1].count(has_failed, at(more_ms));
        self.silence = Silence::default();
        now_ms > middle
    }

    /// Looks at the candidate's rules with what a heartbeat tells; whether one fires.
    fn note(&mut self, lane: &Lane, early: &[EarlyRule]) -> bool {
        let mut fires = false;
        for (place, rule) in early.iter().enumerate().take(8) {
            let Some(value) = metric(lane, &rule.metric) else { continue };
            let bit = 1 << place;
            let (past, back) = match (rule.above, rule.below) {
                (Some(above), _) => (value > above, value <= rule.rearm),
                (_, Some(below)) => (value < below, value >= rule.rearm),
                _ => (false, true),
            };
            if back {
                self.asleep &= !bit;
            }
            if past && self.asleep & bit == 0 {
                self.asleep |= bit;
                fires = true;
            }
        }
        fires
    }

    /// Keeps what a recorded heartbeat told.
    fn hold(&mut self, lane: &Lane) {
        let now_ms = lane.seen.now_ms;
        let leaves = lane.seen.status == Status::Stopping;
        self.held = Held {
            class: lane.class,
            seen: lane.seen,
            custom: lane.custom.clone(),
            judged: lane.judged,
            at_ms: now_ms,
            due_ms: if leaves { now_ms } else { now_ms + u64::from(lane.sent_ms) },
            effective_ms: lane.effective_ms,
            cap_ms: lane.cap_ms,
            floor_ms: lane.floor_ms,
        };
    }

    /// Takes the verdict on the heartbeat that it was asked for.
    pub(crate) fn decide(
        &mut self,
        at_ms: u64,
        answer: &Answer,
        lane: Option<&Lane>,
        rules: &Rules,
        tally: &mut Tally,
    ) {
        let config = &rules.core.cadence;
        let held = (self.held.cap_ms, self.held.floor_ms);
        let (cap_ms, floor_ms) = lane.map_or(held, |lane| (lane.cap_ms, lane.floor_ms));
        let Some(guard) = &mut self.guard else { return };
        let step = guard.step(Millis(at_ms), answer.hint_ms, cap_ms, config);
        tally.turns += u64::from(step.turned);
        tally.estimate(at_ms);
        self.estimated += 1;
        self.number += 1;
        self.health = answer.health;
        self.last_ms = at_ms;
        // It has echoed the directive before, so that is the longest that it may be keeping.
        let before_ms = self.effective_ms;
        self.effective_ms = step.stored_ms.max(floor_ms).min(cap_ms).max(config.min_ms);
        self.in_force_ms = before_ms.max(self.effective_ms);
        let jitter =
            if std::mem::take(&mut self.spreads) { cadence::spread } else { cadence::early };
        let (hash, number, run) = (self.hash, self.number, self.incarnation);
        let sent_ms = jitter(self.effective_ms, config.min_ms, hash, number, run);
        self.due_ms = at_ms + u64::from(sent_ms);
    }
}

/// What a heartbeat tells of a metric. Errors are recorded as those of a window, and not as the
/// count that a rule would look at.
fn metric(lane: &Lane, name: &str) -> Option<f64> {
    let seen = &lane.seen;
    let told = |signal, value| seen.signals.has(signal).then_some(value);
    match name {
        "queue_depth" => told(Signals::HAS_QUEUE_DEPTH, seen.queue_depth),
        "active_tasks" => told(Signals::HAS_ACTIVE_TASKS, seen.active_tasks),
        "cpu_percent" => told(Signals::HAS_CPU_PERCENT, seen.cpu_percent),
        "memory_bytes" => told(Signals::HAS_MEMORY_BYTES, seen.memory_bytes),
        "latency_ms" => told(Signals::HAS_LATENCY_MS, seen.latency_ms),
        "error_count" => None,
        custom => lane.custom.as_ref()?.get(custom).copied(),
    }
}
