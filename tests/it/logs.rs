//! What stands in the log.

use serde_json::Value;

use crate::process::{Serving, eventually};
use crate::support::Client;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn what_a_heartbeat_caused_tells_the_trace_that_it_belongs_to() {
    let path = std::env::temp_dir().join(format!("pulsegate-log-{}.json", std::process::id()));
    let config = path.with_extension("toml");
    std::fs::write(&config, "[log]\nlevel = \"trace\"\nformat = \"json\"\n").unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let gateway = Serving::start_logging(&flags, std::fs::File::create(&path).unwrap());

    let mut client = Client::connect(gateway.address().parse().unwrap());
    let headers = format!("content-type: application/json\r\ntraceparent: {TRACE}\r\n");
    let answer = client.request("POST", "/v1/heartbeats", &headers, br#"{"agent_id":"traced"}"#);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    client.beat(r#"{"agent_id":"untraced"}"#);

    let lines_of = |agent: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["agent_id"] == agent).collect::<Vec<_>>()
    };
    let untraced = eventually("both are in the log", || {
        Some(lines_of("untraced")).filter(|lines| lines.len() >= 2)
    });
    let traced = lines_of("traced");
    for level in ["DEBUG", "TRACE"] {
        let line = traced.iter().find(|line| line["level"] == level).expect(level);
        assert_eq!(line["span"]["traceparent"], TRACE, "{line}");
    }
    for line in &untraced {
        assert_eq!(line["span"]["traceparent"], Value::Null, "{line}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&config).unwrap();
}
