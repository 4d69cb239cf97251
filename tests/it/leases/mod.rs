//! Leases over real sockets: who holds what, how it is renewed, and who is next.

mod compact;
mod gone;
mod history;
mod restart;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::eventually;
use crate::support::{Answer, BLUE, CREDENTIALS, Client, RED, start};

const JSON: &str = "content-type: application/json\r\n";

/// Asks one thing of a lease.
fn ask(client: &mut Client, name: &str, what: &str, body: &Value) -> Answer {
    let path = format!("/v1/leases/{name}/{what}");
    client.request("POST", &path, JSON, body.to_string().as_bytes())
}

fn acquire(client: &mut Client, name: &str, holder: &str, ttl_ms: u32) -> Answer {
    ask(client, name, "acquire", &json!({"holder": holder, "ttl_ms": ttl_ms}))
}

/// The token of a lease that must be granted.
fn granted(answer: &Answer, holder: &str) -> u64 {
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
    let hold = answer.json();
    assert_eq!(hold["holder"], holder);
    hold["token"].as_u64().expect("a token")
}

fn check(client: &mut Client, name: &str, token: u64) -> String {
    let answer = client.get(&format!("/v1/leases/{name}/check?token={token}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let view = answer.json();
    assert_eq!(view["valid"], view["verdict"] == "valid");
    view["verdict"].as_str().expect("a verdict").to_owned()
}

/// The one lease that is listed, if there is one.
fn listed(client: &mut Client) -> Option<Value> {
    client.get("/v1/leases").json()["leases"].as_array().expect("leases").first().cloned()
}

fn remaining_ms(client: &mut Client) -> u64 {
    listed(client).map_or(0, |lease| lease["expires_in_ms"].as_u64().expect("a time"))
}

fn beat(client: &mut Client, sequence: u32, rest: &str) -> Value {
    let body = format!(r#"{{"agent_id":"worker-1","incarnation":7,"sequence":{sequence}{rest}}}"#);
    let answer = client.beat(&body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Stands in line in a thread of its own; the grant, and when it came.
fn wait_in_line(
    address: SocketAddr,
    holder: &'static str,
    ttl_ms: u32,
) -> thread::JoinHandle<(Value, Instant)> {
    thread::spawn(move || {
        let body = json!({"holder": holder, "ttl_ms": ttl_ms, "wait_ms": 25_000});
        let answer = ask(&mut Client::connect(address), "leader", "acquire", &body);
        granted(&answer, holder);
        (answer.json(), Instant::now())
    })
}

fn in_line(client: &mut Client) -> u64 {
    listed(client).map_or(0, |lease| lease["waiting"].as_u64().expect("a count"))
}

#[test]
fn a_lease_has_one_holder_until_it_is_released() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let first = granted(&acquire(&mut client, "leader", "a", 30_000), "a");
    let refused = acquire(&mut client, "leader", "b", 30_000);
    assert_eq!((refused.status, refused.problem().as_str()), (409, "lease_held"));
    assert_eq!(refused.json()["holder"], "a");
    let after_ms = refused.json()["retry_after_ms"].as_u64().expect("a time");
    assert!((29_000..=30_000).contains(&after_ms), "{after_ms}");
    // Asking again is renewing, by the same token.
    assert_eq!(granted(&acquire(&mut client, "leader", "a", 30_000), "a"), first);
    assert_eq!(check(&mut client, "leader", first), "valid");
    let wrong = ask(&mut client, "leader", "release", &json!({"token": first + 1}));
    assert_eq!(wrong.json()["released"], false);
    for released in [true, false] {
        let answer = ask(&mut client, "leader", "release", &json!({"token": first}));
        assert_eq!((answer.status, &answer.json()["released"]), (200, &json!(released)));
    }
    assert_eq!(check(&mut client, "leader", first), "free");
    let second = granted(&acquire(&mut client, "leader", "b", 30_000), "b");
    assert!(second > first, "{second} after {first}");
    assert_eq!(check(&mut client, "leader", first), "superseded");
    assert_eq!(check(&mut client, "leader", second), "valid");
    assert_eq!(check(&mut client, "leader", second + 1), "unknown");
    let stale = ask(&mut client, "leader", "renew", &json!({"token": first}));
    assert_eq!((stale.status, stale.problem().as_str()), (409, "token_stale"));
    let longer = ask(&mut client, "leader", "renew", &json!({"token": second, "ttl_ms": 60_000}));
    assert_eq!((granted(&longer, "b"), &longer.json()["ttl_ms"]), (second, &json!(60_000)));
    let nobody = ask(&mut client, "other", "renew", &json!({"token": first}));
    assert_eq!((nobody.status, nobody.problem().as_str()), (404, "lease_unknown"));
}

#[test]
fn a_bad_request_says_what_is_wrong_and_grants_nothing() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    for (body, field) in [
        (json!({}), "holder"),
        (json!({"holder": "a b", "ttl_ms": 3_000}), "holder"),
        (json!({"holder": "a", "ttl_ms": 2_999}), "ttl_ms"),
        (json!({"holder": "a", "ttl_ms": 86_400_001}), "ttl_ms"),
        (json!({"holder": "a", "ttl_ms": "long"}), "ttl_ms"),
        (json!({"holder": "a", "ttl_ms": 3_000, "wait_ms": 25_001}), "wait_ms"),
    ] {
        let answer = ask(&mut client, "leader", "acquire", &body);
        assert_eq!(answer.problem(), "field_invalid", "{body}");
        assert_eq!(answer.json()["field"], field, "{body}");
    }
    let good = json!({"holder": "a", "ttl_ms": 3_000});
    let long = "l".repeat(129);
    for name in ["a%20b", "caf%C3%A9", long.as_str()] {
        let answer = ask(&mut client, name, "acquire", &good);
        assert_eq!(
            (answer.problem().as_str(), &answer.json()["field"]),
            ("field_invalid", &json!("name"))
        );
    }
    let path = "/v1/leases/leader/acquire";
    let plain = client.request("POST", path, "", good.to_string().as_bytes());
    assert_eq!(plain.problem(), "media_type");
    assert_eq!(client.request("POST", path, JSON, b"{").problem(), "malformed");
    assert_eq!(client.get(path).problem(), "method_not_allowed");
    for query in ["", "?token=x", "?token=9007199254740992", "?token=1&holder=a"] {
        let answer = client.get(&format!("/v1/leases/leader/check{query}"));
        assert_eq!(answer.problem(), "field_invalid", "{query}");
    }
    for query in ["limit=0", "cursor=a%20b", "tenant=absent", "holder=a"] {
        let answer = client.get(&format!("/v1/leases?{query}"));
        assert_eq!(answer.problem(), "field_invalid", "{query}");
    }
    assert_eq!(listed(&mut client), None);
}

#[test]
fn no_page_in_a_browser_takes_a_lease_away() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let body = json!({"holder": "a", "ttl_ms": 3_000}).to_string();
    let headers = format!("{JSON}origin: http://elsewhere.example\r\n");
    let path = "/v1/leases/leader/acquire";
    let answer = client.request("POST", path, &headers, body.as_bytes());
    assert_eq!(answer.problem(), "forbidden");
    assert_eq!(listed(&mut client), None);
}

#[test]
fn an_accepted_heartbeat_of_the_holder_renews_its_leases() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    assert_eq!(beat(&mut client, 1, "").get("leases"), None);
    let hold = acquire(&mut client, "leader", "worker-1", 6_000);
    let token = granted(&hold, "worker-1");
    assert_eq!(hold.json()["beat_now"], true, "30 s is longer than a third of 6 s");
    eventually("time passes", || (remaining_ms(&mut client) < 5_900).then_some(()));
    let directive = beat(&mut client, 2, "");
    let renewed = json!([{"name": "leader", "token": token, "ttl_ms": 6_000}]);
    assert_eq!(directive["leases"], renewed);
    let next_ms = directive["next_interval_ms"].as_u64().expect("an interval");
    assert!(next_ms <= 2_000, "{next_ms} ms is longer than a third of the TTL");
    let after_ms = remaining_ms(&mut client);
    assert!(after_ms > 5_900, "{after_ms} ms left");
    assert_eq!(acquire(&mut client, "leader", "worker-1", 6_000).json().get("beat_now"), None);
    // The same one again says the same, and renews nothing.
    eventually("time passes", || (remaining_ms(&mut client) < 5_900).then_some(()));
    assert_eq!(beat(&mut client, 2, "")["leases"], renewed);
    assert!(remaining_ms(&mut client) < 5_900);
    // In a batch, too.
    let body = br#"{"heartbeats":[{"agent_id":"worker-2","incarnation":1,"sequence":1},
        {"agent_id":"worker-1","incarnation":7,"sequence":3}]}"#;
    let results = client.request("POST", "/v1/heartbeats/batch", "", body).json();
    assert_eq!(results["results"][0]["directive"].get("leases"), None);
    assert_eq!(results["results"][1]["directive"]["leases"], renewed);
    let after_ms = remaining_ms(&mut client);
    assert!(after_ms > 5_900, "{after_ms} ms left");
}

