//! What Prometheus reads, from a gateway that has seen some traffic.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{Client, start};

fn scrape(client: &mut Client) -> String {
    let answer = client.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    String::from_utf8(answer.body).expect("text")
}

/// Value of one sample.
fn sample(scrape: &str, name: &str) -> f64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// A gateway that has answered, repeated, refused and registered.
fn busy() -> (pulsegate_gateway::server::Gateway, Client) {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let beat = r#"{"agent_id":"zebra-crossing-17","incarnation":1,"sequence":1}"#;
    assert_eq!(client.beat(beat).status, 200);
    assert_eq!(client.beat(beat).json()["outcome"], "duplicate");
    assert_eq!(client.beat("{").problem(), "malformed");
    assert_eq!(client.get("/v1/agents/nobody").problem(), "agent_unknown");
    (gateway, client)
}

#[test]
fn heartbeats_directives_and_problems_are_counted() {
    let (_gateway, mut client) = busy();
    let scrape = scrape(&mut client);
    let beats = |outcome: &str| {
        let labels = format!("transport=\"http1\",outcome=\"{outcome}\"");
        sample(&scrape, &format!("pulsegate_heartbeats_total{{{labels}}}"))
    };
    assert_eq!((beats("accepted"), beats("duplicate")), (1.0, 1.0));
    assert_eq!(sample(&scrape, "pulsegate_problems_total{code=\"malformed\"}"), 1.0);
    assert_eq!(sample(&scrape, "pulsegate_problems_total{code=\"agent_unknown\"}"), 1.0);
    let alive = "class=\"normal\",state=\"alive\",health=\"healthy\"";
    assert_eq!(sample(&scrape, &format!("pulsegate_agents{{{alive}}}")), 1.0);
    assert!(sample(&scrape, "pulsegate_heartbeat_handling_seconds_count") >= 2.0);
    assert!(sample(&scrape, "pulsegate_directive_interval_seconds_count") >= 1.0);
    assert!(sample(&scrape, "process_resident_memory_bytes") > 1e6);
}

#[test]
fn an_agents_id_is_nowhere_in_the_metrics() {
    let (_gateway, mut client) = busy();
    assert!(!scrape(&mut client).contains("zebra-crossing"));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let (_gateway, mut client) = busy();
    let scrape = scrape(&mut client);
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: promtool is not installed; the metrics were not checked by it");
        return;
    };
    let mut stdin = promtool.stdin.take().expect("its input");
    stdin.write_all(scrape.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.trim(), "");
}
