//! Policies with one bad habit each, enforced for every agent: each heartbeat gets its directive.

use std::path::PathBuf;
use std::sync::Arc;

use pulsegate_gateway::server::Gateway;
use pulsegate_policy::fixtures;

use crate::support::{Client, config};

/// Their habit shows before any heartbeat: a gateway refuses to start with them.
const NEVER_ADMITTED: [&str; 3] = ["describes-badly", "describes-hugely", "exports-nothing"];
/// They pace nobody: the one is about recovery, which the room of policies tests, and the other
/// only judges.
const NOT_PACING: [&str; 2] = ["returns-many-rungs", "judges"];

/// The configuration of a gateway in which this component paces everybody.
fn paced_by(name: &str, component: &[u8]) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.wasm"));
    std::fs::write(&file, component).expect("a file");
    format!(
        "[[policies]]\nname = \"{name}\"\nfile = \"{}\"\n[[routes]]\ncadence = \"{name}\"\n",
        file.display()
    )
}

/// Fixtures behave while the queue is empty, and show their habit with work in it.
fn beat(client: &mut Client, agent: usize, sequence: u64, queue: u64) -> serde_json::Value {
    let answer = client.beat(&format!(
        r#"{{"agent_id":"a{agent}","sequence":{sequence},"metrics":{{"queue_depth":{queue}}}}}"#
    ));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn every_heartbeat_is_answered_whatever_a_policy_does() {
    for (name, component) in fixtures::ALL {
        if NEVER_ADMITTED.contains(name) || NOT_PACING.contains(name) {
            continue;
        }
        let gateway = Gateway::start(Arc::new(config(&paced_by(name, component))))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut client = Client::to(&gateway);
        for sequence in 1..=5 {
            for agent in 0..3 {
                let directive = beat(&mut client, agent, sequence, u64::from(sequence > 1));
                assert_eq!(directive["number"], sequence, "{name}");
                assert_eq!(directive["outcome"], "accepted", "{name}");
                let next_ms = directive["next_interval_ms"].as_u64().expect("an interval");
                assert!((1_000..=70_000).contains(&next_ms), "{name}: {directive}");
            }
        }
    }
}

#[test]
fn a_policy_that_keeps_failing_is_left_alone_and_nobody_misses_a_directive() {
    let (name, component) =
        fixtures::ALL.iter().find(|(name, _)| *name == "traps").expect("it is there");
    let gateway = Gateway::start(Arc::new(config(&paced_by(name, component)))).expect("a gateway");
    let mut client = Client::to(&gateway);
    // The default: ten faults within a minute open the breaker.
    for agent in 0..15 {
        let directive = beat(&mut client, agent, 1, 1);
        assert_eq!(directive["explain"]["policy"], "builtin", "{directive}");
    }
    let metrics = String::from_utf8(client.get("/metrics").body).expect("text");
    let faults = |fault: &str| {
        let labels = format!("policy=\"{name}\",fault=\"{fault}\"");
        let sample = format!("pulsegate_policy_faults_total{{{labels}}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned)
    };
    assert_eq!(
        (faults("trap").as_deref(), faults("breaker_open").as_deref()),
        (Some("10"), Some("5"))
    );
}

#[test]
fn a_policy_that_cannot_be_admitted_is_refused_with_its_name() {
    for (name, component) in fixtures::ALL.iter().filter(|(n, _)| NEVER_ADMITTED.contains(n)) {
        let error = Gateway::start(Arc::new(config(&paced_by(name, component))))
            .err()
            .unwrap_or_else(|| panic!("{name} was admitted"));
        let causes =
            std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(causes.iter().any(|cause| cause.contains(name)), "{error}: {causes:?}");
    }
}

#[test]
fn the_fixtures_named_here_exist() {
    for name in NEVER_ADMITTED.iter().chain(&NOT_PACING) {
        assert!(fixtures::ALL.iter().any(|(known, _)| known == name), "{name}");
    }
}
