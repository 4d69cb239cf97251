//! HTTP/3: the same service as over TCP.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use h3::client::SendRequest;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::Outcome;
use quinn::Endpoint;
use serde_json::{Value, json};

use crate::quic_client::{
    Network, Stream, TLS, address, beat, connect, counter, directive, endpoint, run, sequence,
    until,
};
use crate::support::{agents_known, start};
use crate::trusting;

type Sender = SendRequest<h3_quinn::OpenStreams, Bytes>;

/// A client of HTTP/3.
struct Http3 {
    _endpoint: Endpoint,
    connection: quinn::Connection,
    sender: Sender,
}

async fn speak(connection: quinn::Connection) -> Sender {
    let quic = h3_quinn::Connection::new(connection);
    let (mut driver, sender) = h3::client::new(quic).await.unwrap();
    tokio::spawn(async move { driver.wait_idle().await });
    sender
}

async fn client(gateway: &Gateway) -> Http3 {
    let endpoint = endpoint(b"h3");
    let connecting = endpoint.connect(address(gateway), "localhost").unwrap();
    let connection = connecting.await.unwrap();
    let sender = speak(connection.clone()).await;
    Http3 { _endpoint: endpoint, connection, sender }
}

async fn ask(sender: &mut Sender, request: Request<()>, body: &[u8]) -> (Response<()>, Vec<u8>) {
    let mut stream = sender.send_request(request).await.unwrap();
    // The gateway may answer and stop listening before all of it is sent.
    let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
    let _ = stream.finish().await;
    let response = stream.recv_response().await.unwrap();
    let mut bytes = Vec::new();
    while let Some(mut data) = stream.recv_data().await.unwrap() {
        bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    (response, bytes)
}

impl Http3 {
    async fn ask(&mut self, method: Method, path: &str, body: &[u8]) -> (Response<()>, Value) {
        let uri = format!("https://localhost{path}");
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let (response, bytes) = ask(&mut self.sender, request, body).await;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&bytes));
        });
        (response, body)
    }

    async fn post(&mut self, body: &Value) -> (Response<()>, Value) {
        self.ask(Method::POST, "/v1/heartbeats", body.to_string().as_bytes()).await
    }
}

/// A heartbeat over HTTP/1.1 and TLS, with the headers of its answer.
async fn over_tcp(gateway: &Gateway, body: &Value) -> (http::HeaderMap, Value) {
    let tls = trusting::client(b"http/1.1", &[&rustls::version::TLS13]);
    let stream = tokio::net::TcpStream::connect(gateway.addresses().agents).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let io = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/v1/heartbeats").header("host", "localhost");
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.headers, serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn every_transport_gives_the_same_directive_and_knows_the_others_heartbeats() {
    let gateway = start(TLS);
    run(async {
        let heartbeat = json!({"agent_id": "a", "incarnation": 1, "sequence": 1});
        let (headers, mut first) = over_tcp(&gateway, &heartbeat).await;
        assert_eq!(first["outcome"], "accepted");
        first["outcome"] = json!("duplicate");
        let mut http3 = client(&gateway).await;
        let (answer, again) = http3.post(&heartbeat).await;
        assert_eq!(again, first);
        let (_endpoint, connection) = connect(&gateway).await;
        let compact = directive(Stream::open(&connection).await.beat(beat("a", 1)).await);
        assert_eq!(compact.outcome(), Outcome::Duplicate);
        assert_eq!(serde_json::to_value(compact).unwrap(), first);
        // The headers as well, but for those that only one of them can have.
        let names = |headers: &http::HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.retain(|name| name != "alt-svc");
            names.sort();
            names
        };
        assert_eq!(names(answer.headers()), names(&headers));
        assert_eq!(answer.headers()["content-type"], "application/json");
        let label = "pulsegate_heartbeats_total{transport=\"http3\",outcome=\"duplicate\"}";
        assert_eq!(counter(&gateway, label), 1);
    });
}

#[test]
fn answers_over_tls_say_where_http3_is() {
    let gateway = start(TLS);
    let beat = json!({"agent_id": "a"});
    let (headers, _) = run(over_tcp(&gateway, &beat));
    let port = address(&gateway).port();
    assert_eq!(headers["alt-svc"], format!("h3=\":{port}\"; ma=3600"));
    for elsewhere in ["quic = false", "quic_listen = \"127.0.0.2:0\""] {
        let without = start(&format!("{elsewhere}\n{TLS}"));
        let (headers, _) = run(over_tcp(&without, &beat));
        assert!(!headers.contains_key("alt-svc"), "{elsewhere}");
    }
}

