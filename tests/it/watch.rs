//! The watch: what happened, in order, as a stream and by long poll, and never a silent gap.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pulsegate_gateway::server::Gateway;
use serde_json::{Value, json};

use crate::process::{Scratch, Serving, Watching, eventually};
use crate::support::{CREDENTIALS, Client, start};

/// Patience with an event that must come; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of server-sent events.
struct Stream {
    lines: std::io::Lines<BufReader<TcpStream>>,
}

/// One event of a stream.
#[derive(Debug)]
struct Sent {
    id: String,
    kind: String,
    data: Value,
}

impl Stream {
    /// Opens a stream, and takes the greeting. Over HTTP/1.0, where a body comes as it is.
    fn open(address: SocketAddr, query: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "GET /v1/watch{query} HTTP/1.0\r\nhost: localhost\r\naccept: text/event-stream\r\n\
             {headers}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("bytes are taken");
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next().expect("a status").expect("a line");
        assert!(status.contains(" 200 "), "{status}");
        let head: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        Self { lines }
    }

    /// One that was greeted: it sees whatever happens from now on.
    fn greeted(address: SocketAddr, query: &str, headers: &str) -> (Self, Sent) {
        let mut stream = Self::open(address, query, headers);
        let ready = stream.next().expect("a greeting");
        assert_eq!((ready.kind.as_str(), &ready.data), ("ready", &json!({})));
        (stream, ready)
    }

    /// The next event; `None` at the end of the stream.
    fn next(&mut self) -> Option<Sent> {
        let (mut id, mut kind, mut data) = (String::new(), String::new(), None);
        loop {
            let line = self.lines.next()?.expect("a line");
            match line.split_once(": ") {
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("event", text)) => text.clone_into(&mut kind),
                Some(("data", text)) => data = Some(serde_json::from_str(text).expect("JSON")),
                _ if line.is_empty() => match data.take() {
                    Some(data) => return Some(Sent { id, kind, data }),
                    None => kind.clear(),
                },
                _ => {}
            }
        }
    }

    /// Reads on until an event of this kind.
    fn until(&mut self, kind: &str) -> Sent {
        loop {
            let sent = self.next().unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if sent.kind == kind {
                return sent;
            }
        }
    }
}

fn place(id: &str) -> (u32, u64) {
    let (epoch, seq) = id.split_once('-').expect("an id");
    (epoch.parse().expect("an epoch"), seq.parse().expect("a number"))
}

