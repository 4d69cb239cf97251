//! The second witness: what a probe changes for a critical agent that falls silent, and what it
//! can never bring about. Real sockets; only the observed address is ever asked.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;

use pulsegate_core::{Event, EventKind};
use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_gateway::server::Gateway;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::sync::broadcast::Receiver;

use crate::process::eventually;
use crate::support::{Client, start};

/// Acting grace of a test in which nothing but a witness can make recovery act.
const NEVER_MS: u64 = 3_600_000;
/// Fail grace of most tests.
const FAIL_GRACE_MS: u64 = 400;

/// Agents that fail half a second after their last heartbeat and are acted upon later, by a
/// program that does nothing.
fn vital(act_grace_ms: u64) -> String {
    failing_after(FAIL_GRACE_MS, act_grace_ms)
}

fn failing_after(fail_grace_ms: u64, act_grace_ms: u64) -> String {
    format!(
        "[cadence]\nmin_ms = 100\n\
         [classes.vital]\ninterval_ms = 100\ndetect_within_ms = 1000\nsuspect_grace_ms = 100\n\
         fail_grace_ms = {fail_grace_ms}\nact_grace_ms = {act_grace_ms}\n\
         [recovery.executors.act]\nkind = \"exec\"\nargv = [\"/bin/true\"]\n\
         [[routes]]\nhealth = \"builtin\"\ncadence = \"builtin\"\nrecovery = \"builtin\"\n\
         [probes]\npause_ms = 10\ntimeout_ms = 20000\n"
    )
}

struct World {
    gateway: Gateway,
    events: Receiver<Arc<Event>>,
    /// Everything that happened so far.
    told: Vec<Arc<Event>>,
    client: Client,
    beats: u64,
}

impl World {
    fn new(toml: &str) -> Self {
        Self::of(start(toml))
    }

    fn of(gateway: Gateway) -> Self {
        let client = Client::to(&gateway);
        Self { events: gateway.subscribe(), told: Vec::new(), gateway, client, beats: 0 }
    }

    /// The next heartbeat of the agent, with these fields beside its own.
    fn beat(&mut self, fields: &serde_json::Value) {
        self.beats += 1;
        let mut body = json!({
            "agent_id": "a", "class": "vital", "incarnation": 1, "sequence": self.beats
        });
        let more = fields.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(more);
        let answer = self.client.beat(&body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits for something to happen that did not happen before; returns when, in core time.
    fn wait(&mut self, is_it: impl Fn(&EventKind) -> bool) -> u64 {
        let Self { events, told, .. } = self;
        let event = eventually("an event", || {
            let event = events.try_recv().ok()?;
            told.push(event.clone());
            is_it(&event.kind).then_some(event)
        });
        event.at.0
    }

    /// Waits until the agent has failed; returns when it was due.
    fn failed(&mut self) -> u64 {
        self.wait(|kind| matches!(kind, EventKind::Failed { .. }));
        let due = |event: &Arc<Event>| match event.kind {
            EventKind::Failed { last_receipt, in_force_ms, .. } => {
                Some(last_receipt.0 + u64::from(in_force_ms))
            }
            _ => None,
        };
        self.told.last().and_then(due).expect("it has failed")
    }

    /// Whether recovery has acted so far.
    fn has_acted(&mut self) -> bool {
        self.told.extend(std::iter::from_fn(|| self.events.try_recv().ok()));
        self.told.iter().any(|event| matches!(event.kind, EventKind::ActionStarted { .. }))
    }

    /// Probes so far: alive, gone and skipped.
    fn probes(&mut self) -> [u64; 3] {
        let scrape = String::from_utf8(self.client.get("/metrics").body).expect("text");
        ["alive", "gone", "skipped"].map(|outcome| {
            let name = format!("pulsegate_probes_total{{outcome=\"{outcome}\"}} ");
            let value = scrape.lines().find_map(|line| line.strip_prefix(&name));
            value.expect("it is counted").parse().expect("a number")
        })
    }

    fn probed(&mut self, enough: impl Fn([u64; 3]) -> bool) -> [u64; 3] {
        eventually("it was probed", || Some(self.probes()).filter(|probes| enough(*probes)))
    }

    fn flags(&mut self) -> serde_json::Value {
        self.client.get("/v1/agents/a").json()["flags"].clone()
    }
}

fn listener(address: impl Into<IpAddr>, port: u16) -> TcpListener {
    TcpListener::bind((address.into(), port)).expect("a port")
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("an address").port()
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    port_of(&listener(Ipv4Addr::LOCALHOST, 0))
}

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Answers every request with these bytes, for as long as the tests run; hands on their heads.
fn serving(listener: TcpListener, bytes: String) -> mpsc::Receiver<String> {
    let (sender, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // Nobody may be interested any more.
            let _ = sender.send(head(&mut stream).to_lowercase());
            stream.write_all(bytes.as_bytes()).expect("it listens");
        }
    });
    heads
}