#[test]
fn an_agent_that_held_a_lease_before_it_was_known_beats_for_it_from_the_first_directive_on() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let hold = acquire(&mut client, "leader", "worker-1", 6_000);
    let token = granted(&hold, "worker-1");
    assert_eq!(hold.json().get("beat_now"), None, "nobody knows whether it beats at all");
    let directive = beat(&mut client, 1, "");
    let next_ms = directive["next_interval_ms"].as_u64().expect("an interval");
    assert!(next_ms <= 2_000, "{next_ms}");
    assert_eq!(directive["leases"][0]["token"], token);
}

#[test]
fn an_unfit_holder_renews_nothing_and_loses_its_lease_at_its_expiry() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    beat(&mut client, 1, "");
    let token = granted(&acquire(&mut client, "leader", "worker-1", 3_000), "worker-1");
    assert_eq!(beat(&mut client, 2, "")["leases"][0]["token"], token);
    eventually("time passes", || (remaining_ms(&mut client) < 2_900).then_some(()));
    assert_eq!(beat(&mut client, 3, r#","status":"stopping""#).get("leases"), None);
    assert!(remaining_ms(&mut client) < 2_900);
    assert_eq!(check(&mut client, "leader", token), "valid", "it may still count on it");
    eventually("it expires", || (check(&mut client, "leader", token) == "free").then_some(()));
    granted(&acquire(&mut client, "leader", "b", 3_000), "b");
}

#[test]
fn those_in_line_follow_in_the_order_in_which_they_came() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let address = gateway.addresses().agents;
    let first = granted(&acquire(&mut client, "leader", "a", 60_000), "a");
    let second = wait_in_line(address, "b", 60_000);
    eventually("b waits", || (in_line(&mut client) == 1).then_some(()));
    let third = wait_in_line(address, "c", 60_000);
    eventually("c waits", || (in_line(&mut client) == 2).then_some(()));
    ask(&mut client, "leader", "release", &json!({"token": first}));
    let (hold, _) = second.join().expect("b is served");
    let token = hold["token"].as_u64().expect("a token");
    assert!(token > first && hold["waited_ms"].is_u64(), "{hold}");
    assert!(!third.is_finished(), "c is behind b");
    ask(&mut client, "leader", "release", &json!({"token": token}));
    let (hold, _) = third.join().expect("c is served");
    assert!(hold["token"].as_u64() > Some(token), "{hold}");
}

