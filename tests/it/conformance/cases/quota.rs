//! More than a quota allows, and more agents than there is room for.

use pulsegate_wire::{Code, Heartbeat, Outcome, State, Status};

use super::cases;
use crate::conformance::world::World;

cases! {
    Quota:
        a_limited_heartbeat_renews_its_deadline_and_is_not_judged,
        what_is_no_news_renews_nothing_when_it_is_limited,
        retries_are_charged_like_other_heartbeats;
    Newcomers:
        unknown_agents_share_the_quota_of_their_address;
    Full:
        a_full_table_refuses_newcomers_only;
}

fn a_limited_heartbeat_renews_its_deadline_and_is_not_judged(world: &mut World<'_>) {
    for sequence in 1..=3 {
        world.directive(1, sequence);
    }
    let heard = world.heard();
    let heartbeat = Heartbeat { status: Status::Degraded as i32, ..world.heartbeat(1, 4) };
    let problem = world.refused(&heartbeat, Code::RateLimited);
    assert_eq!((problem.field.as_deref(), problem.limit), (None, Some(0.05)));
    // At most 20 s until there is room for one more, spread over half as long again, and not
    // after the agent is due.
    let wait_ms = problem.retry_after_ms.expect("when to come again");
    assert!((1..=30_000).contains(&wait_ms), "{wait_ms}");
    assert!(world.heard() > heard, "it is a sign of life");
    let seen = world.look(|found| (found.info.state, found.info.status, found.info.sequence));
    assert_eq!(seen, (State::Alive, Status::Healthy, 3), "and nothing else");
    // The agent beside it has a quota of its own.
    let other = Heartbeat { agent_id: "a-neighbour".into(), ..world.heartbeat(1, 1) };
    assert_eq!(world.accepted(&other).outcome(), Outcome::Accepted);
}

fn what_is_no_news_renews_nothing_when_it_is_limited(world: &mut World<'_>) {
    for sequence in 2..=4 {
        world.directive(2, sequence);
    }
    let heard = world.heard();
    // A duplicate, a stale one, and one of an older incarnation.
    for (incarnation, sequence) in [(2, 4), (2, 1), (1, 9)] {
        let heartbeat = world.heartbeat(incarnation, sequence);
        world.refused(&heartbeat, Code::RateLimited);
    }
    assert_eq!(world.look(|found| found.info.last_receipt), Some(heard));
}

fn retries_are_charged_like_other_heartbeats(world: &mut World<'_>) {
    for outcome in [Outcome::Accepted, Outcome::Duplicate, Outcome::Duplicate] {
        assert_eq!(world.directive(1, 1).outcome(), outcome);
    }
    let heartbeat = world.heartbeat(1, 1);
    world.refused(&heartbeat, Code::RateLimited);
}

fn unknown_agents_share_the_quota_of_their_address(world: &mut World<'_>) {
    world.directive(1, 1);
    let unknown = Heartbeat { agent_id: "one-too-many".into(), ..world.heartbeat(1, 1) };
    let problem = world.refused(&unknown, Code::RateLimited);
    assert_eq!(problem.limit, Some(0.01));
    assert!(problem.retry_after_ms.is_some_and(|wait_ms| wait_ms > 0));
    assert!(!world.is_known("one-too-many"));
    assert_eq!(world.directive(1, 2).outcome(), Outcome::Accepted);
}

fn a_full_table_refuses_newcomers_only(world: &mut World<'_>) {
    world.directive(1, 1);
    let newcomer = Heartbeat { agent_id: "no-room".into(), ..world.heartbeat(1, 1) };
    let problem = world.refused(&newcomer, Code::Overloaded);
    assert_eq!(problem.retry_after_ms, Some(60_000));
    assert_eq!(world.directive(1, 2).outcome(), Outcome::Accepted);
}
