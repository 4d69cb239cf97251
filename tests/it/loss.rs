//! Heartbeats over a network that loses packets: each is answered, or repeated until it is, and
//! none is handled twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{ALPN, Answer, Directive, FromServer, Heartbeat, Outcome};
use quinn::{Connection, Endpoint};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::lossy::{Network, Random};
use crate::quic_client::{
    PATIENCE, Stream, TLS, address, beat, counter, datagram, directive, endpoint, heartbeat_frame,
    run, sequence, until,
};
use crate::support::{agents_known, start};

/// Agents behind the one connection, and heartbeats of each.
const AGENTS: usize = 20;
const BEATS: u64 = 20;
const ALL: u64 = AGENTS as u64 * BEATS;
/// Delays of retries are divided by this: a test does not wait for seconds.
const SCALE: u64 = 20;
/// Attempts after which a heartbeat counts as unanswered. At 20 % lost each way one attempt in
/// three fails: this many in a row do not.
const ATTEMPTS: u32 = 40;
/// Seeds of the network; one that fails is added.
const SEEDS: [u64; 2] = [1, 0x5eed];

/// A gateway that limits nobody: retries come twenty times as fast as they should.
fn gateway() -> Gateway {
    start(&format!("{TLS}[limits]\nagent_rate_per_second = 1000\nagent_burst = 10000\n"))
}

fn heartbeats(gateway: &Gateway, transport: &str, outcome: &str) -> u64 {
    let labels = format!("transport=\"{transport}\",outcome=\"{outcome}\"");
    counter(gateway, &format!("pulsegate_heartbeats_total{{{labels}}}"))
}

async fn connect(network: &Network) -> (Endpoint, Connection) {
    let endpoint = endpoint(ALPN.as_bytes());
    let connection = endpoint.connect(network.address, "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}

fn name(agent: usize) -> String {
    format!("agent-{agent}")
}

/// Answers on their way from one reader to the agents that wait for them: the first directive for
/// each agent and sequence.
struct Answers(watch::Sender<BTreeMap<(String, u64), Directive>>);

impl Answers {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(BTreeMap::new())))
    }

    /// Takes an answer. Whatever comes again must say the same.
    fn take(&self, answer: Answer) {
        assert!(!answer.more);
        let key = (answer.agent_id.clone(), answer.sequence);
        let directive = directive(answer);
        self.0.send_modify(|answers| {
            let first = answers.entry(key.clone()).or_insert_with(|| directive.clone());
            // A copy that came late finds the agent further on.
            if directive.outcome() != Outcome::Stale {
                assert_eq!(directive.number, key.1);
                let same = Directive { outcome: first.outcome, ..directive };
                assert_eq!(same, *first, "one heartbeat, two directives");
            }
        });
    }

    /// Waits for the answer to a heartbeat.
    async fn to(&self, agent: &str, sequence: u64) -> Directive {
        let key = (agent.to_owned(), sequence);
        let mut answers = self.0.subscribe();
        let found = answers.wait_for(|answers| answers.contains_key(&key)).await;
        found.expect("the answers outlive who waits for them")[&key].clone()
    }
}

/// Beats as one agent, in datagrams: the same sequence and the same bytes until there is an
/// answer, then the next. Returns how often it repeated one.
async fn beat_in_datagrams(
    connection: Connection,
    answers: Arc<Answers>,
    agent: usize,
    mut random: Random,
) -> u64 {
    let name = name(agent);
    let mut retry = vec![1_000, 2_000, 4_000, 8_000];
    let mut repeated = 0;
    for sequence in 1..=BEATS {
        let frame = heartbeat_frame(beat(&name, sequence)).encode_to_vec();
        let mut attempt = 0;
        let answer = loop {
            connection.send_datagram(frame.clone().into()).unwrap();
            // A real agent would come with its next heartbeat after the last delay; here that
            // delay stays, so that the fate of each heartbeat is known.
            let delay_ms = retry[attempt.min(retry.len() - 1)] / SCALE;
            let spread_ms = delay_ms * 4 / 5 + random.next() % (delay_ms * 2 / 5);
            let waited = Duration::from_millis(spread_ms);
            match tokio::time::timeout(waited, answers.to(&name, sequence)).await {
                Ok(answer) => break answer,
                Err(_) => attempt += 1,
            }
            assert!(attempt < ATTEMPTS as usize, "{name}, {sequence}: no answer");
        };
        repeated += attempt as u64;
        assert_ne!(answer.outcome(), Outcome::Stale, "{name} is not further on than it is");
        retry = answer.retry;
    }
    repeated
}

fn datagrams_over(lost_percent: u64, seed: u64) {
    eprintln!("{lost_percent} % lost, seed {seed:#x}");
    let gateway = gateway();
    run(async {
        let network = Network::before(address(&gateway), seed).await;
        let (_endpoint, connection) = connect(&network).await;
        network.lose(lost_percent);
        let answers = Answers::new();
        let (reading, taken) = (connection.clone(), answers.clone());
        let reader = tokio::spawn(async move {
            loop {
                let FromServer::Answer(answer) = datagram(&reading).await else { panic!() };
                taken.take(*answer);
            }
        });
        let mut agents = JoinSet::new();
        for agent in 0..AGENTS {
            let random = Random::new(seed ^ agent as u64);
            agents.spawn(beat_in_datagrams(connection.clone(), answers.clone(), agent, random));
        }
        let repeated: u64 = agents.join_all().await.into_iter().sum();
        assert!(!reader.is_finished(), "every answer fits its heartbeat");
        reader.abort();
        // What is still on its way arrives, and nothing comes after it.
        network.lose(0);
        connection.close(0u32.into(), b"");
        until("the connection is gone", || counter(&gateway, "pulsegate_connections") == 0).await;
        let count = |outcome| heartbeats(&gateway, "quic_datagram", outcome);
        assert_eq!(count("accepted"), ALL);
        assert!(count("duplicate") > 0, "an answer was lost, and its heartbeat repeated");
        // A packet that comes twice is dropped by QUIC; all copies are retries.
        assert!(count("duplicate") + count("stale") <= repeated);
        assert_eq!((count("limited"), count("rejected")), (0, 0));
        check_end(&gateway);
        for way in [&network.to_gateway, &network.to_client] {
            assert!(way.lost() > 0 && way.twice() > 0 && way.late() > 0, "{way:?}");
        }
    });
}

