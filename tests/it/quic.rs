//! The compact protocol over QUIC: heartbeats, pushes, credentials, early data and addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use pulsegate_core::TenantId;
use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_wire::{
    ALPN, Code, Command, CommandAck, CommandKind, FromServer, Heartbeat, Outcome, Status, limits,
};

use crate::quic_client::{
    Network, Stream, TLS, address, beat, close_code, connect, counter, datagram, directive,
    endpoint, heartbeat_frame, hello_frame, problem, run, sequence, until,
};
use crate::support::{config, start};

const TENANT: TenantId = TenantId(0);

fn command(id: &str) -> Command {
    Command { id: id.into(), kind: CommandKind::Checkpoint as i32, name: String::new() }
}

#[test]
fn a_heartbeat_on_a_stream_is_answered_with_what_it_carried() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let answer = stream.beat(beat("a", 7)).await;
        assert_eq!((answer.agent_id.as_str(), answer.incarnation, answer.sequence), ("a", 1, 7));
        assert!(!answer.more);
        let directive = directive(answer);
        assert_eq!((directive.number, directive.outcome()), (7, Outcome::Accepted));
        assert!((1_000..=300_000).contains(&directive.next_interval_ms));
        let label = "pulsegate_heartbeats_total{transport=\"quic_stream\",outcome=\"accepted\"}";
        assert_eq!(counter(&gateway, label), 1);
    });
}

#[test]
fn a_heartbeat_in_a_datagram_is_answered_in_a_datagram() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let frame = heartbeat_frame(beat("a", 1)).encode_to_vec();
        for outcome in [Outcome::Accepted, Outcome::Duplicate] {
            connection.send_datagram(frame.clone().into()).unwrap();
            let FromServer::Answer(answer) = datagram(&connection).await else { panic!() };
            assert_eq!(directive(*answer).outcome(), outcome);
        }
        let label = "pulsegate_heartbeats_total{transport=\"quic_datagram\",outcome=\"duplicate\"}";
        assert_eq!(counter(&gateway, label), 1);
    });
}

#[test]
fn a_heartbeat_without_a_count_gets_its_zeros_back() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let plain = Heartbeat { agent_id: "a".into(), ..Heartbeat::default() };
        let answer = stream.beat(plain).await;
        assert_eq!((answer.incarnation, answer.sequence), (0, 0));
        assert_eq!(directive(answer).outcome(), Outcome::Accepted);
    });
}

#[test]
fn pipelined_heartbeats_are_all_answered_and_those_of_one_agent_in_order() {
    // More threads than the default gives here.
    let gateway = start(&format!("quic_workers = 2\n{TLS}"));
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let Stream { mut sending, reading } = Stream::open(&connection).await;
        // More than may be unanswered, all written before one answer is read.
        let beats: Vec<u8> = (1..=5)
            .flat_map(|sequence| (0..100).map(move |agent| beat(&format!("a{agent}"), sequence)))
            .flat_map(|beat| heartbeat_frame(beat).encode_length_delimited_to_vec())
            .collect();
        let writing = tokio::spawn(async move {
            sending.write_all(&beats).await.unwrap();
            sending
        });
        let mut stream = Stream { reading, sending: writing.await.unwrap() };
        let mut seen = std::collections::BTreeMap::<String, u64>::new();
        for _ in 0..500 {
            let answer = stream.answer().await;
            let before = seen.entry(answer.agent_id.clone()).or_default();
            assert_eq!(answer.sequence, *before + 1, "{}", answer.agent_id);
            *before = answer.sequence;
            assert_eq!(directive(answer).outcome(), Outcome::Accepted);
        }
        assert_eq!(seen.len(), 100);
        // Once the client has ended its side, so does the gateway.
        stream.sending.finish().unwrap();
        assert!(stream.frame().await.is_err());
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_holds_up_nobody_else() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut deaf = Stream::open(&connection).await;
        let frames = heartbeat_frame(beat("deaf", 1)).encode_length_delimited_to_vec().repeat(200);
        // Until the gateway reads no further: the windows of both sides are full.
        while tokio::time::timeout(Duration::from_millis(500), deaf.sending.write_all(&frames))
            .await
            .is_ok()
        {}
        let mut other = Stream::open(&connection).await;
        assert_eq!(directive(other.beat(beat("other", 1)).await).number, 1);
    });
}

