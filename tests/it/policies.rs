//! Policies while the gateway runs: uploads, trials, swaps under load, and the way back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use pulsegate_gateway::server::Gateway;
use pulsegate_policy::{Digest, fixtures, reference};
use serde_json::{Value, json};

use crate::process::{Scratch, Serving, eventually, pulsegate, stderr};
use crate::support::{Answer, Client, start};

const JSON: &str = "content-type: application/json\r\n";
const WASM: &str = "content-type: application/wasm\r\n";

/// Everybody is paced by `p`, which operators upload; nobody is short of quota.
const UPLOADED: &str = "[limits]\nagent_rate_per_second = 1000.0\nagent_burst = 10000\n\
                        [policy_limits]\nbatch_ms = 1000\n\
                        [[policies]]\nname = \"p\"\nuploaded = true\n\
                        [[routes]]\ncadence = \"p\"\n";

/// The depth of a queue at which fixtures misbehave that pass every check.
const RARE: u64 = 1_234_567;

fn component(name: &str) -> &'static [u8] {
    let all = reference::ALL.iter().chain(fixtures::ALL);
    all.into_iter().find(|(known, _)| *known == name).expect("it is embedded").1
}

fn revision(name: &str) -> String {
    Digest::of(component(name)).short()
}

fn put(client: &mut Client, query: &str, name: &str) -> Answer {
    let answer = client.request("PUT", &format!("/v1/policies/p{query}"), WASM, component(name));
    assert_ne!(answer.status, 408, "a loaded machine must not make a test say something else");
    answer
}

fn post(client: &mut Client, what: &str, body: Value) -> Answer {
    let path = format!("/v1/policies/p/{what}");
    client.request("POST", &path, JSON, body.to_string().as_bytes())
}