#[test]
fn who_follows_on_an_expiry_follows_no_earlier() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let sent = Instant::now();
    granted(&acquire(&mut client, "leader", "a", 3_000), "a");
    let next = wait_in_line(gateway.addresses().agents, "b", 3_000);
    let (_, came) = next.join().expect("b is served");
    // Core time is read in whole milliseconds.
    let passed = came - sent;
    assert!(passed >= Duration::from_millis(2_999), "{passed:?}");
}

#[test]
fn a_wait_in_vain_tells_who_holds_the_lease_and_a_client_that_goes_leaves_the_line() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let token = granted(&acquire(&mut client, "leader", "a", 60_000), "a");
    let body = json!({"holder": "b", "ttl_ms": 3_000, "wait_ms": 100});
    let vain = ask(&mut client, "leader", "acquire", &body);
    assert_eq!((vain.problem().as_str(), &vain.json()["holder"]), ("lease_held", &json!("a")));
    assert_eq!(in_line(&mut client), 0);
    let mut gone = Client::to(&gateway);
    let body = json!({"holder": "b", "ttl_ms": 60_000, "wait_ms": 25_000}).to_string();
    let length = body.len();
    gone.send(
        format!(
            "POST /v1/leases/leader/acquire HTTP/1.1\r\nhost: localhost\r\n{JSON}\
             content-length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    );
    eventually("it waits", || (in_line(&mut client) == 1).then_some(()));
    drop(gone);
    eventually("its place is given up", || (in_line(&mut client) == 0).then_some(()));
    ask(&mut client, "leader", "release", &json!({"token": token}));
    assert_eq!(listed(&mut client), None, "nobody holds it who has gone");
}

#[test]
fn an_operator_takes_a_lease_back_and_sees_what_is_held() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let token = granted(&acquire(&mut client, "b-lease", "a", 60_000), "a");
    for name in ["a-lease", "c-lease"] {
        granted(&acquire(&mut client, name, "a", 60_000), "a");
    }
    let page = client.get("/v1/leases?limit=2").json();
    assert_eq!((&page["leases"][0]["name"], &page["next"]), (&json!("a-lease"), &json!("b-lease")));
    assert_eq!(page["leases"][1]["tenant"], "default");
    let rest = client.get("/v1/leases?limit=2&cursor=b-lease").json();
    assert_eq!((&rest["leases"][0]["name"], rest.get("next")), (&json!("c-lease"), None));
    assert_eq!(client.request("DELETE", "/v1/leases/b-lease", "", b"").status, 204);
    assert_eq!(check(&mut client, "b-lease", token), "free");
    let again = client.request("DELETE", "/v1/leases/b-lease", "", b"");
    assert_eq!((again.status, again.problem().as_str()), (404, "lease_unknown"));
    let scrape = String::from_utf8(client.get("/metrics").body).expect("text");
    for line in [
        "pulsegate_leases 2",
        "pulsegate_lease_grants_total 3",
        "pulsegate_lease_ends_total{reason=\"revoked\"} 1",
        "pulsegate_lease_waiters 0",
    ] {
        assert!(scrape.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_credential_names_the_tenant_of_a_lease_and_nothing_else_does() {
    let gateway = start(CREDENTIALS);
    let mut client = Client::to(&gateway);
    let body = json!({"holder": "a", "ttl_ms": 60_000}).to_string();
    let mut as_tenant = |token: &str, path: &str| {
        let headers = format!("{JSON}authorization: Bearer {token}\r\n");
        client.request("POST", path, &headers, body.as_bytes())
    };
    let path = "/v1/leases/leader/acquire";
    assert_eq!(as_tenant("wrong", path).problem(), "unauthenticated");
    let red = granted(&as_tenant(RED, path), "a");
    let blue = granted(&as_tenant(BLUE, path), "a");
    assert_ne!(red, blue, "each tenant has a lease of this name of its own");
    assert_eq!(as_tenant(RED, "/v1/leases/leader/acquire?tenant=blue").status, 200);
    assert_eq!(acquire(&mut client, "leader", "a", 60_000).problem(), "unauthenticated");
    let listed = client.get("/v1/leases?tenant=red").json();
    assert_eq!(listed["leases"][0]["token"], red);
    assert_eq!(client.get("/v1/leases").json()["leases"], json!([]));
}

#[test]
fn agents_ask_where_they_beat_and_operators_where_they_look() {
    let gateway = start("admin_listen = \"127.0.0.1:0\"\n");
    let addresses = gateway.addresses();
    let mut agents = Client::connect(addresses.agents);
    let mut admin = Client::connect(addresses.admin.expect("an admin address"));
    let token = granted(&acquire(&mut agents, "leader", "a", 60_000), "a");
    assert_eq!(check(&mut agents, "leader", token), "valid");
    assert_eq!(agents.get("/v1/leases").problem(), "not_found");
    assert_eq!(agents.request("DELETE", "/v1/leases/leader", "", b"").problem(), "not_found");
    assert_eq!(acquire(&mut admin, "leader", "a", 60_000).problem(), "not_found");
    assert_eq!(listed(&mut admin).expect("it is listed")["token"], token);
    assert_eq!(admin.request("DELETE", "/v1/leases/leader", "", b"").status, 204);
}