#[test]
fn errors_have_the_same_documents_and_headers() {
    let gateway = start(&format!("{TLS}[limits]\nagent_burst = 1\n"));
    run(async {
        let mut http3 = client(&gateway).await;
        let (answer, problem) = http3.ask(Method::POST, "/v1/heartbeats", b"{").await;
        assert_eq!((answer.status().as_u16(), &problem["code"]), (400, &json!("malformed")));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let (answer, problem) = http3.ask(Method::GET, "/v1/heartbeats", b"").await;
        assert_eq!(answer.status().as_u16(), 405);
        assert_eq!(problem["code"], "method_not_allowed");
        let (answer, problem) = http3.ask(Method::POST, "/v1/heartbeats", &[b' '; 16_385]).await;
        assert_eq!((answer.status().as_u16(), &problem["limit"]), (413, &json!(16_384.0)));
        http3.post(&json!({"agent_id": "a"})).await;
        let (answer, problem) = http3.post(&json!({"agent_id": "a"})).await;
        assert_eq!((answer.status().as_u16(), &problem["code"]), (429, &json!("rate_limited")));
        assert!(answer.headers().contains_key("retry-after"));
        assert!(answer.headers().contains_key("ratelimit-policy"));
        let (answer, problem) = http3.ask(Method::GET, "/v1/agents/nobody", b"").await;
        assert_eq!((answer.status().as_u16(), &problem["code"]), (404, &json!("agent_unknown")));
    });
}

