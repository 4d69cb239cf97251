//! Heartbeats over HTTP, in all its versions.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulsegate_wire::{Directive, Heartbeat};
use quinn::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Count, Lane, Plan, compact, trusting};

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request<B>(uri: &str, body: B) -> io::Result<Request<B>> {
    let uri: Uri = format!("{uri}/v1/heartbeats").parse().map_err(io::Error::other)?;
    let request = Request::post(uri).header("content-type", "application/json");
    request.body(body).map_err(io::Error::other)
}

fn body(heartbeat: &Heartbeat) -> Bytes {
    serde_json::to_vec(heartbeat).unwrap_or_default().into()
}

fn is_good(status: u16, body: &[u8]) -> bool {
    status == 200 && serde_json::from_slice::<Directive>(body).is_ok()
}

/// Beats in one lane with whatever sends a heartbeat and says whether its answer is good.
async fn beat<F>(mut lane: Lane, mut send: impl FnMut(Bytes) -> F) -> io::Result<Count>
where
    F: Future<Output = io::Result<bool>>,
{
    let mut count = Count::default();
    while let Some(heartbeat) = lane.next() {
        let sent = Instant::now();
        let is_good = send(body(&heartbeat)).await?;
        count.answered(is_good, sent);
    }
    Ok(count)
}

async fn all(mut lanes: JoinSet<io::Result<Count>>) -> io::Result<Count> {
    let mut count = Count::default();
    while let Some(lane) = lanes.join_next().await {
        count.add(lane??);
    }
    Ok(count)
}

pub(super) async fn http1(plan: Plan) -> io::Result<Count> {
    let io = open(plan.address).await?;
    one_by_one(plan, io).await
}

/// HTTP/1.1 over TLS.
pub(super) async fn https(plan: Plan) -> io::Result<Count> {
    let tls = trusting::client(b"http/1.1", &[&rustls::version::TLS13]);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let io = connector.connect(name, open(plan.address).await?).await?;
    one_by_one(plan, io).await
}

async fn one_by_one<IO>(plan: Plan, io: IO) -> io::Result<Count>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(io);
    let (mut sender, connection) = conn::http1::handshake(io).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    plan.begin().await;
    let mut count = Count::default();
    // HTTP/1.1 has one request under way.
    let Some(mut lane) = plan.lanes().into_iter().next() else { return Ok(count) };
    while let Some(heartbeat) = lane.next() {
        let sent = Instant::now();
        let mut request = request("", Full::new(body(&heartbeat)))?;
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("localhost"));
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let bytes = answer.collect().await.map_err(io::Error::other)?.to_bytes();
        count.answered(is_good(status, &bytes), sent);
    }
    plan.hold().await;
    connection.abort();
    Ok(count)
}

pub(super) async fn http2(plan: Plan) -> io::Result<Count> {
    let io = TokioIo::new(open(plan.address).await?);
    let handshake = conn::http2::handshake(TokioExecutor::new(), io).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    plan.begin().await;
    let mut lanes = JoinSet::new();
    for lane in plan.lanes() {
        let sender = sender.clone();
        lanes.spawn(beat(lane, move |bytes| {
            let mut sender = sender.clone();
            async move {
                let request = request("http://localhost", Full::new(bytes))?;
                let answer = sender.send_request(request).await.map_err(io::Error::other)?;
                let status = answer.status().as_u16();
                let bytes = answer.collect().await.map_err(io::Error::other)?.to_bytes();
                Ok(is_good(status, &bytes))
            }
        }));
    }
    let count = all(lanes).await?;
    plan.hold().await;
    connection.abort();
    Ok(count)
}

pub(super) async fn http3(plan: Plan, endpoint: Option<Endpoint>) -> io::Result<Count> {
    let quic = compact::connect(plan.address, endpoint).await?;
    let speaking = h3::client::new(h3_quinn::Connection::new(quic.clone())).await;
    let (mut driver, sender) = speaking.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move { driver.wait_idle().await });
    plan.begin().await;
    let mut lanes = JoinSet::new();
    for lane in plan.lanes() {
        let sender = sender.clone();
        lanes.spawn(beat(lane, move |bytes| {
            let mut sender = sender.clone();
            async move {
                let request = request("https://localhost", ())?;
                let mut stream = sender.send_request(request).await.map_err(io::Error::other)?;
                stream.send_data(bytes).await.map_err(io::Error::other)?;
                stream.finish().await.map_err(io::Error::other)?;
                let answer = stream.recv_response().await.map_err(io::Error::other)?;
                let mut bytes = Vec::new();
                while let Some(mut data) = stream.recv_data().await.map_err(io::Error::other)? {
                    bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                }
                Ok(is_good(answer.status().as_u16(), &bytes))
            }
        }));
    }
    let count = all(lanes).await?;
    plan.hold().await;
    driver.abort();
    quic.close(0_u32.into(), b"");
    Ok(count)
}
