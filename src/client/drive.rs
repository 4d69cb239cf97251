//! The shell around the engine: the clock, one connection, one loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use pulsegate_wire::{Directive, Heartbeat};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::engine::{Engine, Time, Transmit};
use crate::link::{Connection, LinkError};

/// What the agent's handle and the loop share.
pub(crate) struct Shared {
    engine: Mutex<Engine>,
    started: Instant,
    /// The agent changed something that may change what is due.
    pub(crate) changed: Notify,
    /// A command came in, or the end.
    pub(crate) arrived: Notify,
    pub(crate) directives: watch::Sender<Option<Arc<Directive>>>,
}

impl Shared {
    pub(crate) fn new(engine: impl FnOnce(Time) -> Engine) -> Self {
        Self {
            engine: Mutex::new(engine(Time::ZERO)),
            started: monotonic(),
            changed: Notify::new(),
            arrived: Notify::new(),
            directives: watch::channel(None).0,
        }
    }

    /// The engine; held for microseconds, never across a wait. A panic in the agent's own closure
    /// cannot leave it half changed, so a poisoned lock is as good as any.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        monotonic().duration_since(self.started)
    }
}

/// Drives the engine until it ends.
pub(crate) async fn drive(shared: Arc<Shared>, mut link: Connection) {
    loop {
        let (transmit, timeout) = {
            let mut engine = shared.engine();
            if engine.ended().is_some() {
                break;
            }
            if link.was_lost() {
                engine.handle_disconnect();
            }
            (engine.poll_transmit(shared.now(), wall_ms()), engine.poll_timeout())
        };
        match transmit {
            Some(transmit) => attempt(&shared, &mut link, &transmit).await,
            None => wait(&shared, timeout).await,
        }
    }
    shared.arrived.notify_waiters();
}

async fn attempt(shared: &Shared, link: &mut Connection, transmit: &Transmit) {
    let agent_id = &transmit.heartbeat.agent_id;
    let exchange = exchange(link, &transmit.heartbeat);
    let result = tokio::time::timeout(transmit.give_up_after, exchange).await;
    let now = shared.now();
    let mut engine = shared.engine();
    match result {
        Ok(Ok(Answer::Directive(directive))) => engine.handle_directive(now, *directive),
        Ok(Ok(Answer::Refusal(refusal))) => engine.handle_refusal(now, refusal),
        Ok(Ok(Answer::Foreign(status))) => {
            tracing::debug!(agent_id, status = status.as_u16(), "no gateway answered");
            engine.handle_failure(now);
        }
        Ok(Err(error)) => {
            tracing::debug!(agent_id, %error, "a heartbeat was not answered");
            engine.handle_failure(now);
        }
        Err(_elapsed) => {
            tracing::debug!(agent_id, "a heartbeat was not answered in time");
            engine.handle_failure(now);
        }
    }
    let newest = engine.directive().cloned();
    drop(engine);
    shared.directives.send_if_modified(|known| {
        let same = match (&*known, &newest) {
            (Some(known), Some(newest)) => Arc::ptr_eq(known, newest),
            (None, None) => true,
            _ => false,
        };
        *known = newest;
        !same
    });
    shared.arrived.notify_waiters();
}

async fn exchange(link: &mut Connection, heartbeat: &Heartbeat) -> Result<Answer, LinkError> {
    let body =
        serde_json::to_vec(heartbeat).map_err(|error| LinkError::Request(error.to_string()))?;
    let response = link.request(Method::POST, "/v1/heartbeats", body.into()).await?;
    Ok(Answer::read(&response))
}

async fn wait(shared: &Shared, timeout: Option<Time>) {
    let at = timeout.map(|timeout| shared.started + timeout);
    tokio::select! {
        () = shared.changed.notified() => {}
        () = async {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        } => {}
    }
}

/// A number that differs from process to process and from agent to agent.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The wall clock in Unix milliseconds; before 1970 it is 1970.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn monotonic() -> Instant {
    Instant::now()
}
