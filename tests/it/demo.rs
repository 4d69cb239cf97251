//! The demo as users run it: real processes, real sockets, real recovery.

use crate::process::{pulsegate, stderr};

#[test]
fn the_demo_notices_every_silence_and_brings_the_fallen_back() {
    let flags = ["--agents", "20", "--seconds", "20", "--speed", "10", "--seed", "7", "--json"];
    let output = pulsegate(&[&["demo"][..], &flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    let number = |path: &str| {
        let found = summary.pointer(path).and_then(serde_json::Value::as_u64);
        found.unwrap_or_else(|| panic!("{path} is missing in {summary:#}"))
    };
    // Each kind happens once at least: the scenario sees to that.
    assert!(number("/detection/silenced") >= 2, "{summary:#}");
    assert!(number("/surges/caused") >= 1 && number("/stalls/caused") >= 1, "{summary:#}");
    assert!(number("/hiccups/caused") >= 1 && number("/left/asked") >= 1, "{summary:#}");
    // Whoever was killed or hung is suspect, or there is still time for that.
    let seen = number("/detection/within_promise") + number("/detection/late");
    assert_eq!(seen + number("/detection/still_in_grace"), number("/detection/silenced"));
    assert_eq!(number("/detection/unnoticed"), 0, "{summary:#}");
    // An agent whose queue surges does not wait for its next heartbeat.
    assert!(number("/surges/early_heartbeat/count") >= 1, "{summary:#}");
    assert!(number("/recoveries/by_exec") >= 1, "{summary:#}");
    assert_eq!(number("/recoveries/exec_failed"), 0, "{summary:#}");
    assert!(number("/policies/calls") >= number("/heartbeats/sent"), "{summary:#}");
    assert_eq!(number("/policies/faults"), 0, "{summary:#}");
    assert_eq!(number("/events_lost"), 0, "{summary:#}");
}
