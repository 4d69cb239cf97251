//! The estimate, on streams small enough to be understood by hand.

use pulsegate_core::Signals;
use pulsegate_wire::event::{Forgotten, Silent};
use pulsegate_wire::{Event, EventKind};
use serde_json::{Value, json};

use super::support::{candidate, made, replay};
use crate::{Candidate, Options, Report};

/// A candidate that wants this interval, whatever it sees.
fn constant(ms: u32) -> Candidate {
    let factor = f64::from(ms) / 30_000.0;
    candidate("queue-pressure", json!({ "fastest_ms": ms.min(5_000), "relaxed_factor": factor }))
}

/// Beats of an agent that tells of an empty queue, at these seconds; `signals` are added to the
/// beat at that place.
fn told(
    tried: Candidate,
    seconds: &[u64],
    signals: &[(usize, Signals)],
    events: &[Event],
) -> Report {
    let records = made(1, seconds.len() as u64, 30_000, |_, sequence, record| {
        let place = sequence as usize - 1;
        let seen = record.observed.as_mut().expect("it was made with one");
        record.at_ms = seconds[place] * 1_000;
        seen.now_ms = record.at_ms;
        seen.signals |= Signals::HAS_QUEUE_DEPTH.0;
        for (_, more) in signals.iter().filter(|(at, _)| *at == place) {
            seen.signals |= more.0;
            if *more == Signals::FIRST {
                record.incarnation += 1;
            }
        }
    });
    replay(tried, Options::default(), &records, events)
}

fn suspected(last: u64) -> Event {
    let silent = Silent {
        last_receipt_ms: last * 1_000,
        in_force_ms: 30_000,
        grace_ms: 20_000,
        ..Silent::default()
    };
    Event {
        at_ms: last * 1_000 + 50_000,
        tenant: "default".to_owned(),
        agent_id: "agent-0".to_owned(),
        kind: Some(EventKind::Suspected(silent)),
        ..Event::default()
    }
}

/// Seconds from 1 on, one in so many.
fn every(step: u64, until: u64) -> Vec<u64> {
    (1..=until).step_by(step as usize).collect()
}

#[test]
fn a_slower_candidate_leaves_heartbeats_out_and_a_faster_one_holds_them() {
    let hour = every(30, 3_601);
    let slower = told(constant(45_000), &hour, &[], &[]).estimate;
    assert_eq!(slower.recorded, 121);
    // 45 s less jitter, half of a tenth on average.
    assert!((82.0..=88.0).contains(&slower.heartbeats.middle), "{:?}", slower.heartbeats);
    assert_eq!(slower.heartbeats.low, slower.heartbeats.high, "nobody was silent");
    let faster = told(constant(10_000), &hour, &[], &[]).estimate;
    assert!((370.0..=390.0).contains(&faster.heartbeats.middle), "{:?}", faster.heartbeats);
}

#[test]
fn a_real_silence_is_noticed_within_its_bounds() {
    // Silent after 301 s; a new run at 901 s.
    let mut seconds = every(30, 301);
    seconds.extend([901, 931]);
    let back = seconds.len() - 2;
    let signals = [(back, Signals::FIRST)];
    // Half of the difference of the intervals; of a slow one it depends on where its beats lie.
    for (tried, middle) in [(constant(5_000), -14.0..-11.0), (constant(45_000), -7.5..22.5)] {
        let found = told(tried, &seconds, &signals, &[suspected(301)]).estimate.detection;
        assert_eq!((found.silences, found.unnoticed, found.not_back), (1, 0, 0));
        let shift = found.shift;
        assert!(shift.low <= shift.middle && shift.middle <= shift.high, "{shift:?}");
        assert!(middle.contains(&shift.middle), "{shift:?}");
        assert_eq!(found.earlier + found.later, 1);
    }
}

#[test]
fn a_silence_that_ends_before_the_candidate_notices_is_not_noticed() {
    let mut seconds = every(30, 301);
    // The enforced policy noticed at 351 s; a run at 45 s would not have been suspect before 366.
    seconds.extend([352, 382]);
    let signals = [(seconds.len() - 2, Signals::FIRST)];
    let report = told(constant(70_000), &seconds, &signals, &[suspected(301)]);
    let found = report.estimate.detection;
    assert_eq!((found.silences, found.unnoticed), (1, 1), "{found:?}");
}

