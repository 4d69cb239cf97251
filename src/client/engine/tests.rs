//! The engine against a scripted gateway, on virtual time.

use pulsegate_wire::{BeatEarly, EarlyRule, Metrics};

use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn engine() -> Engine {
    engine_with_seed(1)
}

fn engine_with_seed(seed: u64) -> Engine {
    let registration = Registration { class: Some("critical".into()), ..Registration::default() };
    let settings = Settings {
        agent_id: "agent-1".into(),
        incarnation: 1_000,
        registration,
        attempt_timeout: ms(5_000),
        seed,
    };
    Engine::new(Time::ZERO, settings)
}

fn directive(number: u64, interval_ms: u64) -> Directive {
    Directive {
        number,
        next_interval_ms: interval_ms,
        retry: RETRY.to_vec(),
        ..Directive::default()
    }
}

fn queue_rule(min_gap_ms: u64, spread_ms: u64) -> BeatEarly {
    let rule =
        EarlyRule { metric: "queue_depth".into(), above: Some(100.0), below: None, rearm: 50.0 };
    BeatEarly { min_gap_ms, spread_ms, rules: vec![rule] }
}

fn set_queue(engine: &mut Engine, now: Time, depth: u64) {
    engine.handle_report(now, |report| {
        report.metrics = Metrics { queue_depth: Some(depth), ..Metrics::default() };
    });
}

/// Sends the heartbeat that must be due now.
fn send(engine: &mut Engine, now: Time) -> Heartbeat {
    engine.poll_transmit(now, 0).expect("a heartbeat is due").heartbeat
}

/// Sends what is due and answers it at once with `interval_ms`; returns what was sent.
fn exchange(engine: &mut Engine, now: Time, interval_ms: u64) -> Heartbeat {
    let heartbeat = send(engine, now);
    engine.handle_directive(now, directive(heartbeat.sequence, interval_ms));
    heartbeat
}

#[test]
fn the_first_heartbeat_is_due_at_once_and_registers() {
    let mut engine = engine();
    assert_eq!(engine.poll_timeout(), Some(Time::ZERO));
    let first = exchange(&mut engine, Time::ZERO, 10_000);
    assert_eq!(first.reason, Reason::Start as i32);
    assert_eq!((first.incarnation, first.sequence), (1_000, 1));
    assert_eq!(first.class.as_deref(), Some("critical"));
    let second = exchange(&mut engine, ms(10_000), 10_000);
    assert_eq!(second.reason, Reason::Scheduled as i32);
    assert_eq!((second.sequence, second.directive_seen), (2, 1));
    assert_eq!(second.class, None, "absent means unchanged");
}

#[test]
fn the_interval_counts_from_sending_the_first_attempt() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    engine.handle_directive(ms(700), directive(1, 10_000));
    assert_eq!(engine.poll_timeout(), Some(ms(10_000)));

    send(&mut engine, ms(10_000));
    engine.handle_failure(ms(10_000));
    let retry = engine.poll_timeout().expect("a retry");
    send(&mut engine, retry);
    engine.handle_directive(retry + ms(300), directive(2, 10_000));
    assert_eq!(engine.poll_timeout(), Some(ms(20_000)), "not from the retry");
}

#[test]
fn an_instant_that_has_passed_means_at_once_plus_jitter() {
    let mut delays = Vec::new();
    for seed in 0..100 {
        let mut engine = engine_with_seed(seed);
        send(&mut engine, Time::ZERO);
        engine.handle_directive(ms(4_000), directive(1, 2_000));
        let delay = engine.poll_timeout().expect("due") - ms(4_000);
        assert!(delay <= ms(200), "a tenth of the interval at most, not {delay:?}");
        delays.push(delay);
    }
    delays.sort_unstable();
    assert!(delays[90] - delays[10] > ms(50), "a fleet spreads out");
}

#[test]
fn retries_keep_sequence_and_body_and_their_delays() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 30_000);
    set_queue(&mut engine, ms(1), 7);
    let first = send(&mut engine, ms(30_000));
    let mut now = ms(30_000);
    for delay in RETRY {
        engine.handle_failure(now);
        set_queue(&mut engine, now, 8);
        let at = engine.poll_timeout().expect("a retry");
        let waited = at - now;
        assert!(waited >= ms(delay * 8 / 10) && waited <= ms(delay * 12 / 10), "{waited:?}");
        assert_eq!(engine.poll_transmit(at - ms(1), 0), None, "not before");
        now = at;
        let retry = send(&mut engine, now);
        assert_eq!(retry.reason, Reason::Retry as i32);
        assert_eq!(Heartbeat { reason: first.reason, ..retry }, first);
    }
    engine.handle_failure(now);
    assert_eq!(engine.poll_timeout(), Some(ms(60_000)), "then only the next heartbeat");
    let next = send(&mut engine, ms(60_000));
    assert_eq!(next.sequence, first.sequence + 1);
    assert_eq!(next.class.as_deref(), Some("critical"), "whoever answers next may not know us");
}

