//! Bad input: each gets a problem document that says which field, why and the limit, and none
//! changes any state.

use pulsegate_gateway::server::Gateway;
use serde_json::{Value, json};

use crate::support::{Answer, Client, agents_known, start};

/// Sends a body on a connection of its own.
fn post(gateway: &Gateway, headers: &str, body: &[u8]) -> Answer {
    Client::to(gateway).request("POST", "/v1/heartbeats", headers, body)
}

/// Asserts that a heartbeat is refused with this code and field, and returns the problem.
fn refused(gateway: &Gateway, body: &str, code: &str, field: Option<&str>) -> Value {
    let answer = post(gateway, "", body.as_bytes());
    assert_eq!(answer.problem(), code, "{body:.80}");
    let problem = answer.json();
    assert_eq!(problem["field"].as_str(), field, "{body:.80}: {problem}");
    problem
}

#[test]
fn whatever_cannot_be_parsed_is_malformed() {
    let gateway = start("");
    let deep = format!("{{\"agent_id\":\"a\",\"x\":{}", "[".repeat(16_000));
    for body in ["", "{", "[]", "nonsense", r#"{"agent_id":"a","#, r#"{"agent_id":"a"}x"#, &deep] {
        let problem = refused(&gateway, body, "malformed", None);
        assert_eq!(problem["status"], 400);
    }
    for (headers, body) in [
        ("", &b"{\"agent_id\":\"\xff\"}"[..]),
        ("", b"\x00\x01\x02"),
        ("content-type: application/x-protobuf\r\n", b"\xff\xff\xff"),
        ("content-type: application/x-protobuf\r\n", b"\x12\x05ab"),
    ] {
        assert_eq!(post(&gateway, headers, body).problem(), "malformed");
    }
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn a_wrong_value_names_its_field_and_its_limit() {
    let gateway = start("");
    let long = "x".repeat(129);
    for (field, value, limit) in [
        ("sequence", json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_991.0)),
        ("incarnation", json!(u64::MAX), json!(9_007_199_254_740_991.0)),
        ("agent_id", json!(long), json!(128.0)),
        ("agent_id", json!("with space"), Value::Null),
        ("agent_id", json!("new\nline"), Value::Null),
        ("agent_id", json!(".."), Value::Null),
        ("agent_id", json!(7), Value::Null),
        ("sequence", json!(-1), Value::Null),
        ("sequence", json!(1.5), Value::Null),
        ("status", json!(1), Value::Null),
        ("labels", json!(["a"]), Value::Null),
    ] {
        let mut body = json!({"agent_id": "a"});
        body[field] = value;
        let problem = refused(&gateway, &body.to_string(), "field_invalid", Some(field));
        if !limit.is_null() {
            assert_eq!(problem["limit"], limit, "{problem}");
        }
    }
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn numbers_at_their_limits_are_taken() {
    let gateway = start("");
    let most = 9_007_199_254_740_991_u64;
    let body = json!({"agent_id": "a".repeat(128), "incarnation": most, "sequence": most,
        "directive_seen": most, "sent_at_ms": most,
        "metrics": {"queue_depth": most, "active_tasks": most, "cpu_percent": 100,
            "memory_bytes": most, "error_count": most, "latency_ms": 1.7e308,
            "custom": {"x": -1.7e308}},
        "progress": {"watermark": most, "percent": 100, "stall_after_ms": most}});
    let answer = post(&gateway, "", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn what_is_no_number_is_no_metric() {
    let gateway = start("");
    for number in ["NaN", "Infinity", "-Infinity"] {
        let body = format!(r#"{{"agent_id":"a","metrics":{{"cpu_percent":{number}}}}}"#);
        refused(&gateway, &body, "malformed", None);
    }
    let field = Some("metrics.latency_ms");
    refused(&gateway, r#"{"agent_id":"a","metrics":{"latency_ms":1e999}}"#, "field_invalid", field);
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let gateway = start("");
    let twice = r#"{"agent_id":"a","sequence":1,"sequence":2}"#;
    refused(&gateway, twice, "field_invalid", Some("sequence"));
    let label = r#"{"agent_id":"a","labels":{"k":"1","k":"2"}}"#;
    let answer = post(&gateway, "", label.as_bytes());
    assert_eq!(answer.problem(), "field_invalid");
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn an_unknown_schema_is_refused_and_unknown_fields_are_not() {
    let gateway = start("");
    let newer = r#"{"agent_id":"a","schema":2}"#;
    let problem = refused(&gateway, newer, "schema_unsupported", Some("schema"));
    assert_eq!(problem["limit"], 1.0);
    assert_eq!(post(&gateway, "", br#"{"agent_id":"a","colour":"red"}"#).status, 200);
}

#[test]
fn a_probe_can_only_ever_be_aimed_at_the_agent_itself() {
    let gateway = start("");
    let aimed =
        r#"{"agent_id":"a","probe":{"kind":"http","port":80,"path":"/","host":"10.0.0.1"}}"#;
    refused(&gateway, aimed, "field_invalid", Some("probe.host"));
    let path = r#"{"agent_id":"a","probe":{"kind":"http","port":80,"path":"//10.0.0.1/"}}"#;
    refused(&gateway, path, "field_invalid", Some("probe.path"));
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn a_clock_ten_years_off_is_shown_and_nothing_else() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let answer = client.beat(r#"{"agent_id":"a","sent_at_ms":315360000000}"#);
    assert_eq!(answer.status, 200);
    let view = client.get("/v1/agents/a").json();
    assert_eq!(view["state"], "alive");
    assert!(view["clock_skew_ms"].as_i64().unwrap() < -315_360_000_000, "{view}");
}

#[test]
fn content_types_other_than_ours_are_refused() {
    let gateway = start("");
    for name in ["text/plain", "application/xml", "application/jsonp", ""] {
        let answer = post(&gateway, &format!("content-type: {name}\r\n"), br#"{"agent_id":"a"}"#);
        assert_eq!((answer.status, answer.problem().as_str()), (415, "media_type"), "{name}");
    }
    let json = "content-type: application/json; charset=utf-8\r\n";
    assert_eq!(post(&gateway, json, br#"{"agent_id":"a"}"#).status, 200);
}

#[test]
fn other_methods_and_paths_get_problems_too() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let answer = client.get("/v1/heartbeats");
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), Some("post"));
    let answer = client.get("/v1/nothing");
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"));
}

#[test]
fn a_body_over_its_limit_is_refused_before_it_is_read() {
    let gateway = start("");
    for (path, limit) in [("/v1/heartbeats", 16_384), ("/v1/heartbeats/batch", 1_048_576)] {
        let mut client = Client::to(&gateway);
        let length = limit + 1;
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        client.send(head.as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status, answer.problem().as_str()), (413, "too_large"));
        assert_eq!(answer.json()["limit"], f64::from(limit));
        assert!(client.is_closed());
    }
}

#[test]
fn a_body_without_a_length_is_counted_as_it_comes() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [b"1000\r\n".to_vec(), vec![b' '; 0x1000], b"\r\n".to_vec()].concat();
    for _ in 0..4 {
        client.send(&chunk);
    }
    client.send(b"1\r\n \r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too_large"));
}

#[test]
fn a_batch_over_its_limit_is_refused_as_a_whole() {
    let gateway = start("");
    let names: Vec<_> = (0..1_001).map(|name| json!({"agent_id": format!("a{name}")})).collect();
    let body = json!({"heartbeats": names}).to_string();
    let mut client = Client::to(&gateway);
    let answer = client.request("POST", "/v1/heartbeats/batch", "", body.as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too_large"));
    assert_eq!(answer.json()["limit"], 1_000.0);
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn no_problem_says_anything_of_the_inside() {
    let gateway = start("");
    for body in ["{", "[]", r#"{"agent_id":7}"#, r#"{"agent_id":"a","metrics":7}"#] {
        let text = String::from_utf8(post(&gateway, "", body.as_bytes()).body).unwrap();
        for word in ["serde", "struct", "src/", ".rs", "panicked", "prost", "pulsegate_"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
