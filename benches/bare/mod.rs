//! What hyper alone can do: servers that parse the same heartbeat with the same types and answer
//! the same bytes as the gateway, and decide nothing.

pub(crate) mod quic;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pulsegate_wire::{Directive, Heartbeat, limits};
use socket2::{Domain, Protocol, Socket, Type};

/// What to answer, taken from an answer of the gateway.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Answer {
    /// Headers, but for those that hyper sets itself.
    pub(crate) headers: Vec<(String, String)>,
    /// The directive; its number is set to the sequence that is answered.
    pub(crate) directive: Directive,
}

/// How the threads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One single-threaded runtime per core, each with its own listener, as the gateway has it.
    PerCore,
    /// The same for HTTP/2.
    PerCoreHttp2,
    /// One multi-threaded runtime with one listener.
    Multi,
}

/// Serves until standard input ends, which it does at the latest with the process that reads.
/// The address is told in the first line of standard output.
pub(crate) fn serve(layout: Layout, answer: Answer) -> std::io::Result<()> {
    let answer = Arc::new(answer);
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = first.local_addr()?;
    let cores = std::thread::available_parallelism()?.get();
    match layout {
        Layout::PerCore | Layout::PerCoreHttp2 => {
            let mut listeners = vec![first];
            for _ in 1..cores {
                listeners.push(listen(address)?);
            }
            for listener in listeners {
                let answer = Arc::clone(&answer);
                let is_http2 = layout == Layout::PerCoreHttp2;
                std::thread::spawn(move || per_core(listener, is_http2, &answer));
            }
        }
        Layout::Multi => {
            std::thread::spawn(move || multi(first, &answer));
        }
    }
    println!("{address}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn per_core(
    listener: std::net::TcpListener,
    is_http2: bool,
    answer: &Answer,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state = Rc::new(RefCell::new(State::new(answer)));
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let state = Rc::clone(&state);
            let service = service_fn(move |request| {
                let state = Rc::clone(&state);
                async move {
                    let body = collect(request).await;
                    Ok::<_, Infallible>(state.borrow_mut().respond(body))
                }
            });
            let io = TokioIo::new(stream);
            if is_http2 {
                let builder = http2::Builder::new(Local);
                tokio::task::spawn_local(builder.serve_connection(io, service));
            } else {
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new());
                tokio::task::spawn_local(builder.serve_connection(io, service));
            }
        }
    }))
}

/// Runs what a connection of HTTP/2 spawns on its own thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn multi(listener: std::net::TcpListener, answer: &Answer) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let state = Arc::new(std::sync::Mutex::new(State::new(answer)));
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move {
                    let body = collect(request).await;
                    let mut state = state.lock().unwrap_or_else(|broken| broken.into_inner());
                    Ok::<_, Infallible>(state.respond(body))
                }
            });
            tokio::spawn(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    })
}

async fn collect(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), limits::HEARTBEAT_BYTES);
    body.collect().await.ok().map(|collected| collected.to_bytes())
}

/// What is kept from answer to answer, so that nothing but the bytes is made anew.
struct State {
    headers: Vec<(HeaderName, HeaderValue)>,
    directive: Directive,
}

impl State {
    fn new(answer: &Answer) -> Self {
        let header = |(name, value): &(String, String)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        };
        Self {
            headers: answer.headers.iter().filter_map(header).collect(),
            directive: answer.directive.clone(),
        }
    }

    fn respond(&mut self, body: Option<Bytes>) -> Response<Full<Bytes>> {
        let heartbeat = body.and_then(|body| serde_json::from_slice::<Heartbeat>(&body).ok());
        let Some(heartbeat) = heartbeat else {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        };
        self.directive.number = heartbeat.sequence;
        let bytes = serde_json::to_vec(&self.directive).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(bytes)));
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}