fn enforce(client: &mut Client, name: &str) -> Answer {
    let answer = post(client, "mode", json!({"mode": "enforce", "revision": revision(name)}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer
}

/// One revision of `p`, as it is shown.
fn shown(client: &mut Client, name: &str) -> Value {
    let view = client.get("/v1/policies/p").json();
    let revisions = view["revisions"].as_array().expect("revisions").clone();
    let is_it = |one: &Value| one["revision"] == revision(name);
    revisions.into_iter().find(is_it).unwrap_or_else(|| panic!("{name} is kept: {view}"))
}

fn beat(client: &mut Client, id: &str, sequence: u64, queue: u64) -> Value {
    let metrics = json!({ "queue_depth": queue });
    let body = json!({
        "agent_id": id, "incarnation": 1, "sequence": sequence, "metrics": metrics,
    });
    let answer = client.beat(&body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// Which revision paced a heartbeat.
fn paced(directive: &Value) -> (&str, &str) {
    let explain = &directive["explain"];
    (
        explain["policy"].as_str().expect("a policy"),
        explain["policy_revision"].as_str().unwrap_or(""),
    )
}

fn sample(client: &mut Client, name: &str) -> f64 {
    let metrics = client.get("/metrics");
    let text = String::from_utf8(metrics.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no sample {name}")).parse().expect("a number")
}

#[test]
fn an_upload_is_watched_first_then_a_canary_then_obeyed_and_taken_back() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    // Nothing is uploaded: the next route decides.
    assert_eq!(paced(&beat(&mut client, "a", 1, 0)), ("steady", &*revision("steady")));
    let view = client.get("/v1/policies/p").json();
    assert_eq!((&view["mode"], &view["routed"]), (&json!("none"), &json!(true)));
    assert_eq!(put(&mut client, "?mode=enforce", "steady").status, 201);
    assert_eq!(paced(&beat(&mut client, "a", 2, 0)), ("p", &*revision("steady")));

    let uploaded = put(&mut client, "", "queue-pressure");
    assert_eq!(uploaded.status, 201);
    assert_eq!(uploaded.json()["trial"]["mode"], "shadow");
    assert_eq!(paced(&beat(&mut client, "a", 3, 1_000_000)), ("p", &*revision("steady")));
    let compared = eventually("the shadow is compared", || {
        let shadow = shown(&mut client, "queue-pressure")["shadow"].clone();
        (shadow["compared"] == 1).then_some(shadow)
    });
    assert_eq!(compared["intervals"]["much_shorter"], 1, "{compared}");

    let half = post(&mut client, "canary", json!({"percent": 50}));
    assert_eq!(
        half.json()["trial"],
        json!({
            "revision": Digest::of(component("queue-pressure")).to_string(),
            "mode": "canary", "percent": 50.0,
        })
    );
    let canaries = |client: &mut Client, sequence: u64| -> Vec<u64> {
        let of = |agent: &u64| {
            let directive = beat(client, &format!("agent-{agent}"), sequence, 0);
            paced(&directive).1 == revision("queue-pressure")
        };
        (0..40).filter(of).collect()
    };
    let some = canaries(&mut client, 1);
    assert!((5..35).contains(&some.len()), "{some:?}");
    assert_eq!(canaries(&mut client, 2), some, "the same agents each time");
    assert!(shown(&mut client, "queue-pressure").get("shadow").is_none(), "it begins anew");
    post(&mut client, "canary", json!({"percent": 80.5}));
    let more = canaries(&mut client, 3);
    assert!(some.iter().all(|agent| more.contains(agent)) && more.len() > some.len());

    let promoted = post(&mut client, "mode", json!({"mode": "enforce"})).json();
    assert_eq!((&promoted["mode"], promoted.get("trial")), (&json!("enforce"), None));
    assert_eq!(canaries(&mut client, 4).len(), 40);
    let calls = sample(&mut client, "pulsegate_policy_canary_calls_total{policy=\"p\"}");
    assert_eq!(calls as usize, 2 * some.len() + more.len());
    assert_eq!(post(&mut client, "rollback", json!({})).status, 200);
    assert_eq!(canaries(&mut client, 5).len(), 0);
    // Before the first upload nothing was enforced, and the next route decided.
    assert_eq!(post(&mut client, "rollback", json!({})).json()["mode"], "none");
    assert_eq!(paced(&beat(&mut client, "a", 4, 0)).0, "steady");
    let nothing = post(&mut client, "rollback", json!({}));
    assert_eq!((nothing.status, &*nothing.problem()), (409, "policy_conflict"));
}

#[test]
fn labels_choose_canaries_too() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    let uploaded = put(&mut client, "?canary_label=ring:0", "queue-pressure");
    assert_eq!(uploaded.json()["trial"]["labels"], json!({"ring": "0"}));
    let first = json!({"agent_id": "a", "labels": {"ring": "0"}}).to_string();
    let other = json!({"agent_id": "b", "labels": {"ring": "1"}}).to_string();
    let of = |answer: Answer| paced(&answer.json()).1.to_owned();
    assert_eq!(of(client.beat(&first)), revision("queue-pressure"));
    assert_eq!(of(client.beat(&other)), revision("steady"));
    let moved = post(&mut client, "canary", json!({"labels": {"ring": "1"}}));
    assert_eq!(moved.json()["trial"]["labels"], json!({"ring": "1"}));
    let directive = client.beat(&json!({"agent_id": "a", "sequence": 2}).to_string()).json();
    assert_eq!(paced(&directive).1, revision("steady"), "{directive}");
}

/// Load that ends when it is told to.
struct Load<'a> {
    gateway: &'a Gateway,
    /// What each revision says of an agent without a queue.
    said: BTreeMap<String, Value>,
    swapping: AtomicBool,
    ends: AtomicBool,
    sent: AtomicU64,
}

impl Load<'_> {
    /// Beats for some agents over one connection; says how long each answer took, and whether
    /// policies were being swapped.
    fn run(&self, thread: u64) -> Vec<(bool, Duration)> {
        let mut client = Client::to(self.gateway);
        let mut took = Vec::new();
        let mut sequence = 0;
        while !self.ends.load(Relaxed) {
            sequence += 1;
            for agent in 0..16 {
                let (swapping, began) = (self.swapping.load(Relaxed), Instant::now());
                let id = format!("agent-{thread}-{agent}");
                let directive = beat(&mut client, &id, sequence, 0);
                took.push((swapping, began.elapsed()));
                let (policy, revision) = paced(&directive);
                assert_eq!(policy, "p", "nobody is left to another policy: {directive}");
                let reason = &directive["explain"]["reason"];
                assert_eq!(Some(reason), self.said.get(revision), "{directive}");
                assert_eq!(directive["outcome"], "accepted");
                self.sent.fetch_add(1, Relaxed);
            }
        }
        took
    }

    /// Waits for so many heartbeats more.
    fn goes_on(&self, heartbeats: u64) {
        let before = self.sent.load(Relaxed);
        eventually("heartbeats go on", || {
            (self.sent.load(Relaxed) >= before + heartbeats).then_some(())
        });
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "figures for whoever asks with --nocapture")]
fn hundreds_of_swaps_under_load_cost_no_heartbeat() {
    const SWAPS: u64 = 300;
    let gateway = start(UPLOADED);
    let mut operator = Client::to(&gateway);
    put(&mut operator, "?mode=enforce", "steady");
    put(&mut operator, "", "queue-pressure");
    let mut said = BTreeMap::new();
    for name in ["steady", "queue-pressure"] {
        enforce(&mut operator, name);
        let directive = beat(&mut operator, &format!("alone-{name}"), 1, 0);
        said.insert(revision(name), directive["explain"]["reason"].clone());
    }
    let load = Load {
        gateway: &gateway,
        said,
        swapping: AtomicBool::new(false),
        ends: AtomicBool::new(false),
        sent: AtomicU64::new(0),
    };
    let took: Vec<_> = thread::scope(|scope| {
        let load = &load;
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || load.run(thread))).collect();
        load.goes_on(2_000);
        load.swapping.store(true, Relaxed);
        for swap in 0..SWAPS {
            enforce(&mut operator, if swap % 2 == 0 { "steady" } else { "queue-pressure" });
            // Each set serves some heartbeats before the next one comes.
            load.goes_on(1);
        }
        load.ends.store(true, Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().expect("no error")).collect()
    });
    for swapping in [false, true] {
        let mut times: Vec<_> =
            took.iter().filter(|(when, _)| *when == swapping).map(|(_, took)| *took).collect();
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 1_000];
        let figures = (at(500), at(990), at(1_000));
        println!("swapping: {swapping}: {} heartbeats: {figures:?}", times.len());
    }
    let metrics = String::from_utf8(operator.get("/metrics").body).expect("text");
    let faults = metrics.lines().filter(|line| {
        line.starts_with("pulsegate_policy_faults_total{policy=\"p\"") && !line.ends_with(" 0")
    });
    assert_eq!(faults.count(), 0);
    assert!(sample(&mut operator, "pulsegate_policy_swaps_total") >= SWAPS as f64);
}

