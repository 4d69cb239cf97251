use prost::Message as _;
use pulsegate_core::{ClassId, Slot, VerdictSource, cadence};
use pulsegate_wire::{CommandKind, Directive};

use super::*;
use crate::config::Config;

fn decision(health: Health) -> Decision {
    Decision {
        slot: Slot(7),
        number: 412,
        outcome: Outcome::Duplicate,
        next_interval_ms: 28_411,
        suspect_after_ms: 48_411,
        fail_after_ms: 89_411,
        source: VerdictSource { policy: 1, reason: 2 },
        trace: cadence::Trace { bound: cadence::Bound::Slew, ..cadence::Trace::default() },
        health,
        class: ClassId(1),
        has_commands: true,
        holds_leases: false,
    }
}

/// Both forms of a reply, read back as what clients read.
fn both_forms(health: Health, load: f64, rules: &[EarlyRule]) -> [Directive; 2] {
    let directives = Config::default().directives;
    let commands =
        [Command { id: "c1".into(), kind: CommandKind::Custom as i32, name: "x".into() }];
    let text = SourceText { policy: "steady", revision: "0123456789ab", reason: "queue \"fills\"" };
    let decision = decision(health);
    let leases = [LeaseGrant { name: "leader".into(), token: (3 << 32) | 9, ttl_ms: 30_000 }];
    let reply = Reply::compose(&decision, &commands, text, rules, &directives, load);
    let reply = Reply { leases: &leases, ..reply };
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    reply.write_json(&mut json);
    reply.write_protobuf(&mut protobuf);
    [serde_json::from_slice(&json).unwrap(), Directive::decode(&protobuf[..]).unwrap()]
}

#[test]
fn both_forms_say_the_same_and_say_everything() {
    let rules = [
        EarlyRule { metric: "queue_depth".into(), above: Some(100.0), below: None, rearm: 50.0 },
        EarlyRule { metric: "free".into(), above: None, below: Some(-1.5), rearm: 0.0 },
    ];
    let [json, protobuf] = both_forms(Health::Degraded, 0.1, &rules);
    assert_eq!(json, protobuf);
    assert_eq!(json.number, 412);
    assert_eq!(json.outcome, Outcome::Duplicate as i32);
    let times = [json.next_interval_ms, json.suspect_after_ms, json.fail_after_ms];
    assert_eq!(times, [28_411, 48_411, 89_411]);
    assert_eq!(json.retry, [1_000, 2_000, 4_000, 8_000]);
    assert_eq!(json.throttle, Some(0.5));
    assert_eq!(json.commands[0].name, "x");
    assert_eq!((&*json.leases[0].name, json.leases[0].token), ("leader", (3 << 32) | 9));
    assert_eq!(json.leases[0].ttl_ms, 30_000);
    let early = json.beat_early.unwrap();
    assert_eq!((early.min_gap_ms, early.spread_ms), (5_000, 1_000));
    assert_eq!(early.rules, rules);
    let explain = json.explain.unwrap();
    assert_eq!((&*explain.reason, &*explain.bound), ("queue \"fills\"", "slew"));
    assert_eq!((&*explain.policy, &*explain.policy_revision), ("steady", "0123456789ab"));
}

#[test]
fn a_loaded_fleet_is_not_asked_to_repeat_itself() {
    for directive in both_forms(Health::Healthy, 0.81, &[]) {
        assert!(directive.retry.is_empty());
        assert_eq!(directive.throttle, None);
        assert_eq!(directive.beat_early, None);
    }
}

#[test]
fn what_is_not_fit_for_work_is_sent_none() {
    for health in [Health::Unhealthy, Health::Stalled] {
        for directive in both_forms(health, 0.0, &[]) {
            assert_eq!(directive.throttle, Some(0.0));
        }
    }
}
