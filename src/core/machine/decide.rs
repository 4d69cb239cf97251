//! From a verdict to a directive.

use pulsegate_wire::Outcome;

use super::record::{Flags, Lag, Record};
use super::{Decision, Machine, Ticket, is_bad};
use crate::cadence::{self, Bound, Trace};
use crate::{Effects, EventKind, Millis, Slot, Verdict};

impl Machine {
    /// Takes the verdict on a heartbeat and decides. A verdict whose stamp is no longer current
    /// is ignored, and the current directive comes back.
    pub fn decide(
        &mut self,
        now: Millis,
        ticket: &Ticket,
        verdict: &Verdict,
        effects: &mut Effects,
    ) -> Decision {
        let stamp = ticket.stamp;
        let Some(record) = self.agents.get(stamp.slot) else { return self.unknown(ticket) };
        if record.generation != stamp.generation {
            return self.unknown(ticket);
        }
        let is_current = record.flags.has(Flags::PENDING)
            && record.incarnation == stamp.incarnation
            && record.sequence == stamp.sequence;
        if !is_current {
            return self.repeated(stamp.slot, Outcome::Accepted);
        }
        let now = self.advance(now);
        if !self.frozen {
            self.judge(now, stamp.slot, verdict, effects);
        }
        self.pace(now, stamp.slot, verdict, effects)
    }

    /// Health: in force at once, and told when it changed.
    fn judge(&mut self, now: Millis, slot: Slot, verdict: &Verdict, effects: &mut Effects) {
        let from = self.agents[slot].health();
        let to = verdict.health;
        if from != to {
            self.agents.set_health(slot, to);
            self.emit(now, slot, EventKind::HealthChanged { from, to }, effects);
        }
        let stats = &mut self.agents[slot].stats;
        if is_bad(to) {
            stats.good = 0;
            stats.bad = stats.bad.saturating_add(1);
            if stats.bad == self.config.incident_after {
                self.handle_ill_health(now, slot, effects);
            }
        } else {
            stats.bad = 0;
            stats.good = stats.good.saturating_add(1);
            if self.agents[slot].cold.is_some() {
                self.handle_good_health(now, slot, effects);
            }
        }
    }

    /// Cadence: guard, floor, in force, jitter.
    fn pace(
        &mut self,
        now: Millis,
        slot: Slot,
        verdict: &Verdict,
        effects: &mut Effects,
    ) -> Decision {
        let config = &self.config.cadence;
        let record = &mut self.agents[slot];
        let class = &self.config.classes[record.class];
        let cap_ms = config.cap_ms(class.cap_ms(), record.smallest_lease_ms());
        let in_force_from_ms = record.in_force_ms;
        // While nothing can be recorded an interval may only become shorter: that is safe to
        // forget. A number that is none proposes the stored interval, as ever.
        let stored_ms = f64::from(record.guard.stored_ms());
        let hint_ms =
            if self.frozen { verdict.interval_ms.min(stored_ms) } else { verdict.interval_ms };
        let step = record.guard.step(now, hint_ms, cap_ms, config);
        let floor_ms = cadence::class_floor_ms(self.floor_ms, class.floor_weight);
        let unfrozen_ms = step.stored_ms.max(floor_ms).min(cap_ms);
        let durable_ms = if self.frozen { in_force_from_ms } else { cap_ms };
        let effective_ms = unfrozen_ms.min(durable_ms).max(config.min_ms);
        assert!(
            (config.min_ms..=cap_ms).contains(&effective_ms),
            "interval {effective_ms} ms out of bounds {}..={cap_ms}",
            config.min_ms,
        );
        record.bound = if effective_ms > step.stored_ms { Bound::Floor } else { step.bound };
        record.effective_ms = effective_ms;
        record.lag = Lag::ZERO;
        record.source = verdict.source;
        let is_storm = record.flags.has(Flags::STORM);
        record.flags.set(Flags::SPREAD, is_storm);
        record.flags.set(Flags::STORM, false);
        record.flags.set(Flags::PENDING, false);
        record.flags.set(Flags::FRESH, false);
        if now.since(self.resumed_at) >= self.config.late_copy_ms.into() {
            record.flags.set(Flags::DOUBTFUL, false);
        }
        let bound = record.bound;
        // The timer armed at receipt may now fire too early; then it finds that nothing is due.
        record.in_force_ms = record.in_force_ms.max(effective_ms);
        let in_force_ms = record.in_force_ms;
        if step.stored_ms != step.before_ms {
            let kind = EventKind::CadenceMoved {
                from_ms: step.before_ms,
                to_ms: step.stored_ms,
                turned: step.turned,
                in_force_from_ms,
                guard: record.guard.memory(now),
            };
            self.emit(now, slot, kind, effects);
        } else if in_force_ms != in_force_from_ms {
            self.emit(now, slot, EventKind::InForce { from_ms: in_force_from_ms }, effects);
        }
        let trace = Trace {
            hint_ms: verdict.interval_ms,
            clamped_ms: step.clamped_ms,
            cap_ms,
            before_ms: step.before_ms,
            stored_ms: step.stored_ms,
            floor_ms,
            effective_ms,
            sent_ms: self.sent_ms(&self.agents[slot]),
            bound,
        };
        self.decision(slot, Outcome::Accepted, trace)
    }

