//! The transports, and a driver for each.

mod compact;
mod http;
mod http3;
mod tcp;

use std::sync::LazyLock;
use std::time::Duration;

use pulsegate_gateway::server::Gateway;
use tokio::runtime::Runtime;

use super::client::{Client, Form};

/// How heartbeats cross a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    Stream,
    Datagram,
}

/// A way to a gateway.
pub struct Transport {
    /// What a failing case is named with.
    pub name: &'static str,
    /// What the metrics call it.
    pub label: &'static str,
    pub kind: Kind,
    pub form: Form,
    pub is_tls: bool,
    /// Opens a client that shows this token.
    pub connect: fn(&Gateway, Option<&str>) -> Box<dyn Client>,
}

/// Every transport; the others are compared with the first. Each version of HTTP is spoken in both
/// forms, and over TCP with and without TLS.
pub const TRANSPORTS: &[Transport] = &[
    Transport {
        name: "http1, json",
        label: "http1",
        kind: Kind::Http,
        form: Form::Json,
        is_tls: false,
        connect: |gateway, token| tcp::http1(gateway, Form::Json, false, token),
    },
    Transport {
        name: "http1 over tls, protobuf",
        label: "http1",
        kind: Kind::Http,
        form: Form::Protobuf,
        is_tls: true,
        connect: |gateway, token| tcp::http1(gateway, Form::Protobuf, true, token),
    },
    Transport {
        name: "http2 in cleartext, protobuf",
        label: "http2",
        kind: Kind::Http,
        form: Form::Protobuf,
        is_tls: false,
        connect: |gateway, token| tcp::http2(gateway, Form::Protobuf, false, token),
    },
    Transport {
        name: "http2 over tls, json",
        label: "http2",
        kind: Kind::Http,
        form: Form::Json,
        is_tls: true,
        connect: |gateway, token| tcp::http2(gateway, Form::Json, true, token),
    },
    Transport {
        name: "http3, json",
        label: "http3",
        kind: Kind::Http,
        form: Form::Json,
        is_tls: true,
        connect: |gateway, token| http3::client(gateway, Form::Json, token),
    },
    Transport {
        name: "http3, protobuf",
        label: "http3",
        kind: Kind::Http,
        form: Form::Protobuf,
        is_tls: true,
        connect: |gateway, token| http3::client(gateway, Form::Protobuf, token),
    },
    Transport {
        name: "compact stream",
        label: "quic_stream",
        kind: Kind::Stream,
        form: Form::Protobuf,
        is_tls: true,
        connect: compact::stream,
    },
    Transport {
        name: "compact datagram",
        label: "quic_datagram",
        kind: Kind::Datagram,
        form: Form::Protobuf,
        is_tls: true,
        connect: compact::datagram,
    },
];

/// Patience with a gateway that does not answer: not a timing assertion, a way out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the connections of all drivers live: cases are not asynchronous.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime")
});

/// Waits for what a driver does.
fn wait<T>(work: impl Future<Output = T>) -> T {
    let in_time = async { tokio::time::timeout(PATIENCE, work).await };
    RUNTIME.block_on(in_time).expect("an answer in time")
}
