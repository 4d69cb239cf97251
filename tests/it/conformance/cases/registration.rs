//! What is remembered of an agent, what it is told to do, and when it may beat early.

use pulsegate_core::TenantId;
use pulsegate_wire::{
    AckOutcome, Command, CommandAck, CommandKind, Heartbeat, Metrics, Outcome, Probe, ProbeKind,
    Registration,
};

use super::cases;
use crate::conformance::world::World;

cases! {
    Open:
        registration_fields_are_remembered_until_others_come,
        a_refused_heartbeat_registers_nothing,
        an_unknown_class_counts_as_normal_and_is_shown,
        a_class_has_its_own_interval,
        a_command_comes_until_it_is_acknowledged,
        an_acknowledgement_of_nothing_changes_nothing,
        every_heartbeat_that_was_read_is_timed;
    Paced:
        rules_for_early_heartbeats_come_with_the_directive;
}

fn registration(world: &World<'_>) -> Registration {
    world.look(|found| found.info.registration.cloned()).expect("something is remembered")
}

fn registering(world: &World<'_>, incarnation: u64, region: &str) -> Heartbeat {
    Heartbeat {
        class: Some("critical".into()),
        labels: [("region".into(), region.into()), ("zone".into(), "a".into())].into(),
        endpoint: Some("10.0.0.7:9000".into()),
        capabilities: vec!["gpu".into(), "tools/search".into()],
        probe: Some(Probe { kind: ProbeKind::Http as i32, port: 80, path: "/live".into() }),
        ..world.heartbeat(incarnation, 1)
    }
}

fn registration_fields_are_remembered_until_others_come(world: &mut World<'_>) {
    let mut first = registering(world, 1, "eu");
    world.accepted(&first);
    let mut expected = first.take_registration().expect("it carries some");
    assert_eq!(registration(world), expected);
    // What is left away stays; a list and a map are replaced.
    let second = Heartbeat {
        labels: [("region".into(), "us".into())].into(),
        capabilities: vec!["cpu".into()],
        ..world.heartbeat(1, 2)
    };
    world.accepted(&second);
    expected.labels = second.labels;
    expected.capabilities = second.capabilities;
    assert_eq!(registration(world), expected);
    world.directive(1, 3);
    assert_eq!(registration(world), expected);
}

fn a_refused_heartbeat_registers_nothing(world: &mut World<'_>) {
    let first = registering(world, 2, "eu");
    world.accepted(&first);
    let expected = registration(world);
    let older = registering(world, 1, "us");
    world.refused(&older, pulsegate_wire::Code::IncarnationStale);
    let again = registering(world, 2, "asia");
    assert_eq!(world.accepted(&again).outcome(), Outcome::Duplicate);
    assert_eq!(registration(world), expected);
}

fn an_unknown_class_counts_as_normal_and_is_shown(world: &mut World<'_>) {
    let heartbeat = Heartbeat { class: Some("nobody/knows".into()), ..world.heartbeat(1, 1) };
    let directive = world.accepted(&heartbeat);
    assert_eq!((directive.suspect_after_ms, directive.fail_after_ms), (50_000, 91_000));
    assert_eq!(registration(world).class.as_deref(), Some("nobody/knows"));
}

fn a_class_has_its_own_interval(world: &mut World<'_>) {
    for (agent, class, suspect_ms, fail_ms) in [
        ("of-critical", "critical", 20_000, 31_000),
        ("of-normal", "normal", 50_000, 91_000),
        ("of-background", "background", 140_000, 300_000),
    ] {
        let class = Some(class.into());
        let heartbeat = Heartbeat { agent_id: agent.into(), class, ..world.heartbeat(1, 1) };
        let directive = world.accepted(&heartbeat);
        let found = (directive.suspect_after_ms, directive.fail_after_ms);
        assert_eq!(found, (suspect_ms, fail_ms), "{agent}");
    }
}

fn a_command_comes_until_it_is_acknowledged(world: &mut World<'_>) {
    let command = |id: &str, kind: CommandKind, name: &str| Command {
        id: id.into(),
        kind: kind as i32,
        name: name.into(),
    };
    let first = command("c-1", CommandKind::Checkpoint, "");
    let second = command("c-2", CommandKind::Custom, "warm-up");
    world.directive(1, 1);
    assert_eq!(world.gateway.shards().command(TenantId(0), world.case, first.clone()), Ok(true));
    if let Some(pushed) = world.pushed_commands() {
        assert_eq!(pushed, ["c-1"]);
    }
    assert_eq!(world.directive(1, 2).commands, std::slice::from_ref(&first));
    assert_eq!(world.gateway.shards().command(TenantId(0), world.case, second.clone()), Ok(true));
    if let Some(pushed) = world.pushed_commands() {
        assert_eq!(pushed, ["c-1", "c-2"]);
    }
    // A duplicate brings what waits now.
    assert_eq!(world.directive(1, 2).commands, [first, second.clone()]);
    let ack = |id: &str, outcome: AckOutcome| CommandAck {
        id: id.into(),
        outcome: outcome as i32,
        detail: "as asked".into(),
    };
    let done =
        Heartbeat { command_acks: vec![ack("c-1", AckOutcome::Done)], ..world.heartbeat(1, 3) };
    assert_eq!(world.accepted(&done).commands, [second]);
    let failed = Heartbeat {
        command_acks: vec![ack("c-2", AckOutcome::Unsupported), ack("c-2", AckOutcome::Done)],
        ..world.heartbeat(1, 4)
    };
    assert_eq!(world.accepted(&failed).commands, []);
    assert_eq!(world.directive(1, 5).commands, []);
}

fn an_acknowledgement_of_nothing_changes_nothing(world: &mut World<'_>) {
    let acks = vec![CommandAck { id: "never-heard-of".into(), ..CommandAck::default() }];
    let heartbeat = Heartbeat { command_acks: acks, ..world.heartbeat(1, 1) };
    assert_eq!(world.accepted(&heartbeat).outcome(), Outcome::Accepted);
}

fn rules_for_early_heartbeats_come_with_the_directive(world: &mut World<'_>) {
    let metrics = Some(Metrics { queue_depth: Some(3), ..Metrics::default() });
    let first = Heartbeat { metrics, ..world.heartbeat(1, 1) };
    let directive = world.accepted(&first);
    let early = directive.beat_early.expect("rules");
    assert_eq!(early.min_gap_ms, 5_000);
    assert!(early.spread_ms > 0 && !early.rules.is_empty());
    let is_whole = early
        .rules
        .iter()
        .all(|rule| !rule.metric.is_empty() && (rule.above.is_some() != rule.below.is_some()));
    assert!(is_whole, "{early:?}");
    assert_eq!(directive.explain.expect("reasons").policy, "queue-pressure");
    // A duplicate keeps them.
    assert_eq!(world.accepted(&first).beat_early, Some(early));
}

fn every_heartbeat_that_was_read_is_timed(world: &mut World<'_>) {
    let timed = "pulsegate_heartbeat_handling_seconds_count";
    let before = world.counted(timed);
    world.directive(2, 1);
    world.directive(2, 1);
    let old = world.heartbeat(1, 1);
    world.refused(&old, pulsegate_wire::Code::IncarnationStale);
    let wrong = Heartbeat { agent_id: "a/b".into(), ..world.heartbeat(2, 2) };
    world.refused(&wrong, pulsegate_wire::Code::FieldInvalid);
    // A datagram is on its way before its time is taken.
    world.until("four are timed", |world| world.counted(timed) == before + 4);
}