/// Every agent is where it should be.
fn check_end(gateway: &Gateway) {
    assert_eq!(agents_known(gateway), AGENTS as u32);
    for agent in 0..AGENTS {
        assert_eq!(sequence(gateway, &name(agent)), Some(BEATS));
    }
}

#[test]
fn with_a_twentieth_lost_every_heartbeat_in_a_datagram_is_answered_and_none_is_handled_twice() {
    SEEDS.into_iter().for_each(|seed| datagrams_over(5, seed));
}

#[test]
fn with_a_fifth_lost_every_heartbeat_in_a_datagram_is_answered_and_none_is_handled_twice() {
    SEEDS.into_iter().for_each(|seed| datagrams_over(20, seed));
}

/// On a stream QUIC repeats what was lost: agents wait, and need no retry of their own.
fn stream_over(lost_percent: u64, seed: u64) {
    eprintln!("{lost_percent} % lost, seed {seed:#x}");
    let gateway = gateway();
    run(async {
        let network = Network::before(address(&gateway), seed).await;
        let (_endpoint, connection) = connect(&network).await;
        network.lose(lost_percent);
        let mut stream = Stream::open(&connection).await;
        let mut next: BTreeMap<String, u64> = (0..AGENTS).map(|agent| (name(agent), 1)).collect();
        for agent in next.keys() {
            stream.send(&heartbeat_frame(beat(agent, 1))).await;
        }
        for _ in 0..ALL {
            let answer = tokio::time::timeout(PATIENCE, stream.answer()).await.expect("an answer");
            let sequence = next.get_mut(&answer.agent_id).expect("an agent of ours");
            assert_eq!(answer.sequence, *sequence, "in order, and once");
            *sequence += 1;
            let heartbeat = beat(&answer.agent_id, *sequence);
            assert_eq!(directive(answer).outcome(), Outcome::Accepted);
            if heartbeat.sequence <= BEATS {
                stream.send(&heartbeat_frame(heartbeat)).await;
            }
        }
        let count = |outcome| heartbeats(&gateway, "quic_stream", outcome);
        assert_eq!((count("accepted"), count("duplicate"), count("stale")), (ALL, 0, 0));
        assert_eq!((count("limited"), count("rejected")), (0, 0));
        check_end(&gateway);
        // Heartbeats share packets here, so there are few of them.
        assert!(network.to_gateway.lost() + network.to_client.lost() > 0);
    });
}

#[test]
fn with_a_twentieth_lost_every_heartbeat_on_a_stream_is_answered_once() {
    SEEDS.into_iter().for_each(|seed| stream_over(5, seed));
}

#[test]
fn with_a_fifth_lost_every_heartbeat_on_a_stream_is_answered_once() {
    SEEDS.into_iter().for_each(|seed| stream_over(20, seed));
}

#[test]
fn heartbeats_of_a_connection_that_was_lost_are_repeated_on_another_and_handled_once() {
    let gateway = gateway();
    run(async {
        let network = Network::before(address(&gateway), SEEDS[0]).await;
        let (_endpoint, connection) = connect(&network).await;
        let mut stream = Stream::open(&connection).await;
        let beats: Vec<Heartbeat> = (0..300).map(|agent| beat(&name(agent), 1)).collect();
        let count = |outcome| heartbeats(&gateway, "quic_stream", outcome);
        // Heartbeats arrive, and answers do not.
        network.to_client.lose(100);
        for heartbeat in &beats[..200] {
            stream.send(&heartbeat_frame(heartbeat.clone())).await;
        }
        until("what was sent is handled", || count("accepted") == 200).await;
        // Then nothing arrives: the client has heard nothing and gives the connection up, and the
        // gateway is not told.
        network.to_gateway.lose(100);
        connection.close(0u32.into(), b"");
        drop(stream);
        let network = Network::before(address(&gateway), SEEDS[1]).await;
        let (_endpoint, connection) = connect(&network).await;
        network.lose(20);
        let mut stream = Stream::open(&connection).await;
        for heartbeat in &beats {
            stream.send(&heartbeat_frame(heartbeat.clone())).await;
        }
        let mut outcomes = BTreeMap::new();
        for _ in &beats {
            let answer = tokio::time::timeout(PATIENCE, stream.answer()).await.expect("an answer");
            let (sequence, directive) = (answer.sequence, directive(answer));
            assert_eq!(directive.number, sequence);
            *outcomes.entry(directive.outcome().as_str()).or_default() += 1;
        }
        assert_eq!(outcomes, BTreeMap::from([("duplicate", 200), ("accepted", 100)]));
        assert_eq!((count("accepted"), count("duplicate"), count("stale")), (300, 200, 0));
    });
}
