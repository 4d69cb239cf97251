//! What a gateway remembers: over an end in order, over SIGKILL at any moment, and with a disk that
//! takes nothing.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Scratch, Serving, eventually, pulsegate, stderr};

/// Agents whose silence is noticed within seconds.
const QUICK: &str = "[classes.quick]\ninterval_ms = 1000\ndetect_within_ms = 3000\n\
                     suspect_grace_ms = 500\nfail_grace_ms = 600\nact_grace_ms = 600\n\
                     [classes.normal]\ninterval_ms = 30000\n";

/// Kills of the long test. More: `PULSEGATE_TEST_KILLS=1000`.
const KILLS: u32 = 12;

/// Where a gateway lives, with its journal and its configuration.
struct Home(Scratch);

impl Home {
    fn new(test: &str) -> Self {
        let scratch = Scratch::new(test);
        std::fs::write(scratch.path().join("pulsegate.toml"), QUICK).unwrap();
        Self(scratch)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn start(&self) -> Serving {
        let config = self.0.path().join("pulsegate.toml");
        Serving::start_durable(&self.data(), &["--config", config.to_str().unwrap()])
    }

    /// What a gateway says that cannot start here.
    fn refused(&self) -> String {
        let data = self.data();
        let data = data.to_str().unwrap();
        let output = pulsegate(&["serve", "--listen", "127.0.0.1:0", "--data", data]);
        assert!(!output.status.success());
        stderr(&output)
    }
}

fn kill(gateway: Serving) {
    gateway.signal(Signal::KILL);
    assert_eq!(gateway.exit_code(), None, "it was killed");
}

fn stop(gateway: Serving) {
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
}

fn agent(gateway: &Serving, id: &str) -> Value {
    let answer = gateway.client().get(&format!("/v1/agents/{id}"));
    assert_eq!(answer.status, 200, "{id}: {answer:?}");
    answer.json()
}

/// Everything that has happened since the journal was made, in order and without a gap.
fn events(gateway: &Serving) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut since = "0-0".to_owned();
    loop {
        let page = gateway.client().get(&format!("/v1/watch?wait=0&since={since}")).json();
        let events = page["events"].as_array().expect("events").clone();
        if events.is_empty() {
            break;
        }
        all.extend(events);
        since = page["next"].as_str().expect("a cursor").to_owned();
    }
    for (index, event) in all.iter().enumerate() {
        assert_eq!(event["seq"], json!(index + 1), "numbers have no gap and none comes twice");
    }
    let times: Vec<u64> = all.iter().map(|event| event["at_ms"].as_u64().unwrap()).collect();
    let epochs: Vec<u64> = all.iter().map(|event| event["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    // Threads read the clock before they take their shard's lock.
    let slack = 1_000;
    assert!(times.windows(2).all(|pair| pair[1] + slack >= pair[0]), "core time never goes back");
    all
}

/// A client that takes no for an answer: the gateway may be gone at any moment.
struct Hopeful(TcpStream);

impl Hopeful {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(stream))
    }

    /// The status of the answer; an error when there was none.
    fn post(&mut self, path: &str, body: &str) -> io::Result<u16> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut rest = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        self.0.read_exact(&mut rest)?;
        Ok(head[9..12].parse().unwrap())
    }
}

/// What was answered, and so must be there for ever: the newest incarnation of each agent.
type Acknowledged = Mutex<BTreeMap<String, u64>>;

/// Registers agents and restarts them until the gateway is gone.
fn work(address: &str, name: &str, acknowledged: &Acknowledged) -> io::Result<()> {
    let mut client = Hopeful::connect(address)?;
    for number in 0.. {
        for incarnation in 1..=2 {
            let id = format!("{name}-{number}");
            let body = json!({"agent_id": id, "incarnation": incarnation, "sequence": 1});
            let status = client.post("/v1/heartbeats", &body.to_string())?;
            match status {
                200 => drop(acknowledged.lock().unwrap().insert(id, incarnation)),
                // It was slower than a second: then nothing was promised.
                503 => {}
                other => panic!("{id}: {other}"),
            }
        }
    }
    Ok(())
}