#[test]
fn a_revision_that_keeps_failing_gives_way_to_the_one_before_it() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    put(&mut client, "?mode=enforce", "traps-rarely");
    let since =
        client.get("/v1/watch?wait=0").json()["next"].as_str().expect("a cursor").to_owned();
    // It behaves for nearly everybody, and passes every check; ten faults open its breaker.
    for sequence in 1..=10 {
        let directive = beat(&mut client, "a", sequence, RARE);
        assert_eq!(paced(&directive), ("builtin", ""), "the same heartbeat is answered");
    }
    eventually("the one before returns", || {
        let view = client.get("/v1/policies/p").json();
        (view["enforced"] == Digest::of(component("steady")).to_string()).then_some(())
    });
    assert_eq!(paced(&beat(&mut client, "a", 11, RARE)), ("p", &*revision("steady")));
    let taken_back = shown(&mut client, "traps-rarely")["taken_back"].clone();
    assert_eq!(taken_back, "10 traps, 0 timeouts and 0 bad answers; 0 times too slow");
    let page = client.get(&format!("/v1/watch?wait=0&since={since}")).json();
    let events = page["events"].as_array().expect("events");
    let tripped = events.iter().find(|event| event["kind"] == "policy_tripped").expect("an event");
    assert_eq!((&tripped["open"], &tripped["policy"]), (&json!(true), &json!("p")));
    assert_eq!(tripped["revision"], revision("traps-rarely"));
    assert_eq!(tripped["returned_to"], revision("steady"));
    let returned = "pulsegate_policy_returns_total{policy=\"p\",from=\"enforced\"}";
    assert_eq!(sample(&mut client, returned), 1.0);
    // It is not tried again by itself, nor gone back to; it is when somebody says so.
    enforce(&mut client, "steady");
    assert_eq!(post(&mut client, "rollback", json!({})).json().get("enforced"), None);
    enforce(&mut client, "traps-rarely");
    assert_eq!(paced(&beat(&mut client, "b", 1, 0)), ("p", &*revision("traps-rarely")));
    assert_eq!(shown(&mut client, "traps-rarely").get("taken_back"), None);
}

