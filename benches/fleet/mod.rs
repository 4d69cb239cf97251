//! A fleet that beats over any transport: closed loops, each lane sends its next heartbeat when
//! the last one is answered.

mod compact;
mod http;
mod tls;
#[path = "../../tests/it/trusting.rs"]
#[allow(clippy::unwrap_used, reason = "shared with the tests")]
#[allow(unreachable_pub, reason = "shared with the tests")]
mod trusting;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_wire::{Heartbeat, Metrics, Status};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How heartbeats travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Http1,
    /// HTTP/1.1 over TLS.
    Https,
    Http2,
    Http3,
    Stream,
    Datagram,
}

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Https => "https",
            Self::Http2 => "http2",
            Self::Http3 => "http3",
            Self::Stream => "stream",
            Self::Datagram => "datagram",
        }
    }

    pub(crate) fn is_quic(self) -> bool {
        matches!(self, Self::Http3 | Self::Stream | Self::Datagram)
    }
}

/// Connections, and heartbeats that are under way on each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) lanes: usize,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    /// Heartbeats sent again because no answer came.
    pub(crate) again: u64,
    pub(crate) took: Duration,
    /// Microseconds from sent to answered.
    pub(crate) latencies: Vec<u32>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.bad += other.bad;
        self.again += other.again;
        self.latencies.extend(other.latencies);
    }

    fn answered(&mut self, good: bool, sent: Instant) {
        if good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
        self.latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// Until when a run sends: for so long, or so many heartbeats in each lane.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Over(Duration),
    Each(u64),
}

/// Agents that take turns in one lane, so that none comes more often than its quota lets it.
const AGENTS_A_LANE: u64 = 8;

/// One heartbeat under way at a time.
struct Lane {
    first: u64,
    sent: u64,
    sequence: u64,
    until: Until,
    start: Instant,
}

impl Lane {
    fn new(lane: u64, sequence: u64, until: Until) -> Self {
        Self { first: lane * AGENTS_A_LANE, sent: 0, sequence, until, start: Instant::now() }
    }

    /// The next heartbeat; `None` at the end of the run.
    fn next(&mut self) -> Option<Heartbeat> {
        let over = match self.until {
            Until::Over(length) => self.start.elapsed() >= length,
            Until::Each(count) => self.sent >= count,
        };
        if over {
            return None;
        }
        let agent = self.first + self.sent % AGENTS_A_LANE;
        let sequence = self.sequence + self.sent / AGENTS_A_LANE;
        self.sent += 1;
        Some(Heartbeat {
            agent_id: format!("agent-{agent:06}"),
            incarnation: 1,
            sequence,
            status: Status::Healthy as i32,
            directive_seen: sequence - 1,
            metrics: Some(Metrics {
                queue_depth: Some(12),
                active_tasks: Some(3),
                cpu_percent: Some(41.5),
                ..Metrics::default()
            }),
            ..Heartbeat::default()
        })
    }
}

/// The lanes of one connection.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    first_lane: u64,
    lanes: usize,
    sequence: u64,
    until: Until,
    /// All connections begin together, and stay open until all are done and were looked at.
    gates: Arc<[Barrier; 3]>,
}

impl Plan {
    async fn begin(&self) {
        self.gates[0].wait().await;
    }

    async fn hold(&self) {
        self.gates[1].wait().await;
        self.gates[2].wait().await;
    }

    fn lanes(&self) -> Vec<Lane> {
        let lanes = self.first_lane..self.first_lane + self.lanes as u64;
        lanes.map(|lane| Lane::new(lane, self.sequence, self.until)).collect()
    }
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Beats over one transport; sequences begin with this one. `look` is called while all connections
/// are open and idle.
pub(crate) fn run(
    wire: Wire,
    address: SocketAddr,
    shape: Shape,
    until: Until,
    sequence: u64,
    look: impl FnOnce(),
) -> io::Result<Count> {
    let gates: Arc<[Barrier; 3]> =
        Arc::new(std::array::from_fn(|_| Barrier::new(shape.connections + 1)));
    runtime()?.block_on(async {
        let endpoints = tls::Endpoints::new(wire, shape.connections)?;
        let mut connections = JoinSet::new();
        for connection in 0..shape.connections {
            let plan = Plan {
                address,
                first_lane: (connection * shape.lanes) as u64,
                lanes: shape.lanes,
                sequence,
                until,
                gates: gates.clone(),
            };
            match wire {
                Wire::Http1 => connections.spawn(http::http1(plan)),
                Wire::Https => connections.spawn(http::https(plan)),
                Wire::Http2 => connections.spawn(http::http2(plan)),
                Wire::Http3 => connections.spawn(http::http3(plan, endpoints.of(connection))),
                Wire::Stream => connections.spawn(compact::stream(plan, endpoints.of(connection))),
                Wire::Datagram => {
                    connections.spawn(compact::datagrams(plan, endpoints.of(connection)))
                }
            };
            // Not all handshakes at once.
            if connection % 32 == 31 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        pass(&gates[0], &mut connections).await?;
        let start = Instant::now();
        pass(&gates[1], &mut connections).await?;
        let took = start.elapsed();
        look();
        gates[2].wait().await;
        let mut count = Count::default();
        while let Some(ended) = connections.join_next().await {
            count.add(ended??);
        }
        endpoints.told().await;
        count.took = took;
        Ok(count)
    })
}

/// Passes a gate together with all connections. One that ended would let the others wait: its
/// error comes first.
async fn pass(gate: &Barrier, connections: &mut JoinSet<io::Result<Count>>) -> io::Result<()> {
    tokio::select! {
        _ = gate.wait() => Ok(()),
        Some(ended) = connections.join_next() => {
            ended??;
            Err(io::Error::other("a connection ended before the others"))
        }
    }
}
