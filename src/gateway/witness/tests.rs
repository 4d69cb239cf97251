//! Who is asked, how often, and whose word is passed on: real sockets, a clock in hand.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use pulsegate_core::{ClassId, Millis, Slot, Stamp, TenantId};
use pulsegate_wire::{Probe, ProbeKind};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::{Hold, Source};
use crate::config::Overrides;
use crate::telemetry::Figures;

/// A way out of a test that would hang; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A fleet of one agent that remembers what it was told.
struct Told {
    silent: AtomicBool,
    witnessed: Mutex<Vec<String>>,
}

impl Fleet for Told {
    fn is_silent(&self, _: &Suspicion) -> bool {
        self.silent.load(SeqCst)
    }

    fn handle_witness(&self, suspicion: &Suspicion) -> bool {
        let counts = self.silent.load(SeqCst);
        if counts {
            self.witnessed.lock().expect("a lock").push(suspicion.agent_id.clone());
        }
        counts
    }
}

/// A source of time that moves when it is told to.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Source for Hand {
    fn elapsed_ms(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

struct World {
    witness: Witness,
    fleet: Arc<Told>,
    clock: Arc<Clock>,
    hand: Hand,
    telemetry: Telemetry,
    listener: TcpListener,
    port: u16,
}

fn config(options: &str) -> Arc<Config> {
    let text = format!("[probes]\npause_ms = 0\n{options}");
    let config = Config::parse("test.toml", &text, Path::new("."), &Overrides::default());
    Arc::new(config.unwrap_or_else(|problems| panic!("{problems}")))
}

impl World {
    async fn new(options: &str) -> Self {
        let config = config(options);
        let telemetry = Telemetry::new(&config);
        let hand = Hand::default();
        let clock = Arc::new(Clock::new(Box::new(hand.clone())));
        let runtime = tokio::runtime::Handle::current();
        let witness = Witness::new(config, clock.clone(), telemetry.clone(), runtime);
        let told = Told { silent: AtomicBool::new(true), witnessed: Mutex::default() };
        let fleet = Arc::new(told);
        let connected: Weak<Told> = Arc::downgrade(&fleet);
        witness.connect(connected);
        let listener = TcpListener::bind((LOCAL, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self { witness, fleet, clock, hand, telemetry, listener, port }
    }

    fn suspicion(&self, agent_id: &str) -> Suspicion {
        let kind = ProbeKind::Http as i32;
        Suspicion {
            stamp: Stamp { slot: Slot(3), generation: 1, incarnation: 1, sequence: 1 },
            last_receipt: Millis(0),
            tenant: TenantId(0),
            agent_id: agent_id.to_owned(),
            class: ClassId(0),
            probe: Probe { kind, port: self.port.into(), path: "/".to_owned() },
            is_decisive: true,
        }
    }

    fn ask(&self, agent_id: &str) {
        self.witness.ask(self.suspicion(agent_id), LOCAL);
    }

    async fn accept(&self) -> TcpStream {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("somebody asks").expect("a connection").0
    }

    /// Whether nobody has knocked that was not let in.
    fn is_quiet(&self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.listener.poll_accept(&mut context).is_pending()
    }

    /// Probes so far: alive, gone and skipped.
    fn counts(&self) -> [u64; 3] {
        let scrape = self.telemetry.scrape(&Figures::default());
        [ProbeOutcome::Alive, ProbeOutcome::Gone, ProbeOutcome::Skipped].map(|outcome| {
            let word = ProbeOutcome::WORDS[outcome as usize];
            let name = format!("pulsegate_probes_total{{outcome=\"{word}\"}} ");
            let value = scrape.lines().find_map(|line| line.strip_prefix(&name));
            value.expect("it is counted").parse().expect("a number")
        })
    }

    /// Waits until so many probes were counted.
    async fn counted(&self, counts: [u64; 3]) {
        let began = Instant::now();
        while self.counts() != counts {
            assert!(began.elapsed() < PATIENCE, "{:?}, not {counts:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn witnessed(&self) -> Vec<String> {
        self.fleet.witnessed.lock().expect("a lock").clone()
    }
}

async fn answer(stream: TcpStream) {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("it listens");
    // Closing with the request unread would reset the connection, and the answer with it.
    stream.shutdown().await.expect("it listens");
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

#[tokio::test]
async fn two_tries_that_fail_confirm_a_silence() {
    let world = World::new("").await;
    world.ask("a");
    drop(world.accept().await);
    assert!(world.witnessed().is_empty(), "one is not enough");
    drop(world.accept().await);
    world.counted([0, 1, 0]).await;
    assert_eq!(world.witnessed(), ["a"]);
    assert!(world.is_quiet(), "two are enough");
}

#[tokio::test]
async fn a_second_try_that_is_answered_is_a_sign_of_life() {
    let world = World::new("").await;
    world.ask("a");
    drop(world.accept().await);
    answer(world.accept().await).await;
    world.counted([1, 0, 0]).await;
    assert!(world.witnessed().is_empty() && world.is_quiet());
}

#[tokio::test]
async fn an_agent_that_is_not_silent_any_more_is_not_asked() {
    let world = World::new("").await;
    world.fleet.silent.store(false, SeqCst);
    world.ask("a");
    world.counted([0, 0, 1]).await;
    assert!(world.is_quiet());
}

#[tokio::test]
async fn an_agent_that_comes_back_between_the_tries_is_left_alone() {
    let world = World::new("").await;
    world.ask("a");
    let first = world.accept().await;
    world.fleet.silent.store(false, SeqCst);
    drop(first);
    world.counted([0, 0, 1]).await;
    assert!(world.witnessed().is_empty() && world.is_quiet());
}

#[tokio::test]
async fn an_agent_that_comes_back_during_the_last_try_is_not_witnessed_against() {
    let world = World::new("").await;
    world.ask("a");
    drop(world.accept().await);
    let last = world.accept().await;
    world.fleet.silent.store(false, SeqCst);
    drop(last);
    world.counted([0, 0, 1]).await;
    assert!(world.witnessed().is_empty());
}

#[tokio::test]
async fn nobody_is_asked_while_core_time_stands_still() {
    let world = World::new("").await;
    world.clock.hold(Hold::Shedding);
    world.ask("a");
    world.counted([0, 0, 1]).await;
    assert!(world.is_quiet());
}

#[tokio::test]
async fn a_probe_during_which_we_stood_still_ourselves_is_no_witness() {
    let world = World::new("").await;
    world.ask("stalled");
    drop(world.accept().await);
    let last = world.accept().await;
    world.hand.0.fetch_add(5_000, SeqCst);
    drop(last);
    world.counted([0, 0, 1]).await;

    world.ask("held");
    drop(world.accept().await);
    let last = world.accept().await;
    world.clock.hold(Hold::Worker);
    drop(last);
    world.counted([0, 0, 2]).await;
    assert!(world.witnessed().is_empty());
}

#[tokio::test]
async fn what_finds_no_place_is_not_asked_and_what_decides_nothing_does_not_wait_for_one() {
    let world = World::new("timeout_ms = 60000\nconcurrency = 1\nqueue = 1\n").await;
    world.ask("first");
    let first = world.accept().await;
    let idle = Suspicion { is_decisive: false, ..world.suspicion("idle") };
    world.witness.ask(idle.clone(), LOCAL);
    world.counted([0, 0, 1]).await;
    world.ask("second");
    world.ask("third");
    world.counted([0, 0, 2]).await;
    assert!(world.is_quiet(), "the second waits");
    answer(first).await;
    answer(world.accept().await).await;
    world.counted([2, 0, 2]).await;
    assert!(world.is_quiet(), "the third was not asked");
    world.witness.ask(idle, LOCAL);
    answer(world.accept().await).await;
    world.counted([3, 0, 2]).await;
}

#[tokio::test]
async fn the_address_is_asked_in_its_own_form() {
    let world = World::new("").await;
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    world.witness.ask(world.suspicion("a"), IpAddr::V6(mapped));
    let stream = world.accept().await;
    assert_eq!(stream.peer_addr().expect("an address").ip(), LOCAL);
    answer(stream).await;
    world.counted([1, 0, 0]).await;
}

#[tokio::test]
async fn who_is_switched_off_asks_nobody() {
    let world = World::new("enabled = false\n").await;
    world.ask("a");
    world.witness.reconfigure(config(""));
    world.ask("b");
    let stream = world.accept().await;
    assert_eq!(world.counts(), [0, 0, 0]);
    world.witness.reconfigure(config("enabled = false\n"));
    world.ask("c");
    answer(stream).await;
    world.counted([1, 0, 0]).await;
    assert!(world.is_quiet());
}

#[tokio::test]
async fn switching_off_reaches_those_who_wait_and_the_next_try() {
    let world = World::new("timeout_ms = 60000\nconcurrency = 1\nqueue = 1\n").await;
    world.ask("asked");
    let first = world.accept().await;
    world.ask("waiting");
    world.witness.reconfigure(config("enabled = false\n"));
    drop(first);
    world.counted([0, 0, 2]).await;
    assert!(world.witnessed().is_empty() && world.is_quiet());
}