#[test]
fn a_canary_that_keeps_failing_ends_and_a_shadow_costs_nobody_anything() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    put(&mut client, "", "spins-rarely");
    // It may use a quarter of the time, so most heartbeats are not compared at all.
    let mut sequence = 0;
    eventually("its breaker opens in shadow", || {
        sequence += 1;
        let directive = beat(&mut client, "a", sequence, RARE);
        assert_eq!(paced(&directive), ("p", &*revision("steady")));
        (shown(&mut client, "spins-rarely")["breaker_open"] == true).then_some(())
    });
    let view = client.get("/v1/policies/p").json();
    assert_eq!(view["trial"]["mode"], "shadow", "it stays: {view}");
    let faults = "pulsegate_policy_faults_total{policy=\"p\",fault=\"timeout\"}";
    assert_eq!(sample(&mut client, faults), 0.0, "faults in shadow are not those of heartbeats");
    let seen = "pulsegate_policy_shadow_total{policy=\"p\",result=\"fault\"}";
    assert!(sample(&mut client, seen) >= 10.0);
    let refused = post(&mut client, "mode", json!({"mode": "enforce"}));
    assert_eq!((refused.status, &*refused.problem()), (409, "policy_conflict"));

    put(&mut client, "?canary_percent=100", "traps-rarely");
    for sequence in sequence + 1..=sequence + 10 {
        assert_eq!(paced(&beat(&mut client, "a", sequence, RARE)), ("builtin", ""));
    }
    eventually("the canary ends", || {
        client.get("/v1/policies/p").json().get("trial").is_none().then_some(())
    });
    assert_eq!(paced(&beat(&mut client, "a", sequence + 11, RARE)), ("p", &*revision("steady")));
    let returned = "pulsegate_policy_returns_total{policy=\"p\",from=\"canary\"}";
    assert_eq!(sample(&mut client, returned), 1.0);
}

#[test]
fn explain_shows_what_the_shadow_would_have_said() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    put(&mut client, "", "queue-pressure");
    beat(&mut client, "a", 7, 1_000_000);
    let shadow = eventually("the shadow is asked", || {
        let explained = client.get("/v1/agents/a/explain").json();
        explained.get("shadow").cloned()
    });
    assert_eq!(shadow["number"], 7);
    assert_eq!(shadow["cadence"]["policy_revision"], revision("queue-pressure"));
    assert_eq!(shadow["difference"], "much_shorter");
    assert!(shadow["cadence"]["interval_ms"].as_f64().expect("a number") < 15_000.0);
    assert_eq!(shadow.get("health"), None, "it does not judge");
    let explained = client.get("/v1/agents/a/explain").json();
    let text: Vec<_> = explained["text"].as_array().expect("text").iter().collect();
    let line = text.iter().any(|line| line.as_str().expect("a line").starts_with("In shadow: p ("));
    assert!(line, "{text:?}");
}

