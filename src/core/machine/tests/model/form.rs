//! What decides how a machine goes on, as bytes: the form of a state.
//!
//! Left out, because nothing that is explored depends on it: names and hashes (fixed for each
//! agent), generations, the size of sequences, incarnations and incident numbers (only their order
//! is ever asked for, and inputs name them relative to what is known), since when an incident is
//! open, how many heartbeats are missing, sources and bounds of directives, and the statistics of
//! metrics that nobody sends here. Left out although it moves jitter: whether a start is part of a
//! storm. Jitter is early only, and the agents of these models send at every instant up to the
//! latest. Left out of the lag is its size: that a directive's number is unknown 255 unanswered
//! heartbeats later is not explored.

use super::*;
use crate::machine::record::{Cold, Flags, Lag, Record};

/// Facts that decide something. Not `SPREAD` and `STORM`, which move jitter, and not `USED`.
const FLAGS: [Flags; 10] = [
    Flags::HEARD,
    Flags::PAUSED,
    Flags::PENDING,
    Flags::WITNESSED,
    Flags::FRESH,
    Flags::UNDURABLE,
    Flags::RESUMED,
    Flags::UNTREATED,
    Flags::MOVED,
    Flags::DOUBTFUL,
];

/// Whoever failed or left before this is forgotten as soon as anybody looks.
fn forgotten_before(now: Millis, config: &Config) -> Millis {
    let failed_ms = config.cadence.max_ms + config.classes[NORMAL_ONLY].fail_grace_ms;
    let longest_ms = (failed_ms + config.forget_failed_ms).max(config.forget_stopped_ms);
    Millis(now.0 - u64::from(longest_ms) - UNIT_MS)
}

pub(super) fn number(form: &mut Vec<u8>, number: u32) {
    form.extend(number.to_le_bytes());
}

/// An instant, as its distance from now.
pub(super) fn instant(form: &mut Vec<u8>, now: Millis, at: Millis) {
    number(form, at.0.wrapping_sub(now.0) as u32);
}

/// A machine that goes on.
pub(super) fn live(form: &mut Vec<u8>, now: Millis, image: &Image) {
    machine(form, now, &image.machine, false);
    instant(form, now, Millis(image.timers.tick * crate::wheel::TICK_MS));
    form.push(image.timers.visit.map_or(9, |timer| timer as u8));
    for &(timer, tick) in &image.timers.armed {
        form.push(timer as u8);
        instant(form, now, Millis(tick * crate::wheel::TICK_MS));
    }
}

/// A machine as a restart finds it: since when somebody is silent counts only of those who failed
/// or left.
pub(super) fn found(form: &mut Vec<u8>, now: Millis, found: &Machine) {
    machine(form, now, found, true);
}

fn machine(form: &mut Vec<u8>, now: Millis, machine: &Machine, is_found: bool) {
    form.push(machine.frozen.into());
    number(form, machine.floor_ms);
    let is_doubtful = |slot| machine.agents[slot].flags.has(Flags::DOUBTFUL);
    if machine.slots(Slot(0)).any(is_doubtful) {
        number(form, now.since(machine.resumed_at).min(machine.config.late_copy_ms.into()) as u32);
    }
    form.extend(machine.agents.free().iter().map(|&slot| slot as u8));
    for slot in (0..machine.agents.len() as u32 + machine.agents.free().len() as u32).map(Slot) {
        match machine.agents.get(slot) {
            None => form.push(u8::MAX),
            Some(one) => record(form, now, one, &machine.config, is_found),
        }
    }
}

fn record(form: &mut Vec<u8>, now: Millis, record: &Record, config: &Config, is_found: bool) {
    form.push(record.name.as_bytes()[0]);
    form.extend([record.state() as u8, record.health() as u8, record.status() as u8]);
    let bits = FLAGS.iter().enumerate();
    number(form, bits.map(|(bit, &flag)| u32::from(record.flags.has(flag)) << bit).sum());
    form.extend([record.incarnation.min(1) as u8, record.sequence.min(2) as u8, record.class.0]);
    if !is_found || matches!(record.state(), State::Failed | State::Stopped) {
        instant(form, now, record.receipt.max(forgotten_before(now, config)));
    }
    record.guard.form(now).into_iter().for_each(|part| number(form, part));
    number(form, record.in_force_ms);
    number(form, record.effective_ms);
    form.push((record.lag == Lag::UNKNOWN).into());
    form.push(record.stats.bad.min(config.incident_after.saturating_add(1)));
    form.push(record.stats.good.min(config.success_after));
    form.push(record.cold.is_some().into());
    if let Some(known) = &record.cold {
        cold(form, now, known, record);
    }
}

fn cold(form: &mut Vec<u8>, now: Millis, cold: &Cold, record: &Record) {
    let has_probe = cold.registration.as_ref().map(|known| known.probe.is_some());
    form.push(has_probe.map_or(0, |has_probe| 1 + u8::from(has_probe)));
    form.push(cold.incident.is_some().into());
    if let Some(case) = &cold.incident {
        form.extend([case.kind as u8, (cold.incidents - case.number) as u8, case.rungs]);
        form.push(case.plan.as_ref().map_or(u8::MAX, |plan| plan.rungs.len() as u8));
        form.push(case.act_at.is_some().into());
        // Before the last sign of life it is only past: it is compared with now, and with when a
        // silence since then lets recovery act.
        let earliest = Millis(record.receipt.min(now).0 - 1);
        instant(form, now, case.act_at.unwrap_or(now).max(earliest));
    }
    form.push(cold.action.is_some().into());
    if let Some(open) = &cold.action {
        // Of an incident long over, only that it is over.
        form.extend([(cold.incidents - open.incident).min(2) as u8, open.rung]);
        number(form, open.wait_ms);
    }
}
