//! What a panic costs: its request, and over HTTP/1.1 at most the connection that it came on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::routing::get;
use bytes::{Buf as _, Bytes};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::*;

#[path = "../../../tests/it/trusting.rs"]
#[allow(unreachable_pub, reason = "shared with the integration tests")]
mod trusting;

/// A body that panics where the others are sent: in the task of its connection or request.
struct Breaking;

impl http_body::Body for Breaking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("a bug in an answer");
    }
}

async fn panicking() -> StatusCode {
    panic!("a bug in a handler")
}

/// A gateway with one worker, and two routes that panic: before their answer and within it.
fn start(tls: Option<Certificate>) -> Gateway {
    let mut config = Config { tls, ..Config::default() };
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.workers = Some(1);
    config.journal.ephemeral = true;
    let routes = |router: Router| {
        router
            .route("/panics", get(panicking))
            .route("/breaks", get(|| async { Body::new(Breaking) }))
    };
    Gateway::start_with(Arc::new(config), routes).unwrap()
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://localhost{path}");
    Request::get(uri).header("host", "localhost").body(Empty::new()).unwrap()
}

/// The status of an answer that came whole; `None` where it did not.
macro_rules! ask {
    ($sender:expr, $path:expr) => {
        match $sender.send_request(request($path)).await {
            Ok(answer) => {
                let status = answer.status();
                answer.into_body().collect().await.ok().map(|_| status)
            }
            Err(_) => None,
        }
    };
}

async fn connect(address: SocketAddr) -> TokioIo<TcpStream> {
    TokioIo::new(TcpStream::connect(address).await.unwrap())
}

async fn http1_client(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    let (sender, connection) = http1::handshake(connect(address).await).await.unwrap();
    tokio::spawn(connection);
    sender
}

const OK: Option<StatusCode> = Some(StatusCode::OK);
const INTERNAL: Option<StatusCode> = Some(StatusCode::INTERNAL_SERVER_ERROR);

#[tokio::test]
async fn a_panic_over_http1_costs_at_most_its_connection_and_gives_its_place_back() {
    let gateway = start(None);
    let address = gateway.addresses().agents;
    let (mut one, mut other) = (http1_client(address).await, http1_client(address).await);
    assert_eq!(ask!(other, "/readyz"), OK);
    assert_eq!(ask!(one, "/panics"), INTERNAL);
    assert_eq!(ask!(one, "/readyz"), OK, "the connection goes on");
    assert_eq!(ask!(one, "/breaks"), None);
    assert_eq!(ask!(other, "/readyz"), OK);
    assert_eq!(ask!(http1_client(address).await, "/readyz"), OK);
    drop(other);
    let end = Instant::now() + Duration::from_secs(30);
    while gateway.shared.connections.load(Relaxed) > 0 {
        assert!(Instant::now() < end, "a connection that panicked keeps its place");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_panic_over_http2_costs_its_request() {
    let gateway = start(None);
    let io = connect(gateway.addresses().agents).await;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(ask!(sender, "/panics"), INTERNAL);
    assert_eq!(ask!(sender, "/breaks"), None);
    assert_eq!(ask!(sender, "/readyz"), OK, "the connection goes on");
}

#[tokio::test]
async fn a_panic_over_http3_costs_its_request() {
    let gateway = start(Some(Certificate::Development));
    let tls = trusting::client(b"h3", &[&rustls::version::TLS13]);
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let address = gateway.addresses().quic.unwrap();
    let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
    let (mut driver, mut sender) =
        h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
    tokio::spawn(async move { driver.wait_idle().await });
    let mut ask = async |path: &str| {
        let mut stream = sender.send_request(request(path).map(|_| ())).await.ok()?;
        stream.finish().await.ok()?;
        let status = stream.recv_response().await.ok()?.status();
        while let Some(mut data) = stream.recv_data().await.ok()? {
            data.advance(data.remaining());
        }
        Some(status)
    };
    assert_eq!(ask("/panics").await, INTERNAL);
    assert_eq!(ask("/breaks").await, None);
    assert_eq!(ask("/readyz").await, OK, "the connection goes on");
}
