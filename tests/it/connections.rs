//! Connections: slow, lying, too many, idle, encrypted, multiplexed and ended.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulsegate_core::EventKind;
use pulsegate_gateway::config::Config;
use pulsegate_gateway::server::Gateway;
use serde_json::{Value, json};

use crate::support::{Client, config, start};
use crate::trusting;

/// Short times, so that a test of slowness is quick.
const HASTY: &str = "[limits]\nheader_timeout_ms = 200\nbody_timeout_ms = 200\n";
const BEAT: &str = r#"{"agent_id":"a"}"#;

#[test]
fn a_connection_serves_one_heartbeat_after_another() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    for _ in 0..5 {
        assert_eq!(client.beat(BEAT).status, 200);
    }
}

#[test]
fn an_idle_connection_outlives_the_time_of_a_head() {
    let gateway = start(HASTY);
    let mut client = Client::to(&gateway);
    assert_eq!(client.beat(BEAT).status, 200);
    // Longer than three times the time of a head: the gateway must not be counting.
    client.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let nothing = std::io::Read::read(&mut client.stream, &mut [0]).unwrap_err();
    assert!(matches!(
        nothing.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    ));
    client.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(client.beat(BEAT).status, 200);
}

#[test]
fn a_connection_that_stays_idle_is_closed_in_the_end() {
    let gateway = start("[limits]\nidle_timeout_ms = 1000\n");
    let mut used = Client::to(&gateway);
    assert_eq!(used.beat(BEAT).status, 200);
    assert!(used.is_closed());
    let mut never_used = Client::to(&gateway);
    assert!(never_used.is_closed());
}

#[test]
fn a_head_that_comes_byte_by_byte_ends_its_connection() {
    let gateway = start(HASTY);
    let mut client = Client::to(&gateway);
    let mut closed = false;
    let head = "POST /v1/heartbeats HTTP/1.1\r\n".bytes().chain(std::iter::repeat(b'x'));
    for byte in head.take(1_000) {
        if std::io::Write::write_all(&mut client.stream, &[byte]).is_err() {
            closed = true;
            break;
        }
        client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        match std::io::Read::read(&mut client.stream, &mut [0; 512]) {
            Ok(0) => closed = true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => closed = true,
            _ => {}
        }
        if closed {
            break;
        }
    }
    assert!(closed, "a thousand bytes, fifty a second, and still open");
    assert_eq!(Client::to(&gateway).beat(BEAT).status, 200);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let gateway = start(HASTY);
    let mut client = Client::to(&gateway);
    client.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    let answer = client.answer();
    assert_eq!((answer.status, answer.problem().as_str()), (408, "request_timeout"));
    assert!(client.is_closed());
}

#[test]
fn a_length_that_lies_costs_the_liar_its_connection_and_nobody_else() {
    let gateway = start(HASTY);
    let mut long = Client::to(&gateway);
    long.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{\"agent");
    long.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut short = Client::to(&gateway);
    let body = "POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n";
    short.send(format!("{body}{BEAT}{{\"more\":1}}\r\n\r\n").as_bytes());
    assert_eq!(short.answer().status, 200);
    assert_eq!(short.answer().status, 400);
    assert!(short.is_closed());
    let mut two = Client::to(&gateway);
    two.send(b"POST /v1/heartbeats HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}");
    assert_eq!(two.answer().status, 400);
    assert_eq!(Client::to(&gateway).beat(BEAT).status, 200);
}

#[test]
fn a_head_of_a_megabyte_is_refused() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    client.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\nx: ");
    let filler = [b'x'; 4_096];
    // The gateway may end the connection while we still write; what counts is its answer.
    let sent =
        (0..256).take_while(|_| std::io::Write::write_all(&mut client.stream, &filler).is_ok());
    assert!(sent.count() > 0);
    let mut head = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut head);
    let head = String::from_utf8_lossy(&head);
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 431"), "{head}");
    assert_eq!(Client::to(&gateway).beat(BEAT).status, 200);
}

