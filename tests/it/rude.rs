//! A gateway under rude circumstances, as a process of its own: stopped by a signal, out of file
//! descriptors, told nonsense by its operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Serving, eventually};
use crate::support::Client;

const ANY: &str = "127.0.0.1:0";

/// A class that is suspect 2 s and failed 3 s past due, half a second after a heartbeat.
const QUICK: [&str; 10] = [
    "--set",
    "cadence.min_ms=100",
    "--set",
    "classes.normal.interval_ms=500",
    "--set",
    "classes.normal.suspect_grace_ms=2000",
    "--set",
    "classes.normal.fail_grace_ms=3000",
    "--set",
    "limits.agent_rate_per_second=1000",
];

/// Longer than it takes an agent of this class to fail.
const STOPPED: Duration = Duration::from_secs(5);

fn address(gateway: &Serving) -> SocketAddr {
    gateway.address().parse().expect("an address")
}

/// Sum of the samples of a metric whose labels hold these words.
fn metric(scrape: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = scrape.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with([' ', '{']) && labels.iter().all(|label| rest.contains(label))
    });
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value)).expect("it is shown")
}

fn scrape(client: &mut Client) -> String {
    String::from_utf8(client.get("/metrics").body).expect("text")
}

/// An agent that beats three times in each interval until it is stopped.
struct Agent {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// One that keeps its connection and waits for its answer, or one that gives up after 300 ms
    /// and comes again on another connection.
    fn start(address: SocketAddr, id: usize, is_patient: bool) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(address);
            while !stopped.load(SeqCst) {
                if is_patient {
                    assert_eq!(client.beat(&format!("{{\"agent_id\":\"a{id}\"}}")).status, 200);
                    count.fetch_add(1, SeqCst);
                } else if Self::beats_in_time(&mut client, id) {
                    count.fetch_add(1, SeqCst);
                } else {
                    client = Client::connect(address);
                }
                std::thread::park_timeout(Duration::from_millis(150));
            }
        });
        Self { stop, answered, thread: Some(thread) }
    }

    fn beats_in_time(client: &mut Client, id: usize) -> bool {
        let body = format!("{{\"agent_id\":\"a{id}\"}}");
        let length = body.len();
        let path = "POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\n";
        client.send(format!("{path}content-length: {length}\r\n\r\n{body}").as_bytes());
        let patience = Duration::from_millis(300);
        client.stream.set_read_timeout(Some(patience)).expect("a timeout");
        let began = client.stream.peek(&mut [0]).is_ok();
        client.stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        began && client.answer().status == 200
    }

    fn answered(&self) -> u64 {
        self.answered.load(SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "an agent was turned away");
        }
    }
}