#[test]
fn what_cannot_be_admitted_never_replaces_what_works() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    let before = client.get("/v1/policies").json();
    let refusals: [(&[u8], &str, &str); 4] = [
        (b"nonsense", "?mode=enforce", "policy_refused"),
        (component("exports-nothing"), "?mode=enforce", "policy_refused"),
        (component("ladder"), "", "policy_refused"),
        (b"", "", "malformed"),
    ];
    for (bytes, query, code) in refusals {
        let path = format!("/v1/policies/p{query}");
        assert_eq!(client.request("PUT", &path, WASM, bytes).problem(), code);
    }
    let answer = client.request("PUT", "/v1/policies/p", "content-type: text/html\r\n", b"x");
    assert_eq!(answer.problem(), "media_type");
    let mut client = Client::to(&gateway);
    let answer = client.request("PUT", "/v1/policies/builtin", WASM, component("steady"));
    assert_eq!(answer.problem(), "policy_refused");
    let answer = client.request("PUT", "/v1/policies/a%20b", WASM, b"x");
    assert_eq!(
        (answer.problem().as_str(), &answer.json()["field"]),
        ("field_invalid", &json!("name"))
    );
    let mut client = Client::to(&gateway);
    assert_eq!(client.get("/v1/policies").json(), before);
    assert_eq!(paced(&beat(&mut client, "a", 1, 0)), ("p", &*revision("steady")));
    // A body that says it is too large is not even read.
    let head = "PUT /v1/policies/p HTTP/1.1\r\nhost: localhost\r\ncontent-length: 67108865\r\n\r\n";
    client.send(head.as_bytes());
    let answer = client.answer();
    assert_eq!(
        (answer.problem().as_str(), &answer.json()["limit"]),
        ("too_large", &json!(67108864.0))
    );
}

#[test]
fn what_does_not_fit_to_the_state_is_a_conflict_and_changes_nothing() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    let conflict = |answer: Answer| {
        assert_eq!((answer.status, &*answer.problem()), (409, "policy_conflict"), "{answer:?}");
    };
    conflict(post(&mut client, "mode", json!({"mode": "enforce"})));
    conflict(post(&mut client, "canary", json!({"percent": 1})));
    conflict(post(&mut client, "rollback", json!({})));
    put(&mut client, "?mode=enforce", "steady");
    conflict(post(&mut client, "canary", json!({"percent": 1})));
    conflict(post(&mut client, "canary", json!({"percent": 1, "revision": revision("steady")})));
    conflict(client.request("DELETE", "/v1/policies/p", "", b""));
    for (body, field) in [
        (json!({"mode": "audit"}), "mode"),
        (json!({"mode": "enforce", "revision": "abc"}), "revision"),
        (json!({"mode": "enforce", "revision": "abcdef0123"}), "revision"),
        (json!({"mode": "enforce", "revision": "configured"}), "revision"),
    ] {
        let answer = post(&mut client, "mode", body);
        assert_eq!(answer.problem(), "field_invalid");
        assert_eq!(answer.json()["field"], field);
    }
    let answer = post(&mut client, "canary", json!({"percent": 101}));
    assert_eq!(
        (answer.problem().as_str(), &answer.json()["limit"]),
        ("field_invalid", &json!(100.0))
    );
    assert_eq!(post(&mut client, "canary", json!({})).problem(), "field_invalid");
    for path in ["/v1/policies/q", "/v1/policies/q/rollback", "/v1/policies/q/mode"] {
        let method = if path.ends_with('q') { "GET" } else { "POST" };
        let body = br#"{"mode":"enforce"}"#;
        let (headers, body) = if method == "GET" { ("", &b""[..]) } else { (JSON, &body[..]) };
        assert_eq!(client.request(method, path, headers, body).problem(), "not_found", "{path}");
    }
    assert_eq!(client.request("DELETE", "/v1/policies/q", "", b"").problem(), "not_found");
    assert_eq!(client.get("/v1/policies?all=1").problem(), "field_invalid");
}