#[test]
fn one_connection_too_many_is_told_so_and_time_stands_still() {
    let gateway = start("[limits]\nconnections = 2\n");
    let mut places: Vec<Client> = (0..2).map(|_| Client::to(&gateway)).collect();
    for client in &mut places {
        assert_eq!(client.beat(BEAT).status, 200);
    }
    let answer = Client::to(&gateway).answer();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert!(answer.header("retry-after").is_some());
    let metrics = String::from_utf8(places[0].get("/metrics").body).unwrap();
    let held = metrics.lines().find(|line| line.starts_with("pulsegate_clock_held ")).unwrap();
    assert_eq!(held, "pulsegate_clock_held 1");
    // The places that there are, go on being served.
    assert_eq!(places[1].beat(BEAT).status, 200);
}

#[test]
fn slow_senders_beyond_the_limit_are_shed_and_quick_ones_are_not() {
    let gateway = start("[limits]\nin_flight = 1\n");
    let begin = || {
        let mut client = Client::to(&gateway);
        client.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n");
        client
    };
    let mut clients = [begin(), begin(), begin()];
    // One of the three waits for its body; which one, the threads decide.
    let shed = loop {
        let waiting: Vec<bool> = clients
            .iter_mut()
            .map(|client| {
                client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                client.stream.peek(&mut [0]).is_err()
            })
            .collect();
        if waiting.iter().filter(|waiting| **waiting).count() == 1 {
            break waiting;
        }
    };
    for (client, waiting) in clients.iter_mut().zip(shed) {
        client.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        if waiting {
            client.send(BEAT.as_bytes());
            assert_eq!(client.answer().status, 200);
        } else {
            let answer = client.answer();
            assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
            assert!((1_000..=3_000).contains(&answer.json()["retry_after_ms"].as_u64().unwrap()));
            assert!(answer.header("ratelimit-policy").is_some());
        }
    }
    assert_eq!(Client::to(&gateway).beat(BEAT).status, 200);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn beat_request(agent: &str) -> Request<Full<Bytes>> {
    let body = Bytes::from(json!({"agent_id": agent}).to_string());
    Request::post("http://localhost/v1/heartbeats").body(Full::new(body)).unwrap()
}

/// Beats over HTTP/2 on this stream, many at once, and returns their statuses.
async fn beat_over_http2<IO>(io: IO) -> Vec<StatusCode>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let executor = TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    let mut beats = tokio::task::JoinSet::new();
    for agent in 0..32 {
        let mut sender = sender.clone();
        beats.spawn(async move {
            let answer = sender.send_request(beat_request(&format!("a{agent}"))).await.unwrap();
            let status = answer.status();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["outcome"], "accepted");
            status
        });
    }
    beats.join_all().await
}

#[test]
fn http2_is_spoken_in_cleartext_by_prior_knowledge() {
    let gateway = start("");
    let statuses = runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.addresses().agents).await.unwrap();
        beat_over_http2(stream).await
    });
    assert_eq!(statuses, vec![StatusCode::OK; 32]);
}

fn tls(
    alpn: &[u8],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> tokio_rustls::TlsConnector {
    tokio_rustls::TlsConnector::from(Arc::new(trusting::client(alpn, versions)))
}

#[test]
fn tls_chooses_the_protocol_that_the_client_asks_for() {
    let gateway = start("[tls]\ndevelopment = true\n");
    let address = gateway.addresses().agents;
    runtime().block_on(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let connect = |alpn: &'static [u8]| async move {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let name = "localhost".try_into().unwrap();
                tls(alpn, &[version]).connect(name, stream).await.unwrap()
            };
            assert_eq!(beat_over_http2(connect(b"h2").await).await.len(), 32);
            let io = TokioIo::new(connect(b"http/1.1").await);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let answer = sender.send_request(beat_request("one")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
    });
}