#[test]
fn a_retry_starts_only_before_the_next_heartbeat_is_due() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 2_000);
    let first = send(&mut engine, ms(2_000));
    engine.handle_failure(ms(2_000));
    let retry = engine.poll_timeout().expect("a retry after about 1 s");
    assert!(retry < ms(4_000));
    send(&mut engine, retry);
    engine.handle_failure(retry);
    assert_eq!(engine.poll_timeout(), Some(ms(4_000)), "the second retry would be too late");
    assert_eq!(send(&mut engine, ms(4_000)).sequence, first.sequence + 1);
}

#[test]
fn an_attempt_is_given_up_when_its_retry_is_due() {
    let mut engine = engine();
    let attempt = engine.poll_transmit(Time::ZERO, 0).expect("due");
    assert!(attempt.give_up_after >= ms(800) && attempt.give_up_after <= ms(1_200));
    let mut without_retries = directive(1, 30_000);
    without_retries.retry.clear();
    engine.handle_directive(ms(5), without_retries);
    let attempt = engine.poll_transmit(ms(30_000), 0).expect("due");
    assert_eq!(attempt.give_up_after, ms(5_000));
    engine.handle_failure(ms(35_000));
    assert_eq!(engine.poll_timeout(), Some(ms(60_000)), "an empty list means: do not retry");
}

#[test]
fn never_two_attempts_at_once() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    for now in [1, 1_000, 30_000, 300_000] {
        set_queue(&mut engine, ms(now), now);
        assert_eq!(engine.poll_transmit(ms(now), 0), None);
        assert_eq!(engine.poll_timeout(), None);
    }
}

#[test]
fn any_answer_ends_the_retries_and_retry_after_is_kept() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 30_000);
    send(&mut engine, ms(30_000));
    let refusal = Refusal {
        code: Some(Code::RateLimited),
        retry_after: Some(ms(3_000)),
        ..Refusal::default()
    };
    engine.handle_refusal(ms(30_100), refusal);
    assert_eq!(engine.poll_timeout(), Some(ms(33_100)));
    let next = send(&mut engine, ms(33_100));
    assert_eq!(next.sequence, 3, "a refused heartbeat is not repeated: fresh news follow");
    engine.handle_refusal(ms(33_200), Refusal::default());
    assert_eq!(engine.poll_timeout(), Some(ms(63_100)), "without Retry-After: as before");
}

#[test]
fn an_absurd_directive_neither_floods_nor_silences() {
    for (interval, expected) in [(0, MIN_INTERVAL), (u64::MAX, MAX_INTERVAL)] {
        let mut engine = engine();
        exchange(&mut engine, Time::ZERO, interval);
        assert_eq!(engine.poll_timeout(), Some(expected));
    }
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    let refusal = Refusal { retry_after: Some(Duration::MAX), ..Refusal::default() };
    engine.handle_refusal(Time::ZERO, refusal);
    assert_eq!(engine.poll_timeout(), Some(MAX_INTERVAL));
}

#[test]
fn without_a_gateway_it_keeps_trying_at_a_bounded_pace() {
    let mut engine = engine();
    let mut now = Time::ZERO;
    let mut attempts = 0;
    while now < Duration::from_secs(3_600) {
        if engine.poll_transmit(now, 0).is_some() {
            attempts += 1;
            engine.handle_failure(now);
        }
        let next = engine.poll_timeout().expect("it never gives up");
        assert!(next >= now && next - now <= ms(19_200), "at most 16 s + 20 %");
        now = next.max(now + ms(1));
    }
    assert!((600..2_000).contains(&attempts), "{attempts} attempts in an hour");
}

#[test]
fn a_crossed_threshold_makes_it_beat_early_within_the_spread() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    let early = Directive { beat_early: Some(queue_rule(5_000, 400)), ..directive(1, 30_000) };
    engine.handle_directive(Time::ZERO, early.clone());
    set_queue(&mut engine, ms(2_000), 101);
    let at = engine.poll_timeout().expect("early");
    assert!(at >= ms(2_000) && at <= ms(2_400), "{at:?}");
    let heartbeat = send(&mut engine, at);
    assert_eq!(heartbeat.reason, Reason::Early as i32);
    assert_eq!(heartbeat.metrics.and_then(|metrics| metrics.queue_depth), Some(101));

    engine.handle_directive(at, Directive { number: 2, ..early });
    set_queue(&mut engine, ms(3_000), 10);
    set_queue(&mut engine, ms(3_100), 200);
    let again = engine.poll_timeout().expect("early again");
    assert!(again >= at + ms(5_000), "not within min_gap");
    assert!(again <= at + ms(5_400));
    assert_eq!(engine.counts().early, 1);
}

#[test]
fn a_threshold_crossed_while_in_flight_beats_early_after_the_answer() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    set_queue(&mut engine, ms(10), 500);
    let early = Directive { beat_early: Some(queue_rule(5_000, 0)), ..directive(1, 30_000) };
    engine.handle_directive(ms(20), early);
    assert_eq!(engine.poll_timeout(), Some(ms(20)), "the answered one carried no queue");
    assert_eq!(send(&mut engine, ms(20)).reason, Reason::Early as i32);
}

