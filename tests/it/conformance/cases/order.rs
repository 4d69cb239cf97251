//! Incarnation and sequence: what is new, what came before, what is old, and who has left.

use pulsegate_core::TenantId;
use pulsegate_wire::{Code, Directive, Heartbeat, Metrics, Outcome, State, Status};

use super::cases;
use crate::conformance::world::World;

cases! {
    Open:
        a_first_heartbeat_registers_its_agent,
        intervals_follow_what_heartbeats_say,
        a_duplicate_gets_the_same_directive_and_moves_no_deadline,
        an_older_sequence_is_stale_and_moves_no_deadline,
        an_older_incarnation_is_refused_and_changes_nothing,
        a_newer_incarnation_starts_anew,
        a_stopped_agent_comes_back_as_a_newer_incarnation_only,
        heartbeats_without_a_count_are_each_taken_as_the_next,
        an_agent_that_leaves_is_answered;
}

fn a_first_heartbeat_registers_its_agent(world: &mut World<'_>) {
    assert!(!world.is_known(world.case));
    let directive = world.directive(7, 1);
    assert_eq!((directive.number, directive.outcome()), (1, Outcome::Accepted));
    assert_eq!((directive.suspect_after_ms, directive.fail_after_ms), (50_000, 91_000));
    assert_eq!(directive.retry, [1_000, 2_000, 4_000, 8_000]);
    assert_eq!(directive.explain.expect("reasons").policy, "steady");
    assert!(directive.commands.is_empty() && directive.beat_early.is_none());
    let seen = world.look(|found| (found.info.state, found.info.incarnation, found.info.sequence));
    assert_eq!(seen, (State::Alive, 7, 1));
}

fn intervals_follow_what_heartbeats_say(world: &mut World<'_>) {
    let beat = |world: &World<'_>, sequence, seen, status: Status, errors| Heartbeat {
        directive_seen: seen,
        status: status as i32,
        metrics: Some(Metrics { error_count: Some(errors), ..Metrics::default() }),
        ..world.heartbeat(1, sequence)
    };
    // Status, errors so far; the longest interval, and what counts as silence.
    for (sequence, seen, status, errors, interval_ms, suspect_ms, throttle) in [
        (1, 0, Status::Healthy, 0, 30_000, 50_000, None),
        (2, 1, Status::Degraded, 0, 10_000, 50_000, Some(0.5)),
        // Not until it is echoed is the shorter one in force.
        (3, 1, Status::Degraded, 0, 10_000, 50_000, Some(0.5)),
        (4, 3, Status::Recovering, 1, 10_000, 30_000, Some(0.5)),
        (5, 4, Status::Busy, 100, 5_000, 30_000, Some(0.0)),
        (6, 5, Status::Healthy, 100, 5_000, 25_000, Some(0.0)),
    ] {
        let heartbeat = beat(world, sequence, seen, status, errors);
        let directive = world.accepted(&heartbeat);
        let least_ms = interval_ms * 9 / 10;
        assert!((least_ms..=interval_ms).contains(&directive.next_interval_ms), "{directive:?}");
        assert_eq!(directive.suspect_after_ms, suspect_ms, "{directive:?}");
        assert_eq!(directive.throttle, throttle, "{directive:?}");
    }
}

fn a_duplicate_gets_the_same_directive_and_moves_no_deadline(world: &mut World<'_>) {
    let first = world.directive(3, 5);
    let heard = world.heard();
    // Whatever else it says: it was handled already.
    let other = Heartbeat { status: Status::Degraded as i32, ..world.heartbeat(3, 5) };
    for heartbeat in [world.heartbeat(3, 5), other] {
        let again = world.accepted(&heartbeat);
        assert_eq!(again.outcome(), Outcome::Duplicate);
        assert_eq!(Directive { outcome: Outcome::Accepted as i32, ..again }, first);
    }
    assert_eq!(world.look(|found| found.info.last_receipt), Some(heard));
    assert_eq!(world.look(|found| found.info.status), Status::Healthy);
    let next = world.directive(3, 6);
    assert_eq!((next.number, next.outcome()), (6, Outcome::Accepted));
    assert!(world.heard() > heard);
}

fn an_older_sequence_is_stale_and_moves_no_deadline(world: &mut World<'_>) {
    let current = world.directive(1, 9);
    let heard = world.heard();
    for sequence in [8, 1] {
        let stale = world.directive(1, sequence);
        assert_eq!(stale.outcome(), Outcome::Stale);
        assert_eq!(Directive { outcome: Outcome::Accepted as i32, ..stale }, current);
    }
    assert_eq!(world.look(|found| found.info.last_receipt), Some(heard));
}

fn an_older_incarnation_is_refused_and_changes_nothing(world: &mut World<'_>) {
    world.directive(1_760_000_000_000, 4);
    let heard = world.heard();
    let old = world.heartbeat(1_759_999_999_999, 99);
    let problem = world.refused(&old, Code::IncarnationStale);
    assert_eq!(problem.field.as_deref(), Some("incarnation"));
    assert_eq!(problem.limit, Some(1_760_000_000_000.0));
    assert_eq!(world.look(|found| found.info.last_receipt), Some(heard));
    assert_eq!(world.directive(1_760_000_000_000, 5).outcome(), Outcome::Accepted);
}

fn a_newer_incarnation_starts_anew(world: &mut World<'_>) {
    world.directive(1, 40);
    let directive = world.directive(2, 1);
    assert_eq!((directive.number, directive.outcome()), (1, Outcome::Accepted));
    assert_eq!(world.directive(2, 1).outcome(), Outcome::Duplicate);
    let last_of_the_old = world.heartbeat(1, 41);
    world.refused(&last_of_the_old, Code::IncarnationStale);
}

fn a_stopped_agent_comes_back_as_a_newer_incarnation_only(world: &mut World<'_>) {
    world.directive(5, 1);
    assert_eq!(world.gateway.shards().stop(TenantId(0), world.case), Ok(true));
    for sequence in [1, 2] {
        let heartbeat = world.heartbeat(5, sequence);
        let problem = world.refused(&heartbeat, Code::AgentStopped);
        assert_eq!(problem.field.as_deref(), Some("incarnation"));
        assert_eq!(world.look(|found| found.info.state), State::Stopped);
    }
    assert_eq!(world.directive(6, 1).outcome(), Outcome::Accepted);
    assert_eq!(world.look(|found| found.info.state), State::Alive);
}

fn heartbeats_without_a_count_are_each_taken_as_the_next(world: &mut World<'_>) {
    for number in 1..=3 {
        let directive = world.directive(0, 0);
        assert_eq!((directive.number, directive.outcome()), (number, Outcome::Accepted));
    }
}

fn an_agent_that_leaves_is_answered(world: &mut World<'_>) {
    world.directive(1, 1);
    let leaving = Heartbeat { status: Status::Stopping as i32, ..world.heartbeat(1, 2) };
    assert_eq!(world.accepted(&leaving).outcome(), Outcome::Accepted);
    assert_eq!(world.look(|found| found.info.status), Status::Stopping);
    assert_eq!(world.accepted(&leaving).outcome(), Outcome::Duplicate);
}