fn beat(client: &mut Client, body: &Value) {
    let answer = client.beat(&body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until watchers are shown what has happened: where nothing is kept, an answer does not wait
/// for that.
fn settle(gateway: &Gateway) {
    let mut client = Client::to(gateway);
    eventually("nothing waits to be shown", || {
        (client.get("/v1/journal").json()["queued_events"] == 0).then_some(())
    });
}

/// Events that are there already, by long poll.
fn kept(gateway: &Gateway, query: &str) -> Vec<Value> {
    settle(gateway);
    let mut client = Client::to(gateway);
    let (mut all, mut since) = (Vec::new(), "0-0".to_owned());
    loop {
        let answer = client.get(&format!("/v1/watch?wait=0&since={since}{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let events = page["events"].as_array().expect("events").clone();
        page["next"].as_str().expect("a cursor").clone_into(&mut since);
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

fn agents(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["agent_id"].as_str()).collect()
}

#[test]
fn what_happens_is_streamed_with_ids_that_follow_each_other() {
    let gateway = start("");
    let (mut stream, ready) = Stream::greeted(gateway.addresses().agents, "", "");
    let mut client = Client::to(&gateway);
    for id in ["a", "b", "c"] {
        beat(&mut client, &json!({"agent_id": id, "incarnation": 1, "sequence": 1}));
    }
    assert_eq!(client.request("POST", "/v1/agents/b/pause", "", b"").status, 200);
    let mut last = place(&ready.id);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(kind, _)| kind != "paused") {
        let sent = stream.next().expect("it goes on");
        assert_eq!(place(&sent.id), (last.0, last.1 + 1), "{sent:?}");
        last = place(&sent.id);
        assert_eq!((&sent.data["epoch"], &sent.data["seq"]), (&json!(last.0), &json!(last.1)));
        assert_eq!(sent.data["kind"], sent.kind.as_str());
        seen.push((sent.kind, sent.data["agent_id"].as_str().unwrap_or_default().to_owned()));
    }
    let registered: Vec<&str> = seen
        .iter()
        .filter(|(kind, _)| kind == "registered")
        .map(|(_, agent)| agent.as_str())
        .collect();
    assert_eq!(registered, ["a", "b", "c"]);
    assert_eq!(seen.last().map(|(_, agent)| agent.as_str()), Some("b"));
}

#[test]
fn a_stream_goes_on_where_it_was_over_a_kill_and_a_restart() {
    let scratch = Scratch::new("restart");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let address = gateway.address().parse().expect("an address");
    let (mut stream, _) = Stream::greeted(address, "?since=0-0", "");
    let mut client = Client::connect(address);
    beat(&mut client, &json!({"agent_id": "before", "incarnation": 1, "sequence": 1}));
    let seen = stream.until("registered");
    beat(&mut client, &json!({"agent_id": "unseen", "incarnation": 1, "sequence": 1}));
    // Killed, not shut down: what was answered is durable all the same.
    drop((gateway, stream));
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let address = gateway.address().parse().expect("an address");
    let header = format!("last-event-id: {}\r\n", seen.id);
    let (mut stream, ready) = Stream::greeted(address, "", &header);
    assert_eq!(ready.id, seen.id);
    beat(
        &mut Client::connect(address),
        &json!({"agent_id": "after", "incarnation": 1, "sequence": 1}),
    );
    let (mut last, mut told) = (place(&seen.id), Vec::new());
    while told.last().is_none_or(|name| name != "registered after") {
        let sent = stream.next().expect("it goes on");
        let now = place(&sent.id);
        assert_eq!(now.1, last.1 + 1, "a gap before {sent:?}");
        assert!(now.0 >= last.0, "{sent:?}");
        last = now;
        let agent = sent.data["agent_id"].as_str().unwrap_or_default();
        told.push(format!("{} {agent}", sent.kind).trim_end().to_owned());
    }
    let at = |wanted: &str| told.iter().position(|name| name == wanted);
    assert!(at("registered unseen").is_some(), "{told:?}");
    assert!(at("registered unseen") < at("gateway_started"), "{told:?}");
    assert_eq!(last.0, place(&seen.id).0 + 1, "the next epoch");
}

#[test]
fn every_filter_lets_through_what_it_names_and_nothing_else() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    beat(&mut client, &json!({"agent_id": "plain", "incarnation": 1, "sequence": 1}));
    beat(
        &mut client,
        &json!({"agent_id": "eu", "incarnation": 1, "sequence": 1, "class": "critical",
                "labels": {"region": "eu"}}),
    );
    beat(
        &mut client,
        &json!({"agent_id": "us", "incarnation": 1, "sequence": 1, "labels": {"region": "us"}}),
    );
    assert_eq!(client.request("DELETE", "/v1/agents/us", "", b"").status, 204);
    let all = kept(&gateway, "");
    assert!(all.iter().any(|event| event["kind"] == "gateway_started"));
    let registered = kept(&gateway, "&kind=registered");
    assert_eq!(agents(&registered), ["plain", "eu", "us"]);
    let either = kept(&gateway, "&kind=registered&kind=stopped");
    assert_eq!(agents(&either), ["plain", "eu", "us", "us"]);
    assert_eq!(agents(&kept(&gateway, "&state=stopped")), ["us"]);
    let critical = kept(&gateway, "&class=critical");
    assert!(!critical.is_empty() && agents(&critical).iter().all(|agent| *agent == "eu"));
    let labelled = kept(&gateway, "&label=region:eu");
    assert!(!labelled.is_empty() && agents(&labelled).iter().all(|agent| *agent == "eu"));
    let of_one = kept(&gateway, "&agent=plain");
    assert!(!of_one.is_empty() && agents(&of_one).iter().all(|agent| *agent == "plain"));
    assert_eq!(agents(&kept(&gateway, "&kind=registered&label=region:us")), ["us"]);
    for wrong in ["&state=dead", "&colour=red", "&label=region", "&tenant=nobody"] {
        let answer = client.get(&format!("/v1/watch?since=0-0&wait=0{wrong}"));
        assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"), "{wrong}");
    }
}

#[test]
fn a_watcher_of_one_tenant_sees_nothing_of_another() {
    let gateway = start(CREDENTIALS);
    let mut client = Client::to(&gateway);
    for colour in ["red", "blue"] {
        let header = format!("authorization: Bearer token-of-the-{colour}-tenant\r\n");
        let body = br#"{"agent_id":"a","incarnation":1,"sequence":1}"#;
        assert_eq!(client.request("POST", "/v1/heartbeats", &header, body).status, 200);
    }
    let red = kept(&gateway, "&tenant=red");
    assert!(!red.is_empty() && red.iter().all(|event| event["tenant"] == "red"), "{red:?}");
    let both = kept(&gateway, "&kind=registered");
    let tenants: Vec<&str> = both.iter().filter_map(|event| event["tenant"].as_str()).collect();
    assert_eq!(tenants, ["red", "blue"]);
}

#[test]
fn what_cannot_be_shown_is_said_in_a_stream_and_answered_with_410() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    beat(&mut client, &json!({"agent_id": "a", "incarnation": 1, "sequence": 1}));
    // An event of another life of this journal, and one that has not happened.
    for foreign in ["9-1", "1-999999"] {
        settle(&gateway);
        let header = format!("last-event-id: {foreign}\r\n");
        let (mut stream, _) = Stream::greeted(gateway.addresses().agents, "", &header);
        let reset = stream.next().expect("a reset");
        assert_eq!(reset.kind, "reset", "{foreign}");
        assert_eq!(reset.data["snapshot"], "/v1/agents");
        assert_eq!(place(reset.data["oldest"].as_str().expect("a cursor")), (1, 1));
        let id = format!("of-{foreign}");
        beat(&mut client, &json!({"agent_id": id, "incarnation": 1, "sequence": 1}));
        let next = stream.until("registered");
        assert_eq!(next.data["agent_id"], id);
        let answer = client.get(&format!("/v1/watch?since={foreign}&wait=0"));
        assert_eq!((answer.status, answer.problem().as_str()), (410, "gone"));
        assert!(answer.json()["detail"].as_str().expect("a text").contains("/v1/agents"));
    }
    for wrong in ["x", "1", "1-", "-1", "1-1-1", "+1-1"] {
        let answer = client.get(&format!("/v1/watch?since={}&wait=0", wrong.replace('+', "%2B")));
        assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"), "{wrong}");
    }
}

#[test]
fn whoever_lists_and_then_watches_misses_nothing() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    beat(&mut client, &json!({"agent_id": "listed", "incarnation": 1, "sequence": 1}));
    let page = eventually("the listing and the watch agree", || {
        let page = client.get("/v1/agents").json();
        let cursor = place(page["watch"].as_str().expect("a cursor"));
        (cursor.1 >= 2).then_some(page)
    });
    assert_eq!(page["agents"][0]["agent_id"], "listed");
    beat(&mut client, &json!({"agent_id": "later", "incarnation": 1, "sequence": 1}));
    let since = page["watch"].as_str().expect("a cursor");
    let answer = client.get(&format!("/v1/watch?since={since}&wait=20&kind=registered"));
    assert_eq!(agents(answer.json()["events"].as_array().expect("events")), ["later"]);
}

#[test]
fn a_long_poll_waits_for_what_it_wants_and_no_longer_than_it_says() {
    let gateway = start("");
    let address = gateway.addresses().agents;
    let asked = std::thread::spawn(move || {
        Client::connect(address).get("/v1/watch?since=0-0&wait=25&kind=stopped").json()
    });
    let mut client = Client::to(&gateway);
    beat(&mut client, &json!({"agent_id": "a", "incarnation": 1, "sequence": 1}));
    assert_eq!(client.request("DELETE", "/v1/agents/a", "", b"").status, 204);
    let page = asked.join().expect("an answer");
    assert_eq!(agents(page["events"].as_array().expect("events")), ["a"]);
    let next = page["next"].as_str().expect("a cursor");
    let answer = client.get(&format!("/v1/watch?since={next}&wait=1&kind=failed"));
    assert_eq!((answer.status, &answer.json()["events"]), (200, &json!([])));
    let answer = client.get("/v1/watch?wait=26");
    assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"));
}

#[test]
fn a_stream_on_which_nothing_happens_says_that_it_lives_and_is_not_idle() {
    // The stream says so after 15 s; a connection that were idle would have ended long before.
    let gateway = start("[limits]\nidle_timeout_ms = 1000\n");
    let (mut stream, _) = Stream::greeted(gateway.addresses().agents, "?kind=stopped", "");
    let line = stream.lines.next().expect("the stream goes on").expect("a line");
    assert_eq!(line, ": alive");
    let id = stream.lines.next().expect("the stream goes on").expect("a line");
    assert!(id.starts_with("id: 1-"), "{id}");
    let mut client = Client::to(&gateway);
    beat(&mut client, &json!({"agent_id": "a", "incarnation": 1, "sequence": 1}));
    assert_eq!(client.request("DELETE", "/v1/agents/a", "", b"").status, 204);
    assert_eq!(stream.until("stopped").data["agent_id"], "a");
}

#[test]
fn a_shutdown_ends_streams_and_long_polls_at_once() {
    let gateway = start("");
    let address = gateway.addresses().agents;
    let (mut stream, _) = Stream::greeted(address, "", "");
    let polls = std::thread::spawn(move || Client::connect(address).get("/v1/watch?wait=25"));
    eventually("both watch", || {
        let metrics = Client::connect(address).get("/metrics").body;
        let metrics = String::from_utf8(metrics).expect("text");
        metrics.lines().any(|line| line == "pulsegate_watchers 2").then_some(())
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let began = std::time::Instant::now();
    runtime.block_on(gateway.shutdown(PATIENCE));
    assert!(began.elapsed() < PATIENCE, "nobody held the shutdown up");
    while stream.next().is_some() {}
    assert_eq!(polls.join().expect("an answer").status, 200);
}

/// Registers agents in batches of a thousand.
fn register(gateway: &Gateway, name: &str, batches: usize) {
    let mut client = Client::to(gateway);
    for batch in 0..batches {
        let heartbeats: Vec<Value> = (0..1_000)
            .map(|agent| {
                let id = format!("{name}-{batch}-{agent}");
                json!({"agent_id": id, "incarnation": 1, "sequence": 1})
            })
            .collect();
        let body = json!({ "heartbeats": heartbeats }).to_string();
        let answer = client.request("POST", "/v1/heartbeats/batch", "", body.as_bytes());
        assert_eq!(answer.status, 200);
        let results = answer.json();
        let results = results["results"].as_array().expect("results");
        assert!(results.iter().all(|item| item["directive"].is_object()), "{batch}");
    }
}

/// Reads until `wanted` of these events were seen or told to be missing; says how many came. Ids
/// must follow each other, up to a reset.
fn read_all(stream: &mut Stream, mut last: (u32, u64), end: u64) -> u64 {
    let mut seen = 0;
    while last.1 < end {
        let sent = stream.next().expect("it goes on");
        let now = place(&sent.id);
        if sent.kind == "reset" {
            assert!(now.1 > last.1, "{sent:?}");
        } else {
            assert_eq!(now.1, last.1 + 1, "a silent gap before {sent:?}");
            seen += 1;
        }
        last = now;
    }
    seen
}

/// Room for many agents at once.
const CROWD: &str = "[limits]\nunknown_rate_per_second = 1000000\nunknown_burst = 1000000\n";

#[test]
fn a_watcher_that_reads_nothing_holds_nobody_up_and_is_told_what_it_missed() {
    const AGENTS: u64 = 20_000;
    let gateway = start(CROWD);
    let address = gateway.addresses().agents;
    let (mut slow, slow_from) = Stream::greeted(address, "", "");
    let (mut quick, quick_from) = Stream::greeted(address, "", "");
    let from = place(&quick_from.id);
    let reader = std::thread::spawn(move || read_all(&mut quick, from, from.1 + AGENTS));
    // More than what is kept in memory for watchers, and than what sockets hold.
    register(&gateway, "a", 20);
    let seen = reader.join().expect("it keeps up, or is told");
    assert!(seen > 0);
    let from = place(&slow_from.id);
    let missed = read_all(&mut slow, from, from.1 + AGENTS);
    assert!(missed > 0, "what its connection held came first");
}

#[test]
fn many_watchers_all_see_everything_beside_heartbeats() {
    const WATCHERS: usize = 100;
    let gateway = start(CROWD);
    let address = gateway.addresses().agents;
    let streams: Vec<(Stream, Sent)> =
        (0..WATCHERS).map(|_| Stream::greeted(address, "", "")).collect();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|(mut stream, ready)| {
            let from = place(&ready.id);
            std::thread::spawn(move || read_all(&mut stream, from, from.1 + 2_000))
        })
        .collect();
    register(&gateway, "a", 2);
    for reader in readers {
        assert_eq!(reader.join().expect("it saw them"), 2_000, "all of them are kept");
    }
}

#[test]
fn the_command_prints_a_line_of_json_for_each_event_across_a_restart() {
    let scratch = Scratch::new("command");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let address = gateway.address();
    let mut watching = Watching::start(&["--since", "0-0", "--url", &gateway.url]);
    beat(
        &mut Client::connect(address.parse().expect("an address")),
        &json!({"agent_id": "a", "incarnation": 1, "sequence": 1}),
    );
    let registered = watching.until("registered");
    assert_eq!(registered["agent_id"], "a");
    drop(gateway);
    let _gateway = Serving::start_durable(scratch.path(), &["--listen", &address]);
    let started = watching.until("gateway_started");
    assert!(started["seq"].as_u64() > registered["seq"].as_u64(), "{started}");
    assert_eq!(started["epoch"].as_u64(), registered["epoch"].as_u64().map(|epoch| epoch + 1));
}
