//! The operator's routes over real sockets.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Answer, Client, agents_known, start};

const JSON: &str = "content-type: application/json\r\n";

fn put(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.request("PUT", path, JSON, body.to_string().as_bytes())
}

fn fields<const N: usize>(answer: &Answer, names: [&str; N]) -> [Value; N] {
    let body = answer.json();
    names.map(|name| body[name].clone())
}

fn names(page: &Value) -> Vec<String> {
    let agents = page["agents"].as_array().expect("agents");
    agents.iter().map(|agent| agent["agent_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_registered_agent_is_new_until_it_beats() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let labels = json!({"class": "critical", "labels": {"region": "eu"}});
    let created = put(&mut client, "/v1/agents/worker-1", &labels);
    assert_eq!(created.status, 201);
    assert_eq!(fields(&created, ["state", "class"]), ["new", "critical"]);
    assert_eq!(put(&mut client, "/v1/agents/worker-1", &json!({})).status, 200);
    assert_eq!(client.get("/health/agents/worker-1").status, 503);
    assert_eq!(client.beat(r#"{"agent_id":"worker-1"}"#).status, 200);
    let shown = client.get("/v1/agents/worker-1").json();
    assert_eq!(shown["state"], "alive");
    assert_eq!(shown["labels"], json!({"region": "eu"}));
    assert_eq!(shown["tenant"], "default");
    assert_eq!(client.get("/health/agents/worker-1").status, 200);
}

#[test]
fn an_unknown_class_counts_as_normal_and_is_shown() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let agent = put(&mut client, "/v1/agents/a", &json!({"class": "quantum"}));
    assert_eq!(fields(&agent, ["class", "class_unknown"]), ["normal", "quantum"]);
}

#[test]
fn pages_show_every_agent_exactly_once() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    for number in 0..57 {
        put(&mut client, &format!("/v1/agents/agent-{number}"), &json!({}));
    }
    let mut seen = Vec::new();
    let mut path = "/v1/agents?limit=10".to_owned();
    loop {
        let page = client.get(&path).json();
        assert!(names(&page).len() <= 10);
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        assert!(next.len() <= 128);
        path = format!("/v1/agents?limit=10&cursor={next}");
    }
    assert_eq!(seen.len(), 57);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 57);
}

#[test]
fn filters_leave_only_what_was_asked_for() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let agents = [
        ("a", json!({"class": "critical", "labels": {"tier": "web", "region": "eu"}})),
        ("b", json!({"labels": {"tier": "web"}, "capabilities": ["gpu", "net"]})),
        ("c", json!({"labels": {"tier": "db"}, "capabilities": ["gpu"]})),
    ];
    for (id, registration) in &agents {
        put(&mut client, &format!("/v1/agents/{id}"), registration);
    }
    client.beat(r#"{"agent_id":"b"}"#);
    let cases = [
        ("state=alive", vec!["b"]),
        ("state=new", vec!["a", "c"]),
        ("class=critical", vec!["a"]),
        ("class=normal", vec!["b", "c"]),
        ("label=tier:web", vec!["a", "b"]),
        ("label=tier:web&label=region:eu", vec!["a"]),
        ("capability=gpu", vec!["b", "c"]),
        ("capability=gpu&capability=net", vec!["b"]),
        ("health=healthy&state=alive", vec!["b"]),
        ("health=stalled", vec![]),
        ("label=tier:cache", vec![]),
    ];
    for (query, expected) in cases {
        let mut found = names(&client.get(&format!("/v1/agents?{query}")).json());
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn a_bad_query_names_its_parameter() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let long = format!("cursor={}", "1".repeat(129));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("state=dead", "state"),
        ("health=fine", "health"),
        ("class=absent", "class"),
        ("label=tier", "label"),
        ("cursor=zzz", "cursor"),
        (&long, "cursor"),
        ("tenant=absent", "tenant"),
        ("sort=name", "sort"),
    ] {
        let answer = client.get(&format!("/v1/agents?{query}"));
        assert_eq!(answer.problem(), "field_invalid", "{query}");
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["field"], field, "{query}");
    }
    assert_eq!(client.get("/v1/agents/a?limit=1").problem(), "field_invalid");
}

