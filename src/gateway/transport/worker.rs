//! One thread: its runtime, its listeners and the connections that they accept.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::connection::{Accepted, Builders, Place, turn_away};
use crate::api::ListenerKind;
use crate::clock::{Clock, STALL_MS};

/// How often a worker shows that it turns. Source: chosen, ten times within [`STALL_MS`].
const TURN: Duration = Duration::from_millis(STALL_MS / 10);

/// Shortest and longest pause after the kernel could not accept (too many open files, say).
/// Source: chosen: what is missing comes back when connections end.
const ACCEPT_PAUSE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Where a gateway stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted and served.
    Serving,
    /// None is accepted; those that are open end after what is in flight.
    Draining,
    /// Whatever is left ends now.
    Ended,
}

/// Waits until no more is to be taken in.
pub(super) async fn draining(phase: &mut watch::Receiver<Phase>) {
    // An error means that the gateway is gone, which is an end as well.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// One listener of a worker.
pub struct Lane {
    /// The socket.
    pub listener: TcpListener,
    /// What is served there.
    pub kind: ListenerKind,
    /// How connections are encrypted; `None` for cleartext.
    pub tls: Option<TlsAcceptor>,
}

/// A thread that serves connections.
#[derive(Debug)]
pub struct Worker {
    thread: JoinHandle<()>,
    turned_ms: Arc<AtomicU64>,
    ended: watch::Receiver<bool>,
    phase: watch::Receiver<Phase>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// The thread or its runtime could not be made.
    pub fn spawn(
        index: usize,
        lanes: Vec<Lane>,
        shared: Arc<Shared>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (name, clock) = (format!("worker-{index}"), shared.clock.clone());
        Self::run(name, runtime, &clock, phase.clone(), run(lanes, shared, phase))
    }

    /// Runs `work` on a thread of this name. It is to end when the phase says so, and not before.
    pub(super) fn run(
        name: String,
        runtime: Runtime,
        clock: &Arc<Clock>,
        phase: watch::Receiver<Phase>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let turned_ms = Arc::new(AtomicU64::new(clock.read().raw_ms));
        let (ending, ended) = watch::channel(false);
        let (turned, clock) = (turned_ms.clone(), clock.clone());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            runtime.spawn(turn(clock, turned));
            runtime.block_on(work);
            drop(runtime);
            ending.send_replace(true);
        })?;
        Ok(Self { thread, turned_ms, ended, phase })
    }

    /// Whether what its sockets hold cannot be heard: its runtime has not turned for more than a
    /// second, or it has ended while the gateway serves.
    #[must_use]
    pub fn is_stuck(&self, raw_ms: u64) -> bool {
        // Its side of the watch is dropped by a panic as well.
        let is_gone = self.thread.is_finished() || self.ended.has_changed().is_err();
        if is_gone || *self.ended.borrow() {
            return *self.phase.borrow() == Phase::Serving;
        }
        raw_ms.saturating_sub(self.turned_ms.load(Relaxed)) > STALL_MS
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is an end as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Shows that its runtime turns.
async fn turn(clock: Arc<Clock>, turned_ms: Arc<AtomicU64>) {
    loop {
        turned_ms.store(clock.read().raw_ms, Relaxed);
        tokio::time::sleep(TURN).await;
    }
}

async fn run(lanes: Vec<Lane>, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    // A watch of the worker's own: its connections do not meet those of other threads there.
    let own = watch::Sender::new(Phase::Serving);
    let (alive, mut all_ended) = mpsc::channel::<()>(1);
    let accepting: Vec<_> = lanes
        .into_iter()
        .map(|lane| tokio::spawn(accept(lane, shared.clone(), own.subscribe(), alive.clone())))
        .collect();
    drop(alive);
    draining(&mut phase).await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    own.send_replace(Phase::Draining);
    tokio::select! {
        _ = all_ended.recv() => {}
        _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
    }
}

async fn accept(
    lane: Lane,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
) {
    let Lane { listener, kind, tls } = lane;
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let builders = Arc::new(Builders::new());
    let mut pause = ACCEPT_PAUSE[0];
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                shared.shed.note(crate::telemetry::ShedReason::Connections);
                tracing::error!(%error, ?pause, "no connection can be accepted");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE[1]);
                continue;
            }
        };
        pause = ACCEPT_PAUSE[0];
        let Some(place) = Place::take(&shared) else {
            turn_away(&shared, stream, tls.is_some());
            continue;
        };
        let (shared, builders, phase) = (shared.clone(), builders.clone(), phase.clone());
        let alive = alive.clone();
        let accepted = Accepted { shared, builders, kind, peer, place, phase, alive };
        accepted.start(stream, tls.clone());
    }
}

/// The peer went away before it was accepted: nothing is wrong here.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a worker that does this is stuck at the end, while the gateway serves and drains.
    fn is_stuck_after(work: impl Future<Output = ()> + Send + 'static) -> [bool; 2] {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (clock, phase) = (Arc::new(Clock::default()), watch::Sender::new(Phase::Serving));
        let name = "worker-test".to_owned();
        let worker =
            Worker::run(name, runtime().unwrap(), &clock, phase.subscribe(), work).unwrap();
        runtime().unwrap().block_on(worker.ended());
        let raw_ms = clock.read().raw_ms;
        let while_serving = worker.is_stuck(raw_ms);
        phase.send_replace(Phase::Draining);
        [while_serving, worker.is_stuck(raw_ms)]
    }

    #[test]
    fn whoever_came_to_a_worker_that_is_gone_cannot_be_heard_while_the_gateway_serves() {
        assert_eq!(is_stuck_after(async {}), [true, false], "its socket failed");
        assert_eq!(is_stuck_after(async { panic!("a bug") }), [true, false]);
    }
}
