//! From a heartbeat to an observation.

use pulsegate_wire::{Outcome, Reason, State, Status};

use super::index::Index;
use super::record::{Flags, Lag, Record};
use super::stats::{Reading, Stats};
use super::{Handled, Machine, Refusal, Ticket, stamp_of};
use crate::{
    AgentKey, Beat, Class, ClassId, Effects, EventKind, Millis, Observation, Signals, Slot,
};

/// Starts within [`Starts::WINDOW_MS`] that are a storm. Source: chosen; agents of one machine
/// start that close to each other only when a fleet starts as one.
const STORM: u32 = 32;

/// How many runs began lately, in fixed windows.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Starts {
    window_at: Millis,
    count: u32,
}

impl Starts {
    const WINDOW_MS: u64 = 10_000;

    /// Counts one; says whether it is part of a storm.
    fn count(&mut self, now: Millis) -> bool {
        if now.since(self.window_at) >= Self::WINDOW_MS {
            *self = Self { window_at: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > STORM
    }
}

/// What is known of the moment before a heartbeat was taken in.
struct Before {
    state: State,
    missed: u32,
    lateness_ms: i64,
    signals: Signals,
}

impl Machine {
    /// Handles a heartbeat: of the agent in `slot`, found with [`Machine::find`] under the same
    /// lock, or of an agent not known yet. An accepted one has renewed its deadline already,
    /// whatever becomes of its verdict.
    ///
    /// # Errors
    /// [`Refusal`]; state has not changed, except that a known agent whose new incarnation is
    /// refused as [`Refusal::ReadOnly`] has renewed its deadline: it lives.
    pub fn handle_heartbeat(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        slot: Option<Slot>,
        beat: &Beat,
        effects: &mut Effects,
    ) -> Result<Handled, Refusal> {
        let is_it = |slot: &Slot| self.agents.get(*slot).is_some_and(|r| r.hash == key.hash);
        match slot.filter(is_it).or_else(|| self.agents.find(key)) {
            Some(slot) => self.handle_known(now, slot, beat, effects),
            None => self.handle_first(now, key, beat, effects),
        }
    }

    /// A heartbeat of a known agent that was rate-limited: it is a sign of life and renews the
    /// deadline, nothing else; the same heartbeat may still come again and be decided. One that is
    /// no news (a duplicate, or of an older incarnation) or of an agent that left renews nothing.
    /// Returns the time until the next is due, in milliseconds.
    pub fn handle_limited(
        &mut self,
        now: Millis,
        slot: Slot,
        beat: &Beat,
        effects: &mut Effects,
    ) -> u32 {
        let Some(record) = self.agents.get(slot) else { return self.config.cadence.min_ms };
        let due_in_ms = record.effective_ms;
        let heard = record.flags.has(Flags::HEARD);
        let is_current = beat.incarnation == 0 || beat.incarnation == record.incarnation;
        let is_news = beat.sequence == 0 || beat.sequence > record.sequence;
        let is_life = beat.incarnation > record.incarnation || (is_current && is_news);
        if heard && is_life && record.state() != State::Stopped {
            let now = self.advance(now);
            self.sign_of_life(now, slot, effects);
        }
        due_in_ms
    }

    /// Renews the deadline of an agent that was heard, and nothing else.
    pub(super) fn sign_of_life(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        if let Some(kind) = self.return_to_life(now, slot) {
            self.emit(now, slot, kind, effects);
        }
        if let Some(record) = self.agents.get_mut(slot) {
            record.receipt = now;
            record.missed = 0;
            record.flags.set(Flags::WITNESSED, false);
            record.flags.set(Flags::RESUMED, false);
        }
        self.rearm(slot);
    }

    /// The first heartbeat of an agent that nobody knows.
    fn handle_first(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        beat: &Beat,
        effects: &mut Effects,
    ) -> Result<Handled, Refusal> {
        let normal = self.config.classes.normal();
        let class = beat.class.map_or(normal, |class| self.known_class(class));
        self.check_writable()?;
        let slot = self.admit(now, key, class, State::Alive)?;
        let now = self.advance(now);
        self.begin_run(now, slot, beat);
        let kind = EventKind::Registered { state: State::Alive, registration: None };
        self.emit(now, slot, kind, effects);
        let before = self.before(now, slot, beat, true);
        Ok(self.accept(now, slot, beat, &before, effects))
    }

    fn handle_known(
        &mut self,
        now: Millis,
        slot: Slot,
        beat: &Beat,
        effects: &mut Effects,
    ) -> Result<Handled, Refusal> {
        let record = &self.agents[slot];
        let heard = record.flags.has(Flags::HEARD);
        if beat.incarnation != 0 && beat.incarnation < record.incarnation {
            return Err(Refusal::IncarnationStale { known: record.incarnation });
        }
        let is_newer = beat.incarnation > record.incarnation;
        if record.state() == State::Stopped && !is_newer {
            return Err(Refusal::Stopped);
        }
        let is_first = is_newer || !heard;
        if !is_first && beat.sequence != 0 && beat.sequence <= record.sequence {
            let is_same = beat.sequence == record.sequence;
            let outcome = if is_same { Outcome::Duplicate } else { Outcome::Stale };
            return Ok(Handled::Repeat(self.repeated(slot, outcome)));
        }
        let now = self.advance(now);
        if is_first && self.frozen {
            self.refuse_run(now, slot, effects);
            return Err(Refusal::ReadOnly);
        }
        let before = self.before(now, slot, beat, is_first);
        if before.state != State::Alive || is_first || beat.class.is_some() {
            self.rejoin(now, slot, beat, &before, effects);
        }
        Ok(self.accept(now, slot, beat, &before, effects))
    }

    /// What a heartbeat moves beside the deadline, and not every heartbeat does: state, class and
    /// run. Each event is told once all of it has moved, so that it says how the agent stands.
    fn rejoin(
        &mut self,
        now: Millis,
        slot: Slot,
        beat: &Beat,
        before: &Before,
        effects: &mut Effects,
    ) {
        let back = self.return_to_life(now, slot);
        let is_open = !self.frozen;
        let moved = is_open && beat.class.is_some_and(|class| self.assign_class(slot, class));
        let is_first = before.signals.has(Signals::FIRST);
        if is_first {
            self.begin_run(now, slot, beat);
        }
        if let Some(kind) = back {
            self.emit(now, slot, kind, effects);
        }
        // The first run of one that was expected is told of as `Heard`; any other takes over.
        if is_first && before.state != State::New {
            let incarnation = self.agents[slot].incarnation;
            self.emit(now, slot, EventKind::Restarted { incarnation }, effects);
            self.supersede(now, slot, effects);
        }
        if moved {
            self.emit_updated(now, slot, effects);
        }
    }

    /// Gives an unknown agent its record.
    pub(super) fn admit(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        class: ClassId,
        state: State,
    ) -> Result<Slot, Refusal> {
        if self.agents.len() >= self.config.max_agents.min(Index::MAX) as usize {
            return Err(Refusal::Full);
        }
        let interval_ms = self.default_interval_ms(&self.config.classes[class]);
        let now = self.advance(now);
        let slot = self.agents.insert(Record::new(now, key, class, state, interval_ms));
        self.rearm(slot);
        Ok(slot)
    }

    /// The interval of an agent that was told nothing yet.
    pub(super) fn default_interval_ms(&self, class: &Class) -> u32 {
        let cap_ms = self.config.cadence.cap_ms(class.cap_ms(), None);
        class.interval_ms.clamp(self.config.cadence.min_ms, cap_ms)
    }

    /// The longest that an agent may have been told by whoever knew it before: it may have been of
    /// any class then, unless it says of which it is.
    fn unremembered_ms(&self, class: Option<ClassId>) -> u32 {
        let classes = self.config.classes.iter().filter(|(id, _)| class.is_none_or(|c| c == *id));
        let caps = classes.map(|(_, class)| self.config.cadence.cap_ms(class.cap_ms(), None));
        caps.max().unwrap_or(self.config.cadence.max_ms)
    }

    /// A new incarnation, or the first. It has no directive yet, so what the one before was told
    /// is not in force any more; until it is told otherwise it beats by default. One that has a
    /// directive all the same, and was forgotten, keeps to an interval that nobody remembers.
    fn begin_run(&mut self, now: Millis, slot: Slot, beat: &Beat) {
        let is_storm = self.starts.count(now);
        let interval_ms = self.default_interval_ms(&self.config.classes[self.agents[slot].class]);
        let obeys = beat.directive_seen != 0;
        let class = beat.class.map(|class| self.known_class(class));
        let in_force_ms = if obeys { self.unremembered_ms(class) } else { interval_ms };
        let Some(record) = self.agents.get_mut(slot) else { return };
        record.incarnation = beat.incarnation.max(record.incarnation);
        record.sequence = 0;
        record.lag = Lag::UNKNOWN;
        record.receipt = now;
        record.in_force_ms = in_force_ms;
        record.effective_ms = interval_ms;
        record.stats = Stats::default();
        record.set_status(Status::Healthy);
        record.flags.set(Flags::HEARD, true);
        record.flags.set(Flags::STORM, is_storm);
        record.flags.set(Flags::SPREAD, false);
        record.flags.set(Flags::DOUBTFUL, obeys);
    }

    /// An agent that was silent, or never heard, beats. What to tell of it comes back, if anything:
    /// that one which had left is back, `Restarted` tells.
    fn return_to_life(&mut self, now: Millis, slot: Slot) -> Option<EventKind> {
        let record = &mut self.agents[slot];
        let from = record.state();
        let kind = match from {
            State::Alive => return None,
            State::New => Some(EventKind::Heard),
            State::Stopped => None,
            State::Suspect | State::Failed => Some(EventKind::Recovered {
                from,
                silent_ms: now.since(record.receipt),
                missed: record.missed_at(now).saturating_sub(record.missed),
            }),
        };
        record.receipt = now;
        record.flags.set(Flags::UNDURABLE, false);
        self.agents.set_state(slot, State::Alive);
        self.cancel_rungs(slot, from);
        kind
    }

    /// Takes in a heartbeat that is in order.
    fn accept(
        &mut self,
        now: Millis,
        slot: Slot,
        beat: &Beat,
        before: &Before,
        effects: &mut Effects,
    ) -> Handled {
        let record = &mut self.agents[slot];
        let in_force_ms = record.in_force_ms;
        let leaves = beat.status == Status::Stopping;
        let is_leaving = record.status() == Status::Stopping;
        let is_sure = !record.flags.has(Flags::DOUBTFUL);
        if is_sure && before.signals.has(Signals::DIRECTIVE_SEEN) {
            record.in_force_ms = record.effective_ms;
        }
        let sequence =
            if beat.sequence == 0 { record.sequence.saturating_add(1) } else { beat.sequence };
        record.lag = record.lag.grown_by(sequence - record.sequence);
        record.sequence = sequence;
        record.receipt = now;
        record.missed = 0;
        record.flags.set(Flags::PENDING, true);
        record.flags.set(Flags::WITNESSED, false);
        record.flags.set(Flags::RESUMED, false);
        record.set_status(beat.status);
        let reading = record.stats.observe(now, beat, &self.config);
        let stamp = stamp_of(slot, record, sequence);
        let class = record.class;
        let observation = observe(now, beat, record, before, reading, self.fleet_load);
        if record.in_force_ms != in_force_ms {
            self.emit(now, slot, EventKind::InForce { from_ms: in_force_ms }, effects);
        }
        if leaves != is_leaving {
            self.emit(now, slot, EventKind::Leaving(leaves), effects);
        }
        self.rearm(slot);
        Handled::Observe(Ticket { stamp, class, observation })
    }

    fn before(&self, now: Millis, slot: Slot, beat: &Beat, is_first: bool) -> Before {
        let record = &self.agents[slot];
        let state = record.state();
        let directive = if is_first { 0 } else { record.directive() };
        let seen = directive != 0 && beat.directive_seen == directive;
        let due = record.receipt.plus(self.sent_ms(record).into());
        // What it was told before a restart, nobody knows.
        let is_unknown = is_first || record.flags.has(Flags::RESUMED);
        Before {
            state,
            missed: record.missed_at(now),
            lateness_ms: if is_unknown { 0 } else { now.0 as i64 - due.0 as i64 },
            signals: Signals::default()
                .with_if(is_first, Signals::FIRST)
                .with_if(seen, Signals::DIRECTIVE_SEEN)
                .with_if(beat.reason == Reason::Early, Signals::BEAT_EARLY)
                .with_if(state == State::Suspect, Signals::WAS_SUSPECT)
                .with_if(state == State::Failed, Signals::WAS_FAILED),
        }
    }
}

/// What a policy sees. A number that is none counts as not reported: no NaN gets in.
fn observe(
    now: Millis,
    beat: &Beat,
    record: &Record,
    before: &Before,
    reading: Reading,
    fleet_load: f64,
) -> Observation {
    let cpu_percent = beat.cpu_percent.filter(|percent| percent.is_finite());
    let latency_ms = beat.latency_ms.filter(|latency| latency.is_finite());
    let signals = before
        .signals
        .with(reading.signals)
        .with_if(record.smallest_lease_ms().is_some(), Signals::HOLDS_LEASE)
        .with_if(beat.queue_depth.is_some(), Signals::HAS_QUEUE_DEPTH)
        .with_if(beat.active_tasks.is_some(), Signals::HAS_ACTIVE_TASKS)
        .with_if(cpu_percent.is_some(), Signals::HAS_CPU_PERCENT)
        .with_if(beat.memory_bytes.is_some(), Signals::HAS_MEMORY_BYTES)
        .with_if(beat.error_count.is_some(), Signals::HAS_ERROR_COUNT)
        .with_if(latency_ms.is_some(), Signals::HAS_LATENCY_MS);
    Observation {
        now_ms: now.0,
        status: beat.status,
        health: record.health(),
        signals,
        interval_ms: record.in_force_ms,
        lateness_ms: before.lateness_ms,
        missed: before.missed,
        queue_depth: beat.queue_depth.unwrap_or(0) as f64,
        queue_trend: reading.queue_trend,
        active_tasks: beat.active_tasks.unwrap_or(0) as f64,
        cpu_percent: cpu_percent.unwrap_or(0.0),
        memory_bytes: beat.memory_bytes.unwrap_or(0) as f64,
        errors: reading.errors,
        latency_ms: latency_ms.unwrap_or(0.0),
        progress_age_ms: reading.progress_age_ms,
        fleet_load,
    }
}