#[test]
fn a_policy_of_the_configuration_goes_into_shadow_and_comes_back() {
    let gateway = start(
        "[[policies]]\nname = \"p\"\nreference = \"queue-pressure\"\n\
                         [[routes]]\ncadence = \"p\"\n",
    );
    let mut client = Client::to(&gateway);
    assert_eq!(paced(&beat(&mut client, "a", 1, 0)).0, "p");
    let shadowed = post(&mut client, "mode", json!({"mode": "shadow"})).json();
    assert_eq!((&shadowed["mode"], shadowed.get("enforced")), (&json!("shadow"), None));
    assert_eq!(paced(&beat(&mut client, "a", 2, 0)).0, "steady", "the default route decides");
    assert_eq!(
        post(&mut client, "mode", json!({"mode": "enforce"})).json()["enforced"],
        "configured"
    );
    assert_eq!(paced(&beat(&mut client, "a", 3, 0)).0, "p");
    // An upload takes its place until it is deleted.
    put(&mut client, "?mode=enforce", "steady");
    assert_eq!(paced(&beat(&mut client, "a", 4, 0)), ("p", &*revision("steady")));
    assert_eq!(client.request("DELETE", "/v1/policies/p", "", b"").status, 204);
    assert_eq!(paced(&beat(&mut client, "a", 5, 0)), ("p", &*revision("queue-pressure")));
    let names = client.get("/v1/policies").json()["policies"].clone();
    let names: Vec<_> =
        names.as_array().expect("policies").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["ladder", "p", "steady"]);
}

/// Where a gateway lives, with its journal, its policies and its configuration.
struct Home(Scratch);

impl Home {
    fn new(test: &str) -> Self {
        let scratch = Scratch::new(test);
        std::fs::write(scratch.path().join("pulsegate.toml"), UPLOADED).expect("a file");
        Self(scratch)
    }

    fn start(&self) -> Serving {
        let config = self.0.path().join("pulsegate.toml");
        let flags = ["--config", config.to_str().expect("a name in UTF-8")];
        Serving::start_durable(&self.0.path().join("data"), &flags)
    }

    fn policies(&self) -> std::path::PathBuf {
        self.0.path().join("data/policies")
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.policies().join(format!("{}.wasm", Digest::of(component(name))))
    }
}

fn kill(gateway: Serving) {
    gateway.signal(rustix::process::Signal::KILL);
    assert_eq!(gateway.exit_code(), None, "it was killed");
}

#[test]
fn a_killed_gateway_comes_back_with_what_was_enforced_and_on_trial() {
    let home = Home::new("policies-restart");
    let gateway = home.start();
    let mut client = gateway.client();
    put(&mut client, "?mode=enforce", "steady");
    put(&mut client, "?mode=enforce", "remembers");
    put(&mut client, "?canary_percent=12.5", "queue-pressure");
    let ids = 0..200;
    let canaries = |client: &mut Client, sequence| -> Vec<u64> {
        let of = |id: &u64| {
            let directive = beat(client, &format!("agent-{id}"), sequence, 0);
            paced(&directive).1 == revision("queue-pressure")
        };
        ids.clone().filter(of).collect()
    };
    let before = (client.get("/v1/policies/p").json()["trial"].clone(), canaries(&mut client, 1));
    kill(gateway);
    let gateway = home.start();
    let mut client = gateway.client();
    let view = client.get("/v1/policies/p").json();
    assert_eq!(view["enforced"], Digest::of(component("remembers")).to_string());
    assert_eq!((view["trial"].clone(), canaries(&mut client, 2)), before);
    post(&mut client, "rollback", json!({}));
    post(&mut client, "rollback", json!({}));
    kill(gateway);
    let gateway = home.start();
    assert_eq!(paced(&beat(&mut gateway.client(), "a", 1, 0)), ("p", &*revision("steady")));
}