/// A number that is as good as drawn, from the number of the round.
fn drawn(round: u32) -> u64 {
    let mut z = u64::from(round).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn whatever_was_answered_survives_a_kill_at_any_moment() {
    let kills = std::env::var("PULSEGATE_TEST_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills = kills.unwrap_or(KILLS);
    let home = Home::new("kills");
    let acknowledged = Acknowledged::default();
    for round in 0..kills {
        let gateway = home.start();
        let address = gateway.address();
        let (address, acknowledged) = (&address, &acknowledged);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let name = format!("r{round}-t{thread}");
                scope.spawn(move || work(address, &name, acknowledged).unwrap_err());
            }
            std::thread::sleep(Duration::from_millis(drawn(round) % 400));
            kill(gateway);
        });
    }
    let gateway = home.start();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > kills as usize, "{} were answered", acknowledged.len());
    let events = events(&gateway);
    let mut registered: BTreeMap<&str, u32> = BTreeMap::new();
    let mut incarnations: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in &events {
        let Some(id) = event["agent_id"].as_str() else { continue };
        match event["kind"].as_str().unwrap() {
            "registered" => *registered.entry(id).or_default() += 1,
            "restarted" => {}
            other => panic!("{other}: {event}: nobody was silent for as long as that"),
        }
        let incarnation = event["standing"]["incarnation"].as_u64().unwrap();
        incarnations.entry(id).or_default().push(incarnation);
    }
    for (id, newest) in &acknowledged {
        assert_eq!(registered.get(id.as_str()), Some(&1), "{id} was answered");
        let seen = &incarnations[id.as_str()];
        assert!(seen.is_sorted() && seen.last() >= Some(newest), "{id}: {seen:?} of {newest}");
    }
    // A start counts before anything is served, even where it was killed before it could tell.
    let starts: Vec<&Value> =
        events.iter().filter(|event| event["kind"] == "gateway_started").collect();
    assert_eq!(starts.last().map(|start| &start["epoch"]), Some(&json!(kills + 1)));
    assert!(starts.windows(2).all(|pair| pair[0]["epoch"].as_u64() < pair[1]["epoch"].as_u64()));
    // What is listed is what was recorded, no more and no less.
    let glance = gateway.client().get("/health/agents").json();
    assert_eq!(glance["total"], json!(registered.len()));
    for (id, newest) in acknowledged.iter().take(200) {
        assert!(agent(&gateway, id)["incarnation"].as_u64() >= Some(*newest), "{id}");
    }
}