/// Whether nobody has knocked who was not let in.
fn is_quiet(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("a mode");
    let quiet = matches!(listener.accept(), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
    listener.set_nonblocking(false).expect("a mode");
    quiet
}

#[test]
fn a_silent_agent_whose_port_is_closed_is_acted_upon_as_soon_as_it_has_failed() {
    let mut world = World::new(&vital(NEVER_MS));
    world.beat(&json!({"probe": {"kind": "tcp", "port": closed_port()}}));
    let due = world.failed();
    let acted = world.wait(|kind| matches!(kind, EventKind::ActionStarted { .. }));
    assert!((due + FAIL_GRACE_MS..due + NEVER_MS).contains(&acted), "{acted} after {due}");
    assert_eq!(world.probed(|[_, gone, _]| gone > 0)[0], 0);
    assert_eq!(world.flags(), json!(["witnessed"]));
    let why = world.client.get("/v1/agents/a/explain").json()["text"].to_string();
    assert!(why.contains("A probe found it gone as well"), "{why}");
    world.beat(&json!({}));
    assert_eq!(world.flags(), json!(null), "a heartbeat counts for more");
}

#[test]
fn a_silent_agent_whose_port_is_open_is_not_acted_upon_before_the_longer_grace() {
    const ACT_GRACE_MS: u64 = 2_000;
    let listener = listener(Ipv4Addr::LOCALHOST, 0);
    let mut world = World::new(&vital(ACT_GRACE_MS));
    world.beat(&json!({"probe": {"kind": "tcp", "port": port_of(&listener)}}));
    let due = world.failed();
    let acted = world.wait(|kind| matches!(kind, EventKind::ActionStarted { .. }));
    assert!(acted >= due + ACT_GRACE_MS, "{acted}, due at {due}");
    assert_eq!(world.probed(|[alive, ..]| alive > 0)[1], 0);
    assert_eq!(world.flags(), json!(null));
}

#[test]
fn a_server_that_says_it_cannot_work_confirms_the_silence() {
    let listener = listener(Ipv4Addr::LOCALHOST, 0);
    let mut world = World::new(&vital(NEVER_MS));
    let probe = json!({"kind": "http", "port": port_of(&listener), "path": "/alive"});
    world.beat(&json!({"probe": probe}));
    let answer = "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n";
    let _heads = serving(listener, answer.to_owned());
    world.wait(|kind| matches!(kind, EventKind::ActionStarted { .. }));
    assert_eq!(world.probed(|[_, gone, _]| gone > 0)[0], 0);
}

#[test]
fn a_probe_goes_to_the_observed_address_and_follows_nobody_elsewhere() {
    // The whole of 127.0.0.0/8 is ours: the agent beats from one address of it and names others.
    let (observed, named) = (Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4));
    let asked = listener(observed, 0);
    let port = port_of(&asked);
    let elsewhere = [listener(named, port), listener(Ipv4Addr::LOCALHOST, port)];

    let mut world = World::new(&vital(NEVER_MS));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((observed, 0)).into()).expect("the address is ours");
    socket.connect(&world.gateway.addresses().agents.into()).expect("a connection");
    let operator = std::mem::replace(&mut world.client, Client { stream: socket.into() });
    world.beat(&json!({
        "endpoint": format!("http://{named}:{port}/"),
        "labels": {"host": named.to_string()},
        "probe": {"kind": "http", "port": port, "path": format!("/@{named}:{port}/?x=//{named}/")},
    }));
    world.client = operator;

    let answer = format!("HTTP/1.1 302 X\r\nlocation: http://{named}:{port}/\r\n\r\n");
    let heads = serving(asked, answer);
    let head = heads.recv().expect("the agent is asked");
    let path = format!("/@{named}:{port}/?x=//{named}/");
    assert!(head.starts_with(&format!("get {path} http/1.1\r\n")), "{head}");
    assert!(head.contains(&format!("\r\nhost: {observed}:{port}\r\n")), "{head}");
    assert!(head.contains("\r\nuser-agent: pulsegate/"), "{head}");
    world.failed();
    let probes = world.probed(|[alive, ..]| alive > 0);
    assert_eq!(probes[1..], [0, 0], "a redirect is an answer");
    assert!(elsewhere.iter().all(is_quiet));
}