#[test]
fn a_heartbeat_that_is_wrong_costs_its_answer_and_nothing_else() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let answer = stream.beat(Heartbeat { agent_id: "a/b".into(), ..beat("", 3) }).await;
        assert_eq!((answer.agent_id.as_str(), answer.sequence), ("", 3));
        let refused = problem(answer);
        assert_eq!(refused.code(), Some(Code::FieldInvalid));
        assert_eq!(refused.field.as_deref(), Some("agent_id"));
        let refused = problem(stream.beat(Heartbeat { schema: 2, ..beat("a", 1) }).await);
        assert_eq!(refused.code(), Some(Code::SchemaUnsupported));
        assert_eq!(directive(stream.beat(beat("a", 1)).await).number, 1);
        let old = Heartbeat { incarnation: 2, ..beat("a", 1) };
        directive(stream.beat(old).await);
        assert_eq!(problem(stream.beat(beat("a", 9)).await).code(), Some(Code::IncarnationStale));
    });
}

#[test]
fn kinds_of_frames_that_nobody_knows_are_ignored() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        // Field 15 with a message, and an empty frame.
        stream.sending.write_all(&[4, 0x7a, 2, 8, 1, 0]).await.unwrap();
        assert_eq!(directive(stream.beat(beat("a", 1)).await).number, 1);
    });
}

#[test]
fn a_command_reaches_an_agent_without_a_heartbeat() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        directive(stream.beat(beat("a", 1)).await);
        assert_eq!(gateway.shards().command(TENANT, "a", command("c1")), Ok(true));
        let push = stream.push().await;
        assert_eq!((push.agent_id.as_str(), push.beat_now), ("a", false));
        assert_eq!(push.commands, [command("c1")]);
        // It stays in every directive until it is acknowledged.
        assert_eq!(directive(stream.beat(beat("a", 2)).await).commands, [command("c1")]);
        let acks = vec![CommandAck { id: "c1".into(), ..CommandAck::default() }];
        let done = Heartbeat { command_acks: acks, ..beat("a", 3) };
        assert_eq!(directive(stream.beat(done).await).commands, []);
        let pushed = |result: &str| {
            counter(&gateway, &format!("pulsegate_pushes_total{{result=\"{result}\"}}"))
        };
        until("counted", || pushed("sent") == 1).await;
        // Where the stream has ended, nobody can be told: it waits for the next directive.
        stream.sending.finish().unwrap();
        assert!(stream.frame().await.is_err());
        let _ = gateway.shards().command(TENANT, "a", command("c2"));
        until("dropped", || pushed("dropped") == 1).await;
        let mut next = Stream::open(&connection).await;
        assert_eq!(directive(next.beat(beat("a", 4)).await).commands, [command("c2")]);
    });
}

#[test]
fn a_push_goes_where_the_agent_beat_last() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, first) = connect(&gateway).await;
        let mut stream = Stream::open(&first).await;
        directive(stream.beat(beat("a", 1)).await);
        // By datagram on the same connection.
        first.send_datagram(heartbeat_frame(beat("a", 2)).encode_to_vec().into()).unwrap();
        datagram(&first).await;
        let _ = gateway.shards().command(TENANT, "a", command("c1"));
        let FromServer::Push(push) = datagram(&first).await else { panic!("no push") };
        assert_eq!(push.commands, [command("c1")]);
        // On another connection, and back again.
        let (_other, second) = connect(&gateway).await;
        let mut elsewhere = Stream::open(&second).await;
        directive(elsewhere.beat(beat("a", 3)).await);
        let _ = gateway.shards().command(TENANT, "a", command("c2"));
        assert_eq!(elsewhere.push().await.commands.len(), 2);
        // The way by which it left.
        first.send_datagram(heartbeat_frame(beat("a", 4)).encode_to_vec().into()).unwrap();
        datagram(&first).await;
        let _ = gateway.shards().command(TENANT, "a", command("c3"));
        let FromServer::Push(push) = datagram(&first).await else { panic!("no push") };
        assert_eq!(push.commands.len(), 3);
        // Nobody is left to be told.
        first.close(0u32.into(), b"");
        second.close(0u32.into(), b"");
        until("both are gone", || counter(&gateway, "pulsegate_connections") == 0).await;
        let _ = gateway.shards().command(TENANT, "a", command("c4"));
        assert_eq!(counter(&gateway, "pulsegate_pushes_total{result=\"sent\"}"), 3);
    });
}

