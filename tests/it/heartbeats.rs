//! The two routes of heartbeats, as an agent meets them.

use prost::Message as _;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{Batch, BatchAnswer, Directive, Heartbeat, Metrics, Outcome};
use serde_json::json;

use crate::support::{CREDENTIALS, Client, agents_known, start};

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

fn sequence(client: &mut Client, agent: &str, incarnation: u64, sequence: u64) -> (u16, String) {
    let body = json!({"agent_id": agent, "incarnation": incarnation, "sequence": sequence});
    let answer = client.beat(&body.to_string());
    let json = answer.json();
    let word = json.get("outcome").or(json.get("code")).and_then(|word| word.as_str());
    (answer.status, word.unwrap_or_default().to_owned())
}

#[test]
fn a_heartbeat_gets_a_directive_that_can_be_obeyed() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let body = json!({"agent_id": "web-1", "incarnation": 7, "sequence": 1,
        "metrics": {"queue_depth": 3}});
    let answer = client.beat(&body.to_string());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let directive: Directive = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((directive.number, directive.outcome), (1, Outcome::Accepted as i32));
    assert!((1_000..=300_000).contains(&directive.next_interval_ms));
    assert!(directive.next_interval_ms < directive.suspect_after_ms);
    assert!(directive.suspect_after_ms < directive.fail_after_ms);
    assert!(!directive.explain.unwrap().policy.is_empty());
}

#[test]
fn protobuf_is_answered_in_protobuf_and_says_the_same() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let heartbeat = Heartbeat {
        agent_id: "web-1".into(),
        incarnation: 7,
        sequence: 9,
        metrics: Some(Metrics { queue_depth: Some(3), ..Metrics::default() }),
        ..Heartbeat::default()
    };
    let body = heartbeat.encode_to_vec();
    let answer = client.request("POST", "/v1/heartbeats", PROTOBUF, &body);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    let first = Directive::decode(&answer.body[..]).unwrap();
    assert_eq!(first.number, 9);
    let again = client.beat(r#"{"agent_id":"web-1","incarnation":7,"sequence":9}"#);
    let again: Directive = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(again.outcome, Outcome::Duplicate as i32);
    assert_eq!(again.next_interval_ms, first.next_interval_ms);
}

#[test]
fn what_goes_back_in_order_changes_nothing() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    for (incarnation, number, expected) in [
        (5, 3, (200, "accepted")),
        (5, 3, (200, "duplicate")),
        (5, 2, (200, "stale")),
        (4, 9, (409, "incarnation_stale")),
        (5, 4, (200, "accepted")),
        (6, 1, (200, "accepted")),
    ] {
        let (status, word) = sequence(&mut client, "a", incarnation, number);
        assert_eq!((status, word.as_str()), expected, "{incarnation}.{number}");
    }
}

#[test]
fn an_agent_that_left_may_only_come_back_as_a_newer_incarnation() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    assert_eq!(sequence(&mut client, "a", 5, 1).0, 200);
    assert_eq!(client.request("DELETE", "/v1/agents/a", "", b"").status / 100, 2);
    assert_eq!(sequence(&mut client, "a", 5, 2), (409, "agent_stopped".into()));
    assert_eq!(sequence(&mut client, "a", 6, 1), (200, "accepted".into()));
}

#[test]
fn a_refused_heartbeat_leaves_labels_as_they_were() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let beat = |incarnation: u64, region: &str| {
        json!({"agent_id": "a", "incarnation": incarnation, "sequence": 1,
            "labels": {"region": region}})
        .to_string()
    };
    assert_eq!(client.beat(&beat(2, "eu")).status, 200);
    assert_eq!(client.beat(&beat(1, "us")).status, 409);
    assert_eq!(client.beat(&beat(2, "asia")).json()["outcome"], "duplicate");
    assert_eq!(client.get("/v1/agents/a").json()["labels"]["region"], "eu");
}

#[test]
fn a_burst_passes_then_the_agent_is_limited_and_still_alive() {
    let gateway = start("[limits]\nagent_rate_per_second = 0.05\nagent_burst = 3\n");
    let mut client = Client::to(&gateway);
    for number in 1..=3 {
        assert_eq!(sequence(&mut client, "a", 1, number).0, 200);
    }
    let answer = client.beat(r#"{"agent_id":"a","incarnation":1,"sequence":4}"#);
    assert_eq!((answer.status, answer.problem().as_str()), (429, "rate_limited"));
    let exact: u64 = answer.json()["retry_after_ms"].as_u64().unwrap();
    let whole: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let in_force = client.get("/v1/agents/a").json()["in_force_ms"].as_u64().unwrap();
    assert!(exact >= 1 && exact <= in_force && whole * 1_000 <= in_force, "{answer:?}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"agent\";q=3;w=60"));
    assert!(answer.header("ratelimit").unwrap().starts_with("\"agent\";r=0;t="));
    // Another agent has a quota of its own.
    assert_eq!(sequence(&mut client, "b", 1, 1).0, 200);
    assert_eq!(client.get("/v1/agents/a").json()["state"], "alive");
}