    /// The newest directive of an agent, again: its jitter follows from its number.
    pub(super) fn repeated(&self, slot: Slot, outcome: Outcome) -> Decision {
        let record = &self.agents[slot];
        let trace = Trace {
            stored_ms: record.guard.stored_ms(),
            effective_ms: record.effective_ms,
            sent_ms: self.sent_ms(record),
            bound: record.bound,
            ..Trace::default()
        };
        self.decision(slot, outcome, trace)
    }

    fn decision(&self, slot: Slot, outcome: Outcome, trace: Trace) -> Decision {
        let record = &self.agents[slot];
        let class = &self.config.classes[record.class];
        Decision {
            slot,
            number: record.directive(),
            outcome,
            next_interval_ms: trace.sent_ms,
            suspect_after_ms: record.in_force_ms.saturating_add(class.suspect_grace_ms),
            fail_after_ms: record.in_force_ms.saturating_add(class.fail_grace_ms),
            source: record.source,
            trace,
            health: record.health(),
            class: record.class,
            has_commands: record.cold.as_ref().is_some_and(|cold| !cold.commands.is_empty()),
            holds_leases: record.smallest_lease_ms().is_some(),
        }
    }

    /// What the newest directive said, after jitter.
    pub(super) fn sent_ms(&self, record: &Record) -> u32 {
        let is_spread = record.flags.has(Flags::SPREAD);
        let jitter = if is_spread { cadence::spread } else { cadence::early };
        jitter(
            record.effective_ms,
            self.config.cadence.min_ms,
            record.hash,
            record.directive(),
            record.incarnation,
        )
    }

    /// The answer when the agent was forgotten between its heartbeat and the verdict: it may
    /// come back as a new one.
    fn unknown(&self, ticket: &Ticket) -> Decision {
        let class_id = self.known_class(ticket.class);
        let class = &self.config.classes[class_id];
        let interval_ms = self.default_interval_ms(class);
        Decision {
            slot: ticket.stamp.slot,
            number: 0,
            outcome: Outcome::Stale,
            next_interval_ms: interval_ms,
            suspect_after_ms: interval_ms.saturating_add(class.suspect_grace_ms),
            fail_after_ms: interval_ms.saturating_add(class.fail_grace_ms),
            source: crate::VerdictSource::default(),
            trace: Trace { sent_ms: interval_ms, ..Trace::default() },
            health: ticket.observation.health,
            class: class_id,
            has_commands: false,
            holds_leases: false,
        }
    }
}