#[test]
fn what_is_not_there_is_a_problem_and_a_wrong_method_names_the_right_ones() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    assert_eq!(client.get("/v1/nothing").problem(), "not_found");
    for path in ["/v1/agents/a", "/v1/agents/a/explain", "/health/agents/a"] {
        assert_eq!(client.get(path).problem(), "agent_unknown", "{path}");
    }
    let changes = ["DELETE /v1/agents/a", "POST /v1/agents/a/pause", "POST /v1/agents/a/resume"];
    for (method, path) in changes.iter().filter_map(|change| change.split_once(' ')) {
        assert_eq!(client.request(method, path, "", b"").problem(), "agent_unknown", "{path}");
    }
    let answer = client.request("PATCH", "/v1/agents/a", JSON, b"{}");
    assert_eq!(answer.problem(), "method_not_allowed");
    let allow = answer.header("allow").expect("allow").to_owned();
    for method in ["get", "put", "delete"] {
        assert!(allow.contains(method), "{allow}");
    }
    assert_eq!(client.request("DELETE", "/metrics", "", b"").problem(), "method_not_allowed");
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn an_id_that_no_agent_can_have_is_refused() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let long = "a".repeat(129);
    for id in [long.as_str(), "a%20b", "a%00", "%2e%2e", "caf%C3%A9", "a%0Ab"] {
        let answer = put(&mut client, &format!("/v1/agents/{id}"), &json!({}));
        assert_eq!(answer.problem(), "field_invalid", "{id}");
        assert_eq!(answer.json()["field"], "agent_id");
    }
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn a_bad_registration_says_what_is_wrong_and_changes_nothing() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let mut send =
        |headers: &str, body: &[u8]| client.request("PUT", "/v1/agents/a", headers, body);
    assert_eq!(send(JSON, b"{\"class\":").problem(), "malformed");
    assert_eq!(send(JSON, b"\xff\xfe").problem(), "malformed");
    assert_eq!(send(JSON, b"{} {}").problem(), "malformed");
    assert_eq!(send(JSON, "[".repeat(10_000).as_bytes()).status, 422);
    let answer = send(JSON, br#"{"labels":{"a":7}}"#);
    assert_eq!(answer.problem(), "field_invalid");
    assert_eq!(answer.json()["field"], "labels.a");
    let answer = send(JSON, br#"{"class":"a b"}"#);
    assert_eq!(answer.problem(), "field_invalid");
    assert_eq!(answer.json()["field"], "class");
    assert_eq!(send(JSON, br#"{"labels":{"a":"1","a":"2"}}"#).problem(), "field_invalid");
    let elsewhere = br#"{"probe":{"kind":"tcp","port":80,"host":"10.0.0.1"}}"#;
    assert_eq!(send(JSON, elsewhere).problem(), "field_invalid");
    assert_eq!(send("content-type: text/plain\r\n", b"{}").problem(), "media_type");
    assert_eq!(send("", b"{}").problem(), "media_type");
    let large = format!("{{\"endpoint\":\"{}\"}}", "x".repeat(20_000));
    let answer = send(JSON, large.as_bytes());
    assert_eq!(answer.problem(), "too_large");
    assert_eq!(answer.json()["limit"], 16_384.0);
    assert_eq!(agents_known(&gateway), 0);
}

#[test]
fn an_agent_that_is_told_to_leave_is_stopped() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.beat(r#"{"agent_id":"a","incarnation":1,"sequence":1}"#);
    assert_eq!(client.request("DELETE", "/v1/agents/a", "", b"").status, 204);
    assert_eq!(client.get("/v1/agents/a").json()["state"], "stopped");
    let again = client.beat(r#"{"agent_id":"a","incarnation":1,"sequence":2}"#);
    assert_eq!(again.problem(), "agent_stopped");
}

#[test]
fn a_pause_is_shown_until_it_ends() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.beat(r#"{"agent_id":"a"}"#);
    let paused = client.request("POST", "/v1/agents/a/pause", "", b"");
    assert_eq!((paused.status, &paused.json()["flags"]), (200, &json!(["paused"])));
    let resumed = client.request("POST", "/v1/agents/a/resume", "", b"");
    assert_eq!((resumed.status, &resumed.json()["flags"]), (200, &Value::Null));
}

#[test]
fn an_explanation_tells_the_directive_that_the_agent_got() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let beat = r#"{"agent_id":"a","incarnation":1,"sequence":1,"metrics":{"queue_depth":7}}"#;
    let directive = client.beat(beat).json();
    let explained = client.get("/v1/agents/a/explain").json();
    let decision = &explained["decision"];
    for field in ["number", "next_interval_ms", "suspect_after_ms", "fail_after_ms", "outcome"] {
        assert_eq!(decision[field], directive[field], "{field}");
    }
    assert_eq!(decision["bound"], directive["explain"]["bound"]);
    assert_eq!(decision["cadence"]["policy"], directive["explain"]["policy"]);
    assert_eq!(decision["cadence"]["reason"], directive["explain"]["reason"]);
    assert_eq!(decision["observation"]["queue_depth"], 7.0);
    assert_eq!(decision["observation"].get("cpu_percent"), None);
    let steps = decision["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 4);
    for pair in steps.windows(2) {
        assert_eq!(pair[1]["before_ms"], pair[0]["after_ms"]);
    }
    assert_eq!(steps[3]["after_ms"], directive["next_interval_ms"]);
    assert!(explained["deadlines"]["suspect_in_ms"].is_i64());
    assert!(explained["text"].as_array().expect("sentences").len() >= 6);
}

#[test]
fn an_agent_that_never_beat_has_nothing_to_explain_but_its_state() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    put(&mut client, "/v1/agents/a", &json!({}));
    let explained = client.get("/v1/agents/a/explain").json();
    assert_eq!(explained["agent"]["state"], "new");
    assert_eq!((explained.get("decision"), explained.get("deadlines")), (None, None));
}

#[test]
fn the_fleet_is_counted_by_what_became_of_it() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.beat(r#"{"agent_id":"a"}"#);
    client.beat(r#"{"agent_id":"b"}"#);
    client.request("DELETE", "/v1/agents/b", "", b"");
    put(&mut client, "/v1/agents/c", &json!({}));
    let mut fleet = client.get("/health/agents").json();
    let mut agents = fleet["agents"].take();
    agents.as_array_mut().expect("agents").sort_by_key(|agent| agent["agent_id"].to_string());
    let glance = |id, state| json!({"agent_id": id, "state": state, "health": "healthy"});
    assert_eq!(agents, json!([glance("a", "alive"), glance("b", "stopped"), glance("c", "new")]));
    let names = ["total", "healthy", "missing", "failed", "stopped"];
    assert_eq!(names.map(|name| fleet[name].clone()), [3, 1, 0, 0, 1]);
}

/// A request with a `host` of its own.
fn with_host(client: &mut Client, method: &str, path: &str, headers: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\n{headers}content-length: 0\r\n\r\n");
    client.send(head.as_bytes());
    client.answer()
}

#[test]
fn a_page_in_a_browser_can_neither_read_nor_change_anything() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.beat(r#"{"agent_id":"a"}"#);
    let rebound = with_host(&mut client, "GET", "/v1/agents", "host: evil.example\r\n");
    assert_eq!(rebound.problem(), "forbidden");
    for origin in ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site"] {
        let headers = format!("host: 127.0.0.1\r\n{origin}\r\n");
        for (method, path) in [("POST", "/v1/agents/a/pause"), ("DELETE", "/v1/agents/a")] {
            assert_eq!(with_host(&mut client, method, path, &headers).problem(), "forbidden");
        }
    }
    let agent = client.get("/v1/agents/a").json();
    assert_eq!((&agent["state"], agent.get("flags")), (&json!("alive"), None));
}

/// A file that is gone when the test ends.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(test: &str, token: &str) -> Self {
        let name = format!("pulsegate-it-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, token).expect("a file");
        Self(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn where_a_token_is_set_every_operator_route_asks_for_it() {
    let token = TokenFile::new("token", "a-token-of-some-length\n");
    let gateway = start(&format!("admin_token_file = {:?}\n", token.0));
    let mut client = Client::to(&gateway);
    let refused = client.get("/v1/agents");
    assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthenticated"));
    assert_eq!(refused.header("www-authenticate"), Some("bearer"));
    let mut with = |token: &str, path: &str| {
        client.request("GET", path, &format!("authorization: Bearer {token}\r\n"), b"")
    };
    assert_eq!(with("a-token-of-some-other", "/metrics").problem(), "unauthenticated");
    assert_eq!(with("a-token-of-some-length", "/metrics").status, 200);
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(client.beat(r#"{"agent_id":"a"}"#).status, 200);
}

#[test]
fn with_an_address_of_their_own_operator_routes_are_nowhere_else() {
    let gateway = start("admin_listen = \"127.0.0.1:0\"\n");
    let addresses = gateway.addresses();
    let admin = addresses.admin.expect("an admin address");
    assert_ne!(addresses.agents, admin);
    let mut agents = Client::connect(addresses.agents);
    for path in ["/", "/v1/agents", "/health/agents", "/metrics", "/v1/openapi.json"] {
        assert_eq!(agents.get(path).problem(), "not_found", "{path}");
        assert_eq!(Client::connect(admin).get(path).status, 200, "{path}");
    }
    assert_eq!(agents.get("/healthz").status, 200);
    assert_eq!(agents.get("/readyz").status, 200);
}

#[test]
fn tenants_do_not_see_each_other() {
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let credential = format!("tenant = \"acme\"\ntoken_sha256 = \"{hash}\"\n");
    let gateway = start(&format!("[[credentials]]\n{credential}"));
    let mut client = Client::to(&gateway);
    put(&mut client, "/v1/agents/same?tenant=acme", &json!({"class": "critical"}));
    put(&mut client, "/v1/agents/same", &json!({"class": "background"}));
    put(&mut client, "/v1/agents/other", &json!({}));
    let acme = client.get("/v1/agents?tenant=acme").json();
    assert_eq!(names(&acme), ["same"]);
    assert_eq!(acme["agents"][0]["class"], "critical");
    assert_eq!(acme["agents"][0]["tenant"], "acme");
    assert_eq!(client.get("/v1/agents/same").json()["class"], "background");
    assert_eq!(client.get("/v1/agents/other?tenant=acme").problem(), "agent_unknown");
    assert_eq!(client.get("/health/agents?tenant=acme").json()["total"], 1);
    assert_eq!(client.get("/health/agents").json()["total"], 2);
}

#[test]
fn the_description_and_the_first_page_are_served() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let described = client.get("/v1/openapi.json");
    assert_eq!(described.header("content-type"), Some("application/json"));
    assert_eq!(described.json()["openapi"], "3.1.0");
    let index = client.get("/");
    let index = String::from_utf8(index.body).expect("text");
    for path in described.json()["paths"].as_object().expect("paths").keys() {
        let known = path.split('/').nth(1).unwrap_or_default();
        assert!(index.contains(known), "{path}");
    }
}