#[test]
fn what_is_damaged_on_the_disk_gives_way_and_never_stops_the_gateway() {
    let home = Home::new("policies-damaged");
    let gateway = home.start();
    let mut client = gateway.client();
    put(&mut client, "?mode=enforce", "steady");
    put(&mut client, "?mode=enforce", "queue-pressure");
    kill(gateway);
    let good = std::fs::read(home.file("queue-pressure")).expect("a component");
    std::fs::write(home.file("queue-pressure"), &good[..good.len() / 2]).expect("damage");
    let gateway = home.start();
    let mut client = gateway.client();
    assert_eq!(paced(&beat(&mut client, "a", 1, 0)), ("p", &*revision("steady")));
    let why = shown(&mut client, "queue-pressure")["taken_back"].clone();
    assert!(why.as_str().expect("a reason").contains("another digest"), "{why}");
    // Another upload heals it.
    put(&mut client, "?mode=enforce", "queue-pressure");
    assert_eq!(paced(&beat(&mut client, "a", 2, 0)), ("p", &*revision("queue-pressure")));
    kill(gateway);
    std::fs::remove_file(home.file("queue-pressure")).expect("it is there");
    std::fs::remove_file(home.file("steady")).expect("it is there");
    std::fs::write(home.policies().join("manifest"), "nonsense").expect("damage");
    let gateway = home.start();
    let mut client = gateway.client();
    assert_eq!(paced(&beat(&mut client, "a", 3, 0)).0, "steady", "the default route decides");
    put(&mut client, "?mode=enforce", "steady");
    assert_eq!(paced(&beat(&mut client, "a", 4, 0)), ("p", &*revision("steady")));
}

#[test]
fn a_disk_that_takes_nothing_refuses_an_upload_and_changes_nothing() {
    let home = Home::new("policies-full");
    std::fs::create_dir_all(home.0.path().join("data")).expect("a directory");
    std::fs::write(home.policies(), "a file where the directory would be").expect("a file");
    let gateway = home.start();
    let mut client = gateway.client();
    let refused = put(&mut client, "?mode=enforce", "steady");
    assert_eq!((refused.status, &*refused.problem()), (503, "journal_unavailable"));
    assert_eq!(client.get("/v1/policies/p").json()["mode"], "none");
    assert_eq!(paced(&beat(&mut client, "a", 1, 0)).0, "steady");
}

#[test]
fn a_reload_keeps_what_was_uploaded_and_refuses_settings_that_it_does_not_take() {
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    put(&mut client, "?mode=enforce", "steady");
    let with =
        |settings: &str| crate::support::config(&UPLOADED.replace("uploaded = true", settings));
    let before = shown(&mut client, "steady")["calls"].clone();
    assert_eq!(before, 0);
    beat(&mut client, "a", 1, 0);
    gateway.reload(&with("uploaded = true")).expect("the same again");
    assert_eq!(shown(&mut client, "steady")["calls"], 1, "it is the very same");
    let refused = gateway.reload(&with("uploaded = true\nsettings = { nonsense = 1 }"));
    assert!(refused.is_err());
    assert_eq!(paced(&beat(&mut client, "a", 2, 0)), ("p", &*revision("steady")));
    gateway.reload(&with("reference = \"queue-pressure\"")).expect("another source");
    assert_eq!(paced(&beat(&mut client, "a", 3, 0)), ("p", &*revision("steady")), "uploads win");
    assert_eq!(client.request("DELETE", "/v1/policies/p", "", b"").status, 204);
    assert_eq!(paced(&beat(&mut client, "a", 4, 0)), ("p", &*revision("queue-pressure")));
}

#[test]
fn uploads_that_nobody_needs_are_forgotten_and_the_total_is_bounded() {
    let gateway = start(&format!("{UPLOADED}[rollout]\nrevisions = 1\nmax_bytes = 1000000\n"));
    let mut client = Client::to(&gateway);
    for name in ["steady", "queue-pressure", "remembers", "traps-rarely"] {
        assert_eq!(put(&mut client, "?mode=enforce", name).status, 201, "{name}");
    }
    let view = client.get("/v1/policies/p").json();
    let kept: Vec<_> =
        view["revisions"].as_array().expect("revisions").iter().map(|one| &one["role"]).collect();
    assert_eq!(kept, ["enforced", "before"]);
}