#[test]
fn an_agent_whose_heartbeat_was_missed_is_told_to_beat() {
    let gateway = start(&format!(
        "{TLS}[cadence]\nmin_ms = 100\n[classes.quick]\ninterval_ms = 100\n\
         detect_within_ms = 1000\nsuspect_grace_ms = 100\nfail_grace_ms = 60000\n\
         act_grace_ms = 60000\n"
    ));
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let class = Some("quick".to_owned());
        directive(stream.beat(Heartbeat { class, ..beat("a", 1) }).await);
        let push = stream.push().await;
        assert_eq!((push.agent_id.as_str(), push.beat_now), ("a", true));
        assert_eq!(directive(stream.beat(beat("a", 2)).await).outcome(), Outcome::Accepted);
    });
}

#[test]
fn a_directive_that_does_not_fit_into_a_datagram_says_so() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let name = "x".repeat(limits::AGENT_ID_BYTES);
        let mut stream = Stream::open(&connection).await;
        directive(stream.beat(beat(&name, 1)).await);
        for number in 0..limits::COMMANDS {
            let id = format!("{number}{}", "y".repeat(limits::COMMAND_ID_BYTES - 1));
            let name = "z".repeat(limits::NAME_BYTES);
            let kind = CommandKind::Custom as i32;
            let told = gateway.shards().command(
                TENANT,
                &"x".repeat(limits::AGENT_ID_BYTES),
                Command { id, kind, name },
            );
            assert_eq!(told, Ok(true));
            assert_eq!(stream.push().await.commands.len(), number + 1);
        }
        connection.send_datagram(heartbeat_frame(beat(&name, 2)).encode_to_vec().into()).unwrap();
        let FromServer::Answer(answer) = datagram(&connection).await else { panic!("no answer") };
        assert!(answer.more);
        let short = directive(*answer);
        assert!(short.explain.is_none() && short.commands.is_empty());
        assert!(short.next_interval_ms > 0 && !short.retry.is_empty());
        let answer = stream.beat(beat(&name, 3)).await;
        assert!(!answer.more);
        assert_eq!(directive(answer).commands.len(), limits::COMMANDS);
    });
}

const TOKEN: &str = "0123456789abcdef";

/// A configuration in which the tenant `acme` has [`TOKEN`], or another one.
fn with_token(token: &str) -> String {
    let digest = token_sha256(token);
    format!("{TLS}[[credentials]]\ntenant = \"acme\"\ntoken_sha256 = \"{digest}\"\n")
}

fn token_sha256(token: &str) -> String {
    use rustls::crypto::hash::HashAlgorithm;
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider;
    assert_eq!(hash.algorithm(), HashAlgorithm::SHA256);
    let digest = hash.hash(token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_hello_gives_the_whole_connection_its_tenant() {
    let gateway = start(&with_token(TOKEN));
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        assert_eq!(problem(stream.beat(beat("a", 1)).await).code(), Some(Code::Unauthenticated));
        stream.send(&hello_frame(TOKEN)).await;
        let FromServer::Welcome(welcome) = stream.frame().await.unwrap() else { panic!() };
        assert_eq!(welcome.frame_bytes as usize, limits::FRAME_BYTES);
        assert_eq!(welcome.in_flight as usize, limits::STREAM_HEARTBEATS);
        directive(stream.beat(beat("a", 1)).await);
        let acme = gateway.config().tenants.find("acme").unwrap();
        assert!(gateway.shards().find(acme, "a", |_| ()).is_some());
        assert!(gateway.shards().find(TENANT, "a", |_| ()).is_none());
        // Another stream and datagrams need no hello of their own.
        let mut other = Stream::open(&connection).await;
        directive(other.beat(beat("a", 2)).await);
        connection.send_datagram(heartbeat_frame(beat("a", 3)).encode_to_vec().into()).unwrap();
        let FromServer::Answer(answer) = datagram(&connection).await else { panic!() };
        directive(*answer);
        // A token that is revoked ends with the reload; another one may follow.
        gateway.reload(&config(&with_token("fedcba9876543210"))).unwrap();
        assert_eq!(problem(stream.beat(beat("a", 4)).await).code(), Some(Code::Unauthenticated));
        stream.send(&hello_frame("fedcba9876543210")).await;
        assert!(matches!(stream.frame().await.unwrap(), FromServer::Welcome(_)));
        directive(stream.beat(beat("a", 4)).await);
    });
}

#[test]
fn a_hello_with_a_token_that_is_not_known_ends_the_connection() {
    let gateway = start(&with_token(TOKEN));
    run(async {
        for in_datagram in [false, true] {
            let (_endpoint, connection) = connect(&gateway).await;
            let hello = hello_frame("not the token at all");
            if in_datagram {
                connection.send_datagram(hello.encode_to_vec().into()).unwrap();
            } else {
                Stream::open(&connection).await.send(&hello).await;
            }
            assert_eq!(close_code(&connection).await, u64::from(Code::Unauthenticated.quic()));
        }
    });
}