#[test]
fn an_agent_that_comes_back_during_the_probe_is_not_acted_upon() {
    let listener = listener(Ipv4Addr::LOCALHOST, 0);
    // It comes back before it has failed, so its suspicion alone is asked about.
    let mut world = World::new(&failing_after(2_500, NEVER_MS));
    let probe = json!({"kind": "http", "port": port_of(&listener), "path": "/"});
    world.beat(&json!({"probe": probe}));
    drop(listener.accept().expect("the first try"));
    let (last, _) = listener.accept().expect("the last try");
    world.beat(&json!({}));
    world.wait(|kind| matches!(kind, EventKind::Recovered { .. }));
    drop(last);
    // The word of the first witness comes now, too late, while the agent falls silent again.
    assert_eq!(world.probed(|[_, _, skipped]| skipped > 0), [0, 0, 1]);
    let _heads = serving(listener, "HTTP/1.1 204 X\r\n\r\n".to_owned());
    world.failed();
    assert_eq!(world.probed(|[alive, ..]| alive > 0)[1..], [0, 1]);
    assert_eq!(world.flags(), json!(null));
    assert!(!world.has_acted(), "{:?}", world.told);
}

#[test]
fn an_agent_without_a_probe_and_a_gateway_with_probes_switched_off_have_no_witness() {
    let mut world = World::new(&vital(NEVER_MS));
    world.beat(&json!({}));
    world.failed();
    assert_eq!(world.probes(), [0, 0, 0]);

    let listener = listener(Ipv4Addr::LOCALHOST, 0);
    let mut world = World::new(&format!("{}enabled = false\n", vital(NEVER_MS)));
    world.beat(&json!({"probe": {"kind": "tcp", "port": port_of(&listener)}}));
    world.failed();
    assert_eq!(world.probes(), [0, 0, 0]);
    assert!(is_quiet(&listener) && !world.has_acted());
}

#[test]
fn an_agent_of_ipv6_is_asked_at_its_address() {
    let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let Ok(listener) = TcpListener::bind((local, 0)) else {
        eprintln!("SKIPPED: this machine has no IPv6; no probe over it was tested");
        return;
    };
    let overrides = Overrides::default().flag("--listen", "listen", "[::1]:0").flag(
        "--ephemeral",
        "journal.ephemeral",
        "true",
    );
    let toml = vital(NEVER_MS);
    let config = Config::parse("test", &toml, std::path::Path::new("."), &overrides);
    let config = Arc::new(config.expect("a configuration"));
    let mut world = World::of(Gateway::start(config).expect("a gateway"));
    let probe = json!({"kind": "http", "port": port_of(&listener), "path": "/"});
    world.beat(&json!({"probe": probe}));
    let (mut stream, from) = listener.accept().expect("the agent is asked");
    assert_eq!(from.ip(), local);
    let head = head(&mut stream).to_lowercase();
    assert!(head.contains(&format!("\r\nhost: [::1]:{}\r\n", port_of(&listener))), "{head}");
    stream.write_all(b"HTTP/1.1 200 X\r\n\r\n").expect("it listens");
    world.probed(|[alive, ..]| alive > 0);
}