#[test]
fn a_silence_that_nobody_ends_is_open_and_one_that_is_forgotten_too() {
    let seconds = every(30, 301);
    let silent = [suspected(301)];
    let open = told(constant(30_000), &seconds, &[], &silent).estimate.detection;
    assert_eq!((open.silences, open.not_back), (1, 1));
    let forgotten = Event {
        at_ms: 90_000_000,
        kind: Some(EventKind::Forgotten(Forgotten { from: 3 })),
        ..suspected(301)
    };
    let events = [suspected(301), forgotten];
    let gone = told(constant(30_000), &seconds, &[], &events).estimate.detection;
    assert_eq!((gone.silences, gone.not_back), (1, 1));
}

#[test]
fn a_living_agent_that_was_suspect_is_a_mistake_that_comes_or_goes() {
    // It stood still from 301 s to 356 s: suspect at 351.
    let mut seconds = every(30, 301);
    seconds.extend([356, 386, 416]);
    let back = seconds.len() - 3;
    let signals = [(back, Signals::WAS_SUSPECT)];
    let silent = [suspected(301)];
    let slower = told(constant(70_000), &seconds, &signals, &silent).estimate;
    let mistakes = slower.false_suspicions;
    assert_eq!((mistakes.recorded, slower.detection.silences), (1, 0));
    assert!(mistakes.estimated.low <= mistakes.estimated.high);
    assert_eq!(mistakes.gone.low + mistakes.estimated.high, 1.0, "{mistakes:?}");
    let faster = told(constant(5_000), &seconds, &signals, &silent).estimate;
    assert_eq!(faster.false_suspicions.estimated.high, 1.0);
    assert_eq!((faster.false_suspicions.come.high, faster.false_failures.recorded), (0.0, 0));
    // The same pause, two seconds shorter: nobody was suspect, and the tight candidate may have.
    let mut seconds = every(30, 301);
    seconds.extend([350, 380, 410]);
    let mistakes = told(constant(5_000), &seconds, &[], &[]).estimate.false_suspicions;
    assert_eq!((mistakes.recorded, mistakes.come.high), (0, 1.0), "{mistakes:?}");
}

#[test]
fn missing_records_are_left_out_and_said() {
    let mut seconds = every(30, 301);
    seconds.extend(every(30, 301).iter().map(|second| second + 7_200));
    let estimate = told(constant(30_000), &seconds, &[], &[]).estimate;
    assert_eq!((estimate.breaks, estimate.false_suspicions.recorded), (1, 0));
    assert!((21.0..=24.0).contains(&estimate.heartbeats.middle), "{:?}", estimate.heartbeats);
}

#[test]
fn what_a_restart_of_the_gateway_granted_is_granted_to_both() {
    // Core time stands still while nobody serves; the silence counts from the restart on.
    let seconds = every(30, 301);
    let events = [suspected(320)];
    let found = told(constant(30_000), &seconds, &[], &events).estimate.detection;
    assert!(found.shift.middle.abs() <= 0.5, "{found:?}");
    assert_eq!(found.shift.low, found.shift.high);
}

#[test]
fn agents_with_a_cadence_of_their_own_are_said() {
    let estimate = told(constant(30_000), &every(10, 601), &[], &[]).estimate;
    assert_eq!(estimate.undirected, 60);
    let orderly = told(constant(30_000), &every(30, 601), &[], &[]).estimate;
    assert_eq!(orderly.undirected, 0);
}

#[test]
fn rules_for_early_heartbeats_fire_once_in_the_estimate() {
    let seconds = every(30, 601);
    let records = made(1, seconds.len() as u64, 30_000, |_, sequence, record| {
        let seen = record.observed.as_mut().expect("it was made with one");
        seen.signals |= Signals::HAS_QUEUE_DEPTH.0;
        // Over both thresholds for some beats, then empty, then over the first.
        seen.queue_depth = match sequence {
            5..=8 => 2_000.0,
            15..=16 => 600.0,
            _ => 0.0,
        };
    });
    let report =
        replay(candidate("queue-pressure", Value::Null), Options::default(), &records, &[]);
    assert_eq!(report.estimate.recorded_early, 0);
    assert_eq!(report.estimate.early, 2, "one for each surge");
}