#[test]
fn the_operators_token_guards_uploads() {
    let scratch = Scratch::new("policies-token");
    let token = scratch.path().join("token");
    std::fs::write(&token, "a-token-that-is-long-enough").expect("a file");
    let gateway = start(&format!("admin_token_file = {token:?}\n{UPLOADED}"));
    let mut client = Client::to(&gateway);
    let answer = client.request("PUT", "/v1/policies/p", WASM, b"x");
    assert_eq!(answer.problem(), "unauthenticated");
    let mut client = Client::to(&gateway);
    let headers = format!("{WASM}authorization: Bearer a-token-that-is-long-enough\r\n");
    let answer = client.request("PUT", "/v1/policies/p", &headers, component("steady"));
    assert_eq!(answer.status, 201);
    drop::<Gateway>(gateway);
    let gateway = start(UPLOADED);
    let mut client = Client::to(&gateway);
    let page = format!("{WASM}origin: http://example.org\r\n");
    let answer = client.request("PUT", "/v1/policies/p", &page, b"x");
    assert_eq!(answer.problem(), "forbidden");
}

#[test]
fn the_commands_roll_out_a_policy_and_take_it_back() {
    let home = Home::new("policies-cli");
    let gateway = home.start();
    let file = |name: &str| {
        let path = home.0.path().join(format!("{name}.wasm"));
        std::fs::write(&path, component(name)).expect("a file");
        path.to_str().expect("a name in UTF-8").to_owned()
    };
    let (steady, queue) = (file("steady"), file("queue-pressure"));
    let put = gateway.ask(&["policy", "put", "p", &steady, "--enforce"]);
    assert_eq!(put["enforced"], Digest::of(component("steady")).to_string());
    assert_eq!(gateway.ask(&["policy", "put", "p", &queue])["trial"]["mode"], "shadow");
    let canary = gateway.ask(&["policy", "canary", "p", "--percent", "12.5"]);
    assert_eq!(canary["trial"]["percent"], 12.5);
    let labelled = gateway.ask(&["policy", "canary", "p", "--label", "ring:0"]);
    assert_eq!(labelled["trial"]["labels"], json!({"ring": "0"}));
    let enforced = gateway.ask(&["policy", "mode", "p", "enforce"]);
    assert_eq!(enforced["before"], Digest::of(component("steady")).to_string());
    assert_eq!(gateway.ask(&["policy", "rollback", "p"])["enforced"], put["enforced"]);
    let listed = gateway.ask(&["policy", "list"]);
    assert_eq!(listed["policies"].as_array().expect("policies").len(), 3);
    let said = |args: &[&str]| pulsegate(&[&["policy"], args, &["--url", &gateway.url]].concat());
    let shown = said(&["show", "p"]);
    let text = String::from_utf8(shown.stdout).expect("text");
    assert!(text.starts_with(&format!("p enforces {}", revision("steady"))), "{text}");
    let refused = said(&["put", "p", "Cargo.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("policy_refused"), "{}", stderr(&refused));
    assert_eq!(said(&["rollback", "p"]).status.code(), Some(0));
    assert_eq!(said(&["rollback", "p"]).status.code(), Some(1));
    assert_eq!(said(&["delete", "p"]).status.code(), Some(1), "a route needs it");
    assert_eq!(said(&["put", "p", "no-such-file"]).status.code(), Some(64));
}

#[test]
fn compiled_code_is_kept_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new("policies-code");
    let compiled = home.0.path().join("data/compiled");
    kill(home.start());
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&compiled), mode(&compiled.join("key"))), (0o700, 0o600));
    // Others could have written there: it is not used, and the gateway starts.
    std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(0o777)).expect("ours");
    let gateway = home.start();
    assert_eq!(paced(&beat(&mut gateway.client(), "a", 1, 0)).0, "steady");
}