#[test]
fn ten_thousand_invented_names_stop_at_the_quota_of_their_address() {
    let gateway = start("[limits]\nunknown_rate_per_second = 0.01\nunknown_burst = 50\n");
    let mut client = Client::to(&gateway);
    let (mut heard, mut refused) = (Vec::new(), 0);
    for batch in 0..10 {
        let names = (0..1_000).map(|name| json!({"agent_id": format!("x{batch}-{name}")}));
        let body = json!({"heartbeats": names.collect::<Vec<_>>()}).to_string();
        let answer = client.request("POST", "/v1/heartbeats/batch", "", body.as_bytes());
        assert_eq!(answer.status, 200);
        for item in answer.json()["results"].as_array().unwrap() {
            if item["directive"].is_object() {
                heard.push(item["agent_id"].as_str().unwrap().to_owned());
            } else {
                assert_eq!(item["problem"]["code"], "rate_limited");
                refused += 1;
            }
        }
    }
    assert_eq!((heard.len(), refused), (50, 9_950));
    assert_eq!(agents_known(&gateway), 50);
    // Those who are known are heard all the same.
    assert_eq!(client.beat(&json!({"agent_id": heard[0]}).to_string()).status, 200);
}

#[test]
fn a_full_table_refuses_newcomers_only() {
    let gateway = start("[limits]\nmax_agents = 2\n");
    let mut client = Client::to(&gateway);
    assert_eq!(sequence(&mut client, "a", 1, 1).0, 200);
    assert_eq!(sequence(&mut client, "b", 1, 1).0, 200);
    assert_eq!(sequence(&mut client, "c", 1, 1), (503, "overloaded".into()));
    assert_eq!(sequence(&mut client, "a", 1, 2).0, 200);
    assert_eq!(agents_known(&gateway), 2);
}

fn batch_of(gateway: &Gateway, heartbeats: Vec<Heartbeat>) -> [BatchAnswer; 2] {
    let batch = Batch { heartbeats };
    let mut client = Client::to(gateway);
    let path = "/v1/heartbeats/batch";
    let protobuf = client.request("POST", path, PROTOBUF, &batch.encode_to_vec());
    let json = client.request("POST", path, "", &serde_json::to_vec(&batch).unwrap());
    assert_eq!((protobuf.status, json.status), (200, 200));
    [BatchAnswer::decode(&protobuf.body[..]).unwrap(), serde_json::from_slice(&json.body).unwrap()]
}

#[test]
fn a_batch_answers_each_item_in_its_place() {
    let gateway = start("");
    let beat = |name: &str, sequence: u64| Heartbeat {
        agent_id: name.into(),
        incarnation: 1,
        sequence,
        ..Heartbeat::default()
    };
    let bad = Heartbeat { agent_id: "not ok".into(), ..Heartbeat::default() };
    let items = vec![beat("a", 1), bad.clone(), beat("b", 1), beat("a", 2), beat("a", 1), bad];
    let [first, second] = batch_of(&gateway, items);
    let outcome = |answer: &BatchAnswer, place: usize| {
        answer.results[place].directive.as_ref().map(|directive| directive.outcome)
    };
    let accepted = Some(Outcome::Accepted as i32);
    let duplicate = Some(Outcome::Duplicate as i32);
    let stale = Some(Outcome::Stale as i32);
    let outcomes =
        |answer: &BatchAnswer| -> Vec<_> { (0..6).map(|n| outcome(answer, n)).collect() };
    assert_eq!(outcomes(&first), [accepted, None, accepted, accepted, stale, None]);
    assert_eq!(outcomes(&second), [stale, None, duplicate, duplicate, stale, None]);
    for answer in [&first, &second] {
        let names: Vec<_> = answer.results.iter().map(|item| item.agent_id.as_str()).collect();
        assert_eq!(names, ["a", "", "b", "a", "a", ""]);
        for place in [1, 5] {
            let problem = answer.results[place].problem.as_ref().unwrap();
            assert_eq!(problem.code, "field_invalid");
            assert_eq!(problem.field.as_deref(), Some("agent_id"));
        }
    }
}

#[test]
fn a_batch_without_a_good_heartbeat_is_still_answered_item_by_item() {
    let gateway = start("");
    let [protobuf, json] = batch_of(&gateway, vec![Heartbeat::default(), Heartbeat::default()]);
    assert_eq!((protobuf.results.len(), json.results.len()), (2, 2));
    let [empty, none] = batch_of(&gateway, Vec::new());
    assert_eq!((empty.results.len(), none.results.len()), (0, 0));
}

#[test]
fn credentials_name_the_tenant_and_nothing_else_does() {
    let gateway = start(CREDENTIALS);
    let mut client = Client::to(&gateway);
    for headers in ["", "authorization: Bearer wrong\r\n", "authorization: Basic eDp5\r\n"] {
        let body = br#"{"agent_id":"a"}"#;
        let answer = client.request("POST", "/v1/heartbeats", headers, body);
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"));
        assert_eq!(answer.header("www-authenticate"), Some("bearer"));
    }
    assert_eq!(agents_known(&gateway), 0);
    // One connection may speak for two tenants; each has an agent of this name of its own.
    for (colour, number) in [("red", 1), ("blue", 1), ("red", 2), ("blue", 2)] {
        let headers = format!("authorization: bearer token-of-the-{colour}-tenant\r\n");
        let body = json!({"agent_id": "a", "incarnation": 1, "sequence": number}).to_string();
        let answer = client.request("POST", "/v1/heartbeats", &headers, body.as_bytes());
        assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("accepted")));
    }
    assert_eq!(agents_known(&gateway), 2);
}