#[test]
fn commands_come_once_and_acks_go_until_they_arrived() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    let drain = Command { id: "c1".into(), kind: CommandKind::Drain as i32, name: String::new() };
    let with_command =
        |number| Directive { commands: vec![drain.clone()], ..directive(number, 1_000) };
    engine.handle_directive(Time::ZERO, with_command(1));
    assert_eq!(engine.poll_command(), Some(drain.clone()));
    engine.handle_ack(CommandAck { id: "c1".into(), ..CommandAck::default() });

    assert_eq!(send(&mut engine, ms(1_000)).command_acks.len(), 1);
    engine.handle_refusal(ms(1_000), Refusal::default());
    assert_eq!(send(&mut engine, ms(2_000)).command_acks.len(), 1, "it was not taken");
    engine.handle_directive(ms(2_000), with_command(3));
    assert_eq!(engine.poll_command(), None, "repeated until the ack came, done only once");
    assert_eq!(send(&mut engine, ms(3_000)).command_acks.len(), 0);
}

#[test]
fn report_full_state_sends_the_registration_again() {
    let mut engine = engine();
    send(&mut engine, Time::ZERO);
    let kind = CommandKind::ReportFullState as i32;
    let command = Command { id: "c1".into(), kind, name: String::new() };
    engine
        .handle_directive(Time::ZERO, Directive { commands: vec![command], ..directive(1, 1_000) });
    assert_eq!(engine.poll_command(), None, "the engine does it itself");
    let next = send(&mut engine, ms(1_000));
    assert_eq!(next.class.as_deref(), Some("critical"));
    assert_eq!(next.command_acks[0].outcome, AckOutcome::Done as i32);
}

#[test]
fn a_lost_connection_makes_it_register_again() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 1_000);
    engine.handle_disconnect();
    assert_eq!(send(&mut engine, ms(1_000)).class.as_deref(), Some("critical"));
}

#[test]
fn a_replaced_process_falls_silent_and_a_new_one_outbids_its_past() {
    let stale = |limit| Refusal { code: Some(Code::IncarnationStale), limit, ..Refusal::default() };
    let mut replaced = engine();
    exchange(&mut replaced, Time::ZERO, 1_000);
    send(&mut replaced, ms(1_000));
    replaced.handle_refusal(ms(1_000), stale(Some(2_000)));
    assert_eq!(replaced.ended(), Some(Ended::Superseded));
    assert_eq!((replaced.poll_timeout(), replaced.poll_transmit(ms(99_000), 0)), (None, None));

    let mut newer = engine();
    send(&mut newer, Time::ZERO);
    newer.handle_refusal(Time::ZERO, stale(Some(9_000)));
    let at = newer.poll_timeout().expect("it tries again");
    let heartbeat = send(&mut newer, at);
    assert_eq!((heartbeat.incarnation, heartbeat.sequence), (9_001, 1));
}

#[test]
fn an_agent_that_an_operator_removed_beats_no_more() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 1_000);
    send(&mut engine, ms(1_000));
    let removed = Refusal { code: Some(Code::AgentStopped), ..Refusal::default() };
    engine.handle_refusal(ms(1_000), removed);
    assert_eq!(engine.ended(), Some(Ended::Removed));
}

#[test]
fn a_graceful_stop_is_one_last_heartbeat_at_once() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 30_000);
    engine.handle_stop(ms(5_000));
    let last = send(&mut engine, ms(5_000));
    assert_eq!(last.status, Status::Stopping as i32);
    engine.handle_directive(ms(5_010), directive(2, 30_000));
    assert_eq!(engine.ended(), Some(Ended::Stopped));
}

#[test]
fn a_stop_waits_for_the_attempt_in_flight_and_survives_a_lost_goodbye() {
    let mut engine = engine();
    exchange(&mut engine, Time::ZERO, 2_500);
    send(&mut engine, ms(2_500));
    engine.handle_stop(ms(2_510));
    assert_eq!(engine.poll_transmit(ms(2_510), 0), None);
    engine.handle_directive(ms(2_600), directive(2, 2_500));
    let goodbye = send(&mut engine, ms(2_600));
    assert_eq!(goodbye.status, Status::Stopping as i32);
    engine.handle_failure(ms(2_600));
    let retry = engine.poll_timeout().expect("the goodbye is repeated");
    assert_eq!(send(&mut engine, retry).sequence, goodbye.sequence);
    engine.handle_failure(retry);
    assert_eq!(engine.ended(), Some(Ended::Stopped), "nobody listens: enough");
}

#[test]
fn a_change_that_panics_leaves_the_report_as_it_was() {
    let mut engine = engine();
    set_queue(&mut engine, Time::ZERO, 5);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.handle_report(Time::ZERO, |report| {
            report.metrics.queue_depth = Some(6);
            panic!("the agent's own fault");
        });
    }));
    assert!(panicked.is_err());
    let sent = send(&mut engine, Time::ZERO);
    assert_eq!(sent.metrics.and_then(|metrics| metrics.queue_depth), Some(5));
}