#[test]
fn batches_and_operators_are_served_as_over_tcp() {
    let gateway = start(TLS);
    run(async {
        let mut http3 = client(&gateway).await;
        let heartbeats: Vec<Value> =
            (0..1_000).map(|agent| json!({"agent_id": format!("agent-{agent}")})).collect();
        let body = json!({"heartbeats": heartbeats}).to_string();
        let path = "/v1/heartbeats/batch";
        let (answer, results) = http3.ask(Method::POST, path, body.as_bytes()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let results = results["results"].as_array().unwrap();
        assert_eq!(results.len(), 1_000);
        assert!(results.iter().all(|result| result["directive"]["outcome"] == "accepted"));
        assert_eq!(agents_known(&gateway), 1_000);
        let (answer, page) = http3.ask(Method::GET, "/v1/agents?limit=10", b"").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(page["agents"].as_array().unwrap().len(), 10);
        // As large as a batch may be at all, which takes more than one window.
        let padded = format!("{{\"heartbeats\":[]{}}}", " ".repeat(1_048_576 - 17));
        let (answer, _) = http3.ask(Method::POST, path, padded.as_bytes()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let (answer, _) = http3.ask(Method::POST, path, &[padded.as_bytes(), b" "].concat()).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    });
}

#[test]
fn many_requests_share_a_connection() {
    let gateway = start(TLS);
    run(async {
        let http3 = client(&gateway).await;
        let mut requests = tokio::task::JoinSet::new();
        for agent in 0..64 {
            let mut sender = http3.sender.clone();
            requests.spawn(async move {
                let request = Request::post("https://localhost/v1/heartbeats").body(()).unwrap();
                let body = json!({"agent_id": format!("a{agent}")}).to_string();
                ask(&mut sender, request, body.as_bytes()).await.0.status()
            });
        }
        assert_eq!(requests.join_all().await, vec![StatusCode::OK; 64]);
    });
}

#[test]
fn a_head_beyond_the_limit_is_not_sent_and_a_huge_frame_ends_its_stream() {
    // Time must not be what ends it.
    let gateway = start(&format!("{TLS}[limits]\nheader_timeout_ms = 600000\n"));
    run(async {
        let mut http3 = client(&gateway).await;
        let get = |size: usize| {
            let request = Request::get("https://localhost/healthz");
            request.header("x-filler", "x".repeat(size)).body(()).unwrap()
        };
        // It comes with the settings of the gateway, which an answer proves to be read.
        ask(&mut http3.sender, get(10), b"").await;
        assert!(http3.sender.send_request(get(32 * 1024)).await.is_err(), "it is announced");
        // A frame that says it has a gigabyte: nothing of it is kept.
        let (mut sending, _reading) = http3.connection.open_bi().await.unwrap();
        sending.write_all(&[0x21, 0xc0, 0, 0, 0, 0x40, 0, 0, 0]).await.unwrap();
        let _ = sending.write_all(&[0; 4_096]).await;
        let stopped = sending.stopped().await.unwrap();
        let code = h3::error::Code::H3_EXCESSIVE_LOAD.value();
        assert_eq!(stopped.map(u64::from), Some(code), "the gateway reads no further");
        let (answer, _) = ask(&mut http3.sender, get(10), b"").await;
        assert_eq!(answer.status(), StatusCode::OK, "the connection goes on");
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let gateway = start(&format!("{TLS}[limits]\nbody_timeout_ms = 200\n"));
    run(async {
        let mut http3 = client(&gateway).await;
        let request = Request::post("https://localhost/v1/heartbeats").body(()).unwrap();
        let mut stream = http3.sender.send_request(request).await.unwrap();
        stream.send_data(Bytes::from_static(b"{")).await.unwrap();
        let response = stream.recv_response().await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(http3.post(&json!({"agent_id": "a"})).await.0.status(), StatusCode::OK);
    });
}

#[test]
fn a_length_that_lies_is_refused() {
    let gateway = start(TLS);
    run(async {
        let mut http3 = client(&gateway).await;
        let body = json!({"agent_id": "a"}).to_string();
        for length in [body.len() - 1, body.len() + 1] {
            let request = Request::post("https://localhost/v1/heartbeats");
            let request = request.header("content-length", length).body(()).unwrap();
            let (answer, _) = ask(&mut http3.sender, request, body.as_bytes()).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{length}");
        }
        assert_eq!(agents_known(&gateway), 0);
    });
}

#[test]
fn early_requests_renew_and_do_nothing_else() {
    let gateway = start(TLS);
    run(async {
        let network = Network::before(address(&gateway)).await;
        let endpoint = endpoint(b"h3");
        let first = endpoint.connect(network.address, "localhost").unwrap().await.unwrap();
        let mut sender = speak(first.clone()).await;
        let post = || Request::post("https://localhost/v1/heartbeats").body(()).unwrap();
        let beat = |agent: &str, sequence: u64| {
            json!({"agent_id": agent, "incarnation": 1, "sequence": sequence}).to_string()
        };
        ask(&mut sender, post(), beat("a", 1).as_bytes()).await;
        first.close(0u32.into(), b"");
        network.set_mute(true);
        let connecting = endpoint.connect(network.address, "localhost").unwrap();
        let Ok((connection, accepted)) = connecting.into_0rtt() else { panic!("no ticket") };
        let sender = speak(connection).await;
        let get = Request::get("https://localhost/v1/agents").body(()).unwrap();
        let batch = Request::post("https://localhost/v1/heartbeats/batch").body(()).unwrap();
        let items = format!("{{\"heartbeats\":[{},{}]}}", beat("c", 1), beat("a", 2));
        let requests = [(post(), beat("b", 1)), (get, String::new()), (batch, items)];
        let mut answers = Vec::new();
        for (request, body) in requests {
            let mut sender = sender.clone();
            answers.push(tokio::spawn(async move {
                ask(&mut sender, request, body.as_bytes()).await.0.status().as_u16()
            }));
        }
        until("renewed early", || sequence(&gateway, "a") == Some(2)).await;
        let too_early = "pulsegate_problems_total{code=\"too_early\"}";
        until("the others are refused", || counter(&gateway, too_early) == 3).await;
        network.set_mute(false);
        assert!(accepted.await);
        let mut statuses = Vec::new();
        for answer in answers {
            statuses.push(answer.await.unwrap());
        }
        assert_eq!(statuses, [425, 425, 200]);
        assert_eq!((sequence(&gateway, "b"), sequence(&gateway, "c")), (None, None));
    });
}

#[test]
fn a_shutdown_answers_what_is_in_flight() {
    let gateway = start(TLS);
    run(async {
        let mut http3 = client(&gateway).await;
        let request = Request::post("https://localhost/v1/heartbeats").body(()).unwrap();
        let mut stream = http3.sender.send_request(request).await.unwrap();
        stream.send_data(Bytes::from_static(b"{")).await.unwrap();
        until("it is under way", || counter(&gateway, "pulsegate_requests_in_flight") == 1).await;
        let ended = tokio::spawn(gateway.shutdown(std::time::Duration::from_secs(20)));
        stream.send_data(Bytes::from_static(b"\"agent_id\":\"a\"}")).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), StatusCode::OK);
        ended.await.unwrap();
        let code = crate::quic_client::close_code(&http3.connection).await;
        assert_eq!(code, h3::error::Code::H3_NO_ERROR.value());
    });
}