/// One agent that beats as it is told, over whatever becomes of the gateway.
fn beat(gateway: &Serving, id: &str, sequence: u64, more: &Value) -> Value {
    let mut body =
        json!({"agent_id": id, "class": "quick", "incarnation": 1, "sequence": sequence});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = gateway.client().beat(&body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn kinds_of(events: &[Value], id: &str) -> Vec<String> {
    let of = events.iter().filter(|event| event["agent_id"] == id);
    of.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn nobody_fails_for_time_in_which_nobody_listened_and_who_died_meanwhile_is_found() {
    let home = Home::new("absence");
    let gateway = home.start();
    for id in ["lives", "dies"] {
        beat(&gateway, id, 1, &json!({}));
    }
    kill(gateway);
    // More than twice what it takes an agent of this class to fail.
    std::thread::sleep(Duration::from_millis(3_500));
    let gateway = home.start();
    let began = Instant::now();
    assert_eq!(agent(&gateway, "lives")["state"], "alive");
    assert_eq!(agent(&gateway, "dies")["state"], "alive");
    let mut sequence = 1;
    eventually("the one that died is found", || {
        sequence += 1;
        beat(&gateway, "lives", sequence, &json!({}));
        std::thread::sleep(Duration::from_millis(800));
        let state = agent(&gateway, "dies")["state"].clone();
        (state == "failed").then_some(())
    });
    // In force 1 s, grace 600 ms, and a spread of less than a second, all after the restart.
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let events = events(&gateway);
    let silent: Vec<_> = kinds_of(&events, "dies");
    assert!(
        silent.ends_with(&["suspected".into(), "failed".into(), "incident_opened".into()])
            || silent.contains(&"failed".to_owned()),
        "{silent:?}"
    );
    for kind in kinds_of(&events, "lives") {
        assert!(!matches!(kind.as_str(), "suspected" | "failed"), "{kind}");
    }
    let started = events.iter().rfind(|event| event["kind"] == "gateway_started").unwrap();
    let failed = events.iter().find(|event| event["kind"] == "failed").unwrap();
    let number = |event: &Value, field: &str| event[field].as_u64().unwrap();
    assert!(number(failed, "last_receipt_ms") >= number(started, "at_ms"), "{failed}");
    let due = number(failed, "last_receipt_ms") + number(failed, "in_force_ms");
    assert!(number(failed, "at_ms") >= due + number(failed, "grace_ms"), "{failed}");
}

#[test]
fn what_an_agent_was_told_and_what_it_said_survive_an_end_in_order() {
    let home = Home::new("order");
    let gateway = home.start();
    let told = beat(&gateway, "a", 1, &json!({"labels": {"region": "eu"}, "status": "degraded"}));
    let quick = beat(&gateway, "a", 2, &json!({"directive_seen": told["number"]}));
    assert!(quick["next_interval_ms"].as_u64() <= Some(1_000));
    assert_eq!(gateway.client().request("POST", "/v1/agents/a/pause", "", b"").status, 200);
    assert_eq!(
        gateway
            .client()
            .request("PUT", "/v1/agents/b", "content-type: application/json\r\n", b"{}")
            .status,
        201
    );
    let before: Vec<Value> = ["a", "b"].map(|id| agent(&gateway, id)).into();
    stop(gateway);
    let gateway = home.start();
    for (id, before) in ["a", "b"].into_iter().zip(before) {
        let after = agent(&gateway, id);
        for field in [
            "state",
            "health",
            "class",
            "labels",
            "incarnation",
            "interval_ms",
            "in_force_ms",
            "flags",
        ] {
            assert_eq!(after[field], before[field], "{id}: {field}");
        }
    }
    let old = json!({"agent_id": "a", "incarnation": 0, "sequence": 1, "class": "quick"});
    assert_eq!(gateway.client().beat(&old.to_string()).status, 200, "the current incarnation");
    let events = events(&gateway);
    let ended = events.iter().find(|event| event["kind"] == "gateway_ended").expect("an end");
    assert_eq!(ended["agents"], 2);
    assert_eq!(ended["digest"].as_str().map(str::len), Some(16));
    let down = events.last().expect("a start");
    assert_eq!(down["kind"], "gateway_started");
    assert_eq!(down["agents"], 2);
}

#[test]
fn two_gateways_never_use_one_journal() {
    let home = Home::new("lock");
    let first = home.start();
    let said = home.refused();
    assert!(said.contains("in use by process"), "{said}");
    stop(first);
    stop(home.start());
}

/// A gateway whose files may grow to so many blocks of 512 bytes.
fn start_within(blocks: u32, home: &Home) -> Serving {
    Serving::start_limited(&format!("trap '' XFSZ && ulimit -S -f {blocks}"), &home.data())
}

fn metric(gateway: &Serving, name: &str) -> f64 {
    let scrape = gateway.client().get("/metrics").body;
    let scrape = String::from_utf8(scrape).unwrap();
    let value = scrape.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_answering_who_is_known() {
    let home = Home::new("full");
    let gateway = start_within(4_096, &home);
    let beat = |id: &str, sequence: u64| {
        let body = json!({"agent_id": id, "incarnation": 1, "sequence": sequence});
        gateway.client().beat(&body.to_string())
    };
    assert_eq!(beat("known", 1).status, 200);
    let padding = "x".repeat(200);
    let mut number = 0;
    let refused = eventually("the disk is full", || {
        for _ in 0..50 {
            number += 1;
            let labels: BTreeMap<String, &str> =
                (0..30).map(|label| (format!("l{label}"), padding.as_str())).collect();
            let id = format!("new-{number}");
            let body = json!({"agent_id": id, "incarnation": 1, "sequence": 1, "labels": labels});
            let answer = gateway.client().beat(&body.to_string());
            if answer.status != 200 {
                return Some(answer);
            }
        }
        None
    });
    assert_eq!((refused.status, refused.problem().as_str()), (503, "journal_unavailable"));
    assert!(refused.header("retry-after").is_some());
    eventually("it says so", || {
        (metric(&gateway, "pulsegate_journal_read_only") == 1.0).then_some(())
    });
    // Who is known beats on, with a directive and not only with a refusal.
    let answer = beat("known", 2);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["next_interval_ms"].as_u64() <= Some(30_000));
    assert_eq!(beat("nobody", 1).problem(), "journal_unavailable");
    let put = gateway.client().request(
        "PUT",
        "/v1/agents/by-hand",
        "content-type: application/json\r\n",
        b"{}",
    );
    assert_eq!(put.problem(), "journal_unavailable");
    let known = metric(&gateway, "pulsegate_journal_events_total");
    // There is room again.
    gateway.allow_files();
    eventually("it can be written again", || {
        (metric(&gateway, "pulsegate_journal_read_only") == 0.0).then_some(())
    });
    eventually("a new one is taken", || (beat("late", 1).status == 200).then_some(()));
    assert!(metric(&gateway, "pulsegate_journal_events_total") > known);
    stop(gateway);
    let gateway = home.start();
    assert_eq!(agent(&gateway, "known")["state"], "alive");
    assert_eq!(agent(&gateway, "late")["state"], "alive");
    // Whatever a watcher asked for, it is told that something may be missing.
    let page = gateway.client().get("/v1/watch?wait=0&since=0-0&kind=forgotten").json();
    let kinds: Vec<&str> =
        page["events"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    assert_eq!(kinds, ["read_only"]);
    assert!(events(&gateway).len() > 2);
}

#[test]
fn a_journal_that_is_no_journal_is_said_and_left_alone() {
    let home = Home::new("garbage");
    std::fs::create_dir_all(home.data()).unwrap();
    let file = home.data().join("journal.redb");
    let garbage = b"this is a text that somebody put here".repeat(1_000);
    std::fs::write(&file, &garbage).unwrap();
    let said = home.refused();
    assert!(!said.is_empty());
    assert_eq!(std::fs::read(Path::new(&file)).unwrap(), garbage);
}
