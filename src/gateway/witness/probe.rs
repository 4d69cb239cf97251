//! One question to one address: a connection, and over it a GET where that was registered.
//!
//! A kernel accepts connections for a process that hangs, so an accepted connection proves little;
//! but little is enough, because the witness is heard only when it says *gone*. The same goes for
//! an answer below 500: a path that has moved (404) or asks for a credential (401) was still
//! answered by somebody. A server that answers 500 and above says of itself that it cannot work,
//! and it does not beat either.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pulsegate_wire::{Probe, ProbeKind};
use tokio::net::TcpStream;

/// Most bytes that are read of an answer; its body is never asked for. Source: chosen; hyper
/// takes no less, and twice the head of a talkative server fits.
const ANSWER_BYTES: usize = 8 * 1024;
/// Most headers of an answer; one with more is none. Source: chosen; hyper's own default is 100.
const ANSWER_HEADERS: usize = 64;
/// Who asks, in the log of the agent's server.
const AGENT: &str = concat!("pulsegate/", env!("CARGO_PKG_VERSION"));

/// What one try found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A sign of life.
    Alive,
    /// None, and why.
    Gone(String),
    /// We could not ask: that says nothing about the agent.
    Unsure(String),
}

/// Asks once, for no longer than `limit`.
pub(super) async fn ask(probe: &Probe, address: IpAddr, limit: Duration) -> Found {
    let Ok(port) = u16::try_from(probe.port) else {
        return Found::Unsure(format!("{} is no port", probe.port));
    };
    let target = SocketAddr::new(address, port);
    let asking = async {
        match (connect(target).await, ProbeKind::from_number(probe.kind)) {
            (Err(found), _) => found,
            (Ok(_), ProbeKind::Tcp) => Found::Alive,
            (Ok(stream), ProbeKind::Http) => get(stream, target, &probe.path).await,
        }
    };
    let in_time = tokio::time::timeout(limit, asking).await;
    in_time.unwrap_or_else(|_| Found::Gone(format!("no answer within {limit:?}")))
}

async fn connect(target: SocketAddr) -> Result<TcpStream, Found> {
    let stream = TcpStream::connect(target).await.map_err(|error| judge(&error))?;
    // Where nobody listens, a socket of this machine can be given the very port that it connects
    // to, and then meets itself.
    let is_itself = stream.local_addr().is_ok_and(|local| local == target);
    if is_itself { Err(Found::Gone("nobody listens".to_owned())) } else { Ok(stream) }
}

/// What it means that no connection came about: the other side was asked and did not take it, or
/// we could not even ask (no route, no descriptor, no port, a rule of our own firewall).
fn judge(error: &io::Error) -> Found {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut,
    };
    match error.kind() {
        // A host that is down does not answer for its address on its own network, and our kernel
        // then says that it cannot be reached.
        ConnectionRefused | ConnectionReset | ConnectionAborted | TimedOut | HostUnreachable => {
            Found::Gone(error.to_string())
        }
        _ => Found::Unsure(error.to_string()),
    }
}

/// Asks for a path; whatever comes back, it is not followed and its body is not read.
async fn get(stream: TcpStream, target: SocketAddr, path: &str) -> Found {
    let request = Request::get(path)
        .header(HOST, target.to_string())
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Found::Unsure(format!("the path cannot be asked for: {error}")),
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_BYTES).max_headers(ANSWER_HEADERS);
    let (mut sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
        Ok(ends) => ends,
        Err(error) => return Found::Gone(error.to_string()),
    };
    // The connection is what moves the answer; what ends it, the answer tells.
    let connection = pin!(async {
        let _ = connection.await;
        pending().await
    });
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer,
        never = connection => never,
    };
    match answer {
        Ok(answer) if answer.status().as_u16() < 500 => Found::Alive,
        Ok(answer) => Found::Gone(format!("it answers {}", answer.status())),
        Err(error) => Found::Gone(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