#[test]
fn nobody_is_suspect_because_the_gateway_was_stopped() {
    let gateway = Serving::start_with(&[&["--listen", ANY], &QUICK[..]].concat());
    let address = address(&gateway);
    let agents: Vec<Agent> = (0..6).map(|id| Agent::start(address, id, id % 2 == 0)).collect();
    eventually("all agents are known", || {
        agents.iter().all(|agent| agent.answered() > 2).then_some(())
    });
    let mut operator = Client::connect(address);
    assert_eq!(operator.beat(r#"{"agent_id":"mute"}"#).status, 200);
    let lost = metric(&scrape(&mut operator), "pulsegate_clock_held_seconds_total", &[]);

    gateway.signal(Signal::STOP);
    let began = Instant::now();
    while began.elapsed() < STOPPED {
        std::thread::park_timeout(STOPPED - began.elapsed());
    }
    gateway.signal(Signal::CONT);

    let answered: Vec<u64> = agents.iter().map(Agent::answered).collect();
    eventually("all agents are heard again", || {
        let after = agents.iter().zip(&answered);
        after.into_iter().all(|(agent, before)| agent.answered() > before + 3).then_some(())
    });
    let after = scrape(&mut operator);
    let gained = metric(&after, "pulsegate_clock_held_seconds_total", &[]) - lost;
    assert!(gained >= STOPPED.as_secs_f64() - 1.0, "{gained} s were taken out");

    // Whoever is silent while the gateway runs is noticed: only the one that never beat again.
    eventually("the silent agent fails", || {
        (operator.get("/v1/agents/mute").json()["state"] == "failed").then_some(())
    });
    let after = scrape(&mut operator);
    let transitions =
        |to: &str| metric(&after, "pulsegate_agent_transitions_total", &[&format!("to=\"{to}\"")]);
    assert_eq!((transitions("suspect"), transitions("failed")), (1.0, 1.0), "{after}");
}

/// Descriptors that the gateway may have: those that it needs itself, and some for agents.
const DESCRIPTORS: u32 = 96;

#[test]
fn without_descriptors_left_the_gateway_answers_who_is_in_and_accepts_again_later() {
    let flags = ["--listen", ANY, "--set", "workers=2"];
    let gateway = Serving::start_within(DESCRIPTORS, &flags);
    let address = address(&gateway);
    let mut first = Client::connect(address);
    assert_eq!(first.beat(r#"{"agent_id":"first"}"#).status, 200);
    assert_eq!(metric(&scrape(&mut first), "process_max_fds", &[]), f64::from(DESCRIPTORS));

    // The kernel connects more than the gateway can accept.
    let mut crowd: Vec<Client> = (0..DESCRIPTORS).map(|_| Client::connect(address)).collect();
    let shed = |client: &mut Client| {
        metric(&scrape(client), "pulsegate_shed_total", &["reason=\"connections\""])
    };
    eventually("some cannot be accepted", || (shed(&mut first) > 0.0).then_some(()));
    assert_eq!(metric(&scrape(&mut first), "pulsegate_clock_held", &[]), 1.0);
    for sequence in 2..6 {
        let beat = format!("{{\"agent_id\":\"first\",\"sequence\":{sequence}}}");
        assert_eq!(first.beat(&beat).status, 200, "who is in is answered");
    }

    // Those that wait in the kernel are let in as soon as others have left.
    let mut last = crowd.pop().expect("a crowd");
    drop(crowd);
    assert_eq!(last.beat(r#"{"agent_id":"last"}"#).status, 200);
    assert_eq!(Client::connect(address).beat(r#"{"agent_id":"new"}"#).status, 200);
    eventually("nobody was turned away for a while: core time runs again", || {
        (metric(&scrape(&mut first), "pulsegate_clock_held", &[]) == 0.0).then_some(())
    });
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
}

#[test]
fn a_wrong_file_at_a_hang_up_changes_nothing_and_is_counted() {
    let file = Scratch::new("[directives]\nretry_ms = [700]\n");
    let gateway = Serving::start_with(&["--listen", ANY, "--config", &file.0]);
    let mut client = Client::connect(address(&gateway));
    let reloads = |client: &mut Client, result: &str| {
        let label = format!("result=\"{result}\"");
        metric(&scrape(client), "pulsegate_config_reloads_total", &[&label])
    };
    let retry = |client: &mut Client| client.beat(r#"{"agent_id":"a"}"#).json()["retry"].clone();
    // One option is fine and would change live; the other is not, and the file counts as a whole.
    std::fs::write(&file.0, "[directives]\nretry_ms = [900]\n[cadence]\nmin_ms = 0\n").unwrap();
    gateway.signal(Signal::HUP);
    eventually("it is refused", || (reloads(&mut client, "refused") == 1.0).then_some(()));
    assert_eq!(retry(&mut client), serde_json::json!([700]));

    std::fs::write(&file.0, "[directives]\nretry_ms = [900]\n").unwrap();
    gateway.signal(Signal::HUP);
    eventually("it is applied", || (reloads(&mut client, "applied") == 1.0).then_some(()));
    assert_eq!(retry(&mut client), serde_json::json!([900]));
    assert_eq!(reloads(&mut client, "refused"), 1.0);
}

#[test]
fn a_termination_waits_for_what_is_in_flight_no_longer_than_it_is_told() {
    let patient = ["--listen", ANY, "--set", "limits.body_timeout_ms=600000"];
    let gateway =
        Serving::start_with(&[&patient[..], &["--set", "limits.shutdown_ms=300"]].concat());
    let mut busy = Client::connect(address(&gateway));
    busy.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n");
    busy.send(b"content-length: 16\r\n\r\n");
    // The interim answer says that the request is being served.
    std::io::Read::read_exact(&mut busy.stream, &mut [0; 25]).expect("an answer");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0), "within the patience of a test, not ten minutes");
    assert!(busy.is_closed());
}

/// A file of one test; removed when dropped.
struct Scratch(String);

impl Scratch {
    fn new(text: &str) -> Self {
        let name = format!("pulsegate-rude-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the file is written");
        Self(path.to_str().expect("a text").to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.0);
    }
}