#[test]
fn an_agent_that_moves_is_seen_at_its_new_address_on_the_same_connection() {
    let gateway = start(TLS);
    let seen = || {
        let peer = gateway.shards().find(TENANT, "a", |found| found.explained.unwrap().peer);
        peer.unwrap()
    };
    run(async {
        let (endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        directive(stream.beat(beat("a", 1)).await);
        assert_eq!(seen(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        // Mid-flight: some are on their way when the address changes.
        let beats: Vec<u8> = (2..=4)
            .flat_map(|n| heartbeat_frame(beat("a", n)).encode_length_delimited_to_vec())
            .collect();
        stream.sending.write_all(&beats).await.unwrap();
        endpoint.rebind(std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
        for number in 2..=4 {
            assert_eq!(directive(stream.answer().await).number, number);
        }
        let answer = stream.beat(beat("a", 5)).await;
        assert_eq!(directive(answer).outcome(), Outcome::Accepted);
        assert_eq!(seen(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
        // Pushes follow it.
        let _ = gateway.shards().command(TENANT, "a", command("c1"));
        assert_eq!(stream.push().await.commands, [command("c1")]);
    });
}

/// A client that has beaten once, at this address, comes back with its ticket over a network from
/// which nothing comes back: it cannot complete the handshake, and all that it sends is early.
pub async fn comes_back(
    endpoint: &quinn::Endpoint,
    first: std::net::SocketAddr,
    network: &Network,
) -> (quinn::Connection, quinn::ZeroRttAccepted) {
    let first = endpoint.connect(first, "localhost").unwrap().await.unwrap();
    let mut stream = Stream::open(&first).await;
    directive(stream.beat(beat("a", 1)).await);
    first.close(0u32.into(), b"");
    network.set_mute(true);
    let connecting = endpoint.connect(network.address, "localhost").unwrap();
    let Ok(early) = connecting.into_0rtt() else { panic!("no ticket") };
    early
}

/// What early data may do and what not, decided while the client cannot have ended its handshake.
#[test]
fn early_data_renews_and_does_nothing_else() {
    let gateway = start(TLS);
    run(async {
        let network = Network::before(address(&gateway)).await;
        let endpoint = endpoint(ALPN.as_bytes());
        let (connection, accepted) = comes_back(&endpoint, network.address, &network).await;
        let stop = Heartbeat { status: Status::Stopping as i32, ..beat("a", 9) };
        let register = Heartbeat { class: Some("critical".into()), ..beat("a", 9) };
        let restart = Heartbeat { incarnation: 2, ..beat("a", 1) };
        let refused = [beat("b", 1), stop, register, restart, beat("a", 1)];
        let mut stream = Stream::open(&connection).await;
        for heartbeat in refused.clone() {
            stream.send(&heartbeat_frame(heartbeat)).await;
        }
        stream.send(&heartbeat_frame(beat("a", 2))).await;
        until("renewed early", || sequence(&gateway, "a") == Some(2)).await;
        let too_early = "pulsegate_problems_total{code=\"too_early\"}";
        assert_eq!(counter(&gateway, too_early), refused.len() as u64);
        let datagram_frame = heartbeat_frame(beat("c", 1)).encode_to_vec();
        connection.send_datagram(datagram_frame.into()).unwrap();
        until("a datagram is early as well", || {
            counter(&gateway, too_early) == refused.len() as u64 + 1
        })
        .await;
        assert_eq!((sequence(&gateway, "b"), sequence(&gateway, "c")), (None, None));
        network.set_mute(false);
        assert!(accepted.await, "early data was read");
        for heartbeat in &refused {
            let answer = stream.answer().await;
            assert_eq!(answer.sequence, heartbeat.sequence);
            assert_eq!(problem(answer).code(), Some(Code::TooEarly));
        }
        assert_eq!(directive(stream.answer().await).number, 2);
        // The same stream, after the handshake.
        assert_eq!(directive(stream.beat(beat("b", 1)).await).outcome(), Outcome::Accepted);
    });
}

#[test]
fn early_data_does_not_move_the_address_that_an_agent_is_seen_at() {
    let gateway = start(TLS);
    run(async {
        let network = Network::before(address(&gateway)).await;
        let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 3], 0).into()).unwrap();
        let config = crate::quic_client::client_config(crate::quic_client::tls(ALPN.as_bytes()));
        endpoint.set_default_client_config(config);
        // The network in between makes it come from 127.0.0.1.
        let (connection, _) = comes_back(&endpoint, address(&gateway), &network).await;
        let mut stream = Stream::open(&connection).await;
        stream.send(&heartbeat_frame(beat("a", 2))).await;
        until("renewed early", || sequence(&gateway, "a") == Some(2)).await;
        let seen = || gateway.shards().find(TENANT, "a", |found| found.explained.unwrap().peer);
        assert_eq!(seen(), Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3))));
        network.set_mute(false);
        directive(stream.answer().await);
        directive(stream.beat(beat("a", 3)).await);
        assert_eq!(seen(), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    });
}

/// Somebody has recorded the first packets of a client, and sends them again from elsewhere.
#[test]
fn early_data_that_is_sent_again_is_not_read_again() {
    let gateway = start(&format!("{TLS}[limits]\nheader_timeout_ms = 1000\n"));
    let count =
        |name: &str, label: &str| counter(&gateway, &format!("pulsegate_{name}{{{label}}}"));
    run(async {
        let network = Network::before(address(&gateway)).await;
        let endpoint = endpoint(ALPN.as_bytes());
        let (connection, _) = comes_back(&endpoint, network.address, &network).await;
        let mut stream = Stream::open(&connection).await;
        stream.send(&heartbeat_frame(beat("a", 2))).await;
        until("renewed early", || sequence(&gateway, "a") == Some(2)).await;
        let recorded = network.kept();
        // The client is never heard of again; what it began is given up.
        let failed = || count("quic_handshakes_total", "result=\"failed\"");
        until("given up", || failed() == 1).await;
        let beats = |outcome: &str| {
            let label = format!("transport=\"quic_stream\",outcome=\"{outcome}\"");
            count("heartbeats_total", &label)
        };
        let replay = tokio::net::UdpSocket::bind("127.0.0.4:0").await.unwrap();
        let begun = tokio::time::Instant::now();
        while failed() == 1 {
            assert!(begun.elapsed() < crate::quic_client::PATIENCE, "never taken for a handshake");
            for packet in &recorded {
                replay.send_to(packet, address(&gateway)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((beats("accepted"), beats("duplicate"), beats("rejected")), (2, 0, 0));
        assert_eq!(sequence(&gateway, "a"), Some(2));
    });
}

#[test]
fn a_shutdown_answers_what_came_and_closes_without_an_error() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        directive(stream.beat(beat("a", 1)).await);
        let ended = tokio::spawn(gateway.shutdown(Duration::from_secs(20)));
        assert!(stream.frame().await.is_err(), "the gateway ends its side of the stream");
        assert_eq!(close_code(&connection).await, 0);
        ended.await.unwrap();
    });
}

#[test]
fn a_gateway_that_was_restarted_ends_connections_that_it_does_not_know() {
    let files = crate::quic_limits::Files::new("reset");
    files.write(&crate::quic_limits::Identity::new());
    let tls = files.toml();
    let listen = move |port: u16| {
        let overrides = Overrides::default().flag("--listen", "listen", "127.0.0.1:0").flag(
            "--ephemeral",
            "journal.ephemeral",
            "true",
        );
        let toml = format!("quic_listen = \"127.0.0.1:{port}\"\n{tls}");
        let config = Config::parse("test", &toml, std::path::Path::new("."), &overrides).unwrap();
        pulsegate_gateway::server::Gateway::start(config.into()).unwrap()
    };
    run(async {
        let gateway = listen(0);
        let port = address(&gateway).port();
        let network = Network::before(address(&gateway)).await;
        let endpoint = endpoint(ALPN.as_bytes());
        let connection = endpoint.connect(network.address, "localhost").unwrap().await.unwrap();
        let mut stream = Stream::open(&connection).await;
        directive(stream.beat(beat("a", 1)).await);
        // It is gone without a word, as after a crash.
        network.set_mute(true);
        tokio::task::spawn_blocking(move || drop(gateway)).await.unwrap();
        let again = tokio::task::spawn_blocking(move || {
            loop {
                let free = std::net::UdpSocket::bind(("127.0.0.1", port));
                if free.is_ok() {
                    drop(free);
                    return listen(port);
                }
                std::thread::yield_now();
            }
        });
        let _again = again.await.unwrap();
        network.set_mute(false);
        let lost = async {
            while connection.close_reason().is_none() {
                let frame = heartbeat_frame(beat("a", 2)).encode_to_vec();
                let _ = connection.send_datagram(Bytes::from(frame));
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        lost.await;
        assert_eq!(connection.close_reason(), Some(quinn::ConnectionError::Reset));
    });
}