#[test]
fn an_open_listener_without_tls_and_credentials_is_refused() {
    let overrides = pulsegate_gateway::config::Overrides::default()
        .flag("--listen", "listen", "0.0.0.0:0")
        .flag("--ephemeral", "journal.ephemeral", "true");
    let parse = |toml: &str| {
        Config::parse("test", toml, std::path::Path::new("."), &overrides)
            .map_err(|error| error.to_string())
            .and_then(|config| {
                pulsegate_gateway::server::Gateway::start(Arc::new(config))
                    .map_err(|error| error.to_string())
            })
    };
    assert!(parse("").is_err());
    let gateway = parse("insecure = true\n").unwrap();
    let port = gateway.addresses().agents.port();
    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    assert_eq!(client.beat(BEAT).status, 200);
    assert_eq!(client.get("/healthz").status, 200);
    // Not even here does the address of the agents show the fleet.
    assert_eq!(client.get("/v1/agents").status, 404);
}

#[test]
fn a_shutdown_answers_what_is_in_flight_and_closes_the_rest() {
    let gateway = start("");
    let address = gateway.addresses().agents;
    let mut idle = Client::to(&gateway);
    assert_eq!(idle.beat(BEAT).status, 200);
    let mut busy = begin(&gateway);
    let ended = std::thread::spawn(move || {
        runtime().block_on(gateway.shutdown(Duration::from_secs(20)));
    });
    assert!(idle.is_closed());
    assert!(!ended.is_finished());
    busy.send(BEAT.as_bytes());
    assert_eq!(busy.answer().status, 200);
    assert!(busy.is_closed());
    ended.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

/// A request whose body is awaited: it holds up a shutdown.
fn begin(gateway: &Gateway) -> Client {
    let mut busy = Client::to(gateway);
    busy.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n");
    busy.send(b"content-length: 16\r\n\r\n");
    // The interim answer says that the request is being served.
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut busy.stream, &mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    busy
}

#[test]
fn nobody_is_suspect_because_the_gateway_drains() {
    let gateway = start(
        "[classes.quick]\ninterval_ms = 1000\ndetect_within_ms = 3000\nsuspect_grace_ms = 500\n\
         fail_grace_ms = 600\nact_grace_ms = 600\n",
    );
    let mut events = gateway.subscribe();
    let mut busy = begin(&gateway);
    let mut agent = Client::to(&gateway);
    assert_eq!(agent.beat(r#"{"agent_id":"quick","class":"quick"}"#).status, 200);
    let ended = std::thread::spawn(move || {
        runtime().block_on(gateway.shutdown(Duration::from_secs(20)));
    });
    assert!(agent.is_closed());
    // More than twice what it takes an agent of this class to fail, with nowhere to beat to.
    busy.stream.set_read_timeout(Some(Duration::from_millis(3_500))).unwrap();
    std::io::Read::read(&mut busy.stream, &mut [0]).unwrap_err();
    assert!(!ended.is_finished());
    busy.send(BEAT.as_bytes());
    busy.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(busy.answer().status, 200);
    ended.join().unwrap();
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let silent =
        |event: &EventKind| matches!(event, EventKind::Suspected { .. } | EventKind::Failed { .. });
    assert!(told.iter().any(|event| event.agent_id == "quick"), "{told:?}");
    assert!(!told.iter().any(|event| silent(&event.kind)), "{told:?}");
}

#[test]
fn a_shutdown_does_not_wait_longer_than_its_grace() {
    let gateway = start("");
    let mut busy = Client::to(&gateway);
    busy.send(b"POST /v1/heartbeats HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n");
    runtime().block_on(gateway.shutdown(Duration::from_millis(100)));
    assert!(busy.is_closed());
}

#[test]
fn a_reload_changes_quotas_at_once_and_keeps_agents() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    assert_eq!(client.beat(BEAT).status, 200);
    let kept = gateway.reload(&config("[limits]\nagent_burst = 1\nconnections = 7\n")).unwrap();
    assert_eq!(kept, ["limits.connections"]);
    assert_eq!(client.beat(BEAT).status, 200);
    assert_eq!(client.beat(BEAT).status, 429);
    assert_eq!(client.get("/v1/agents/a").json()["state"], "alive");
}
