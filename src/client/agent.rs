//! The handle that an agent's program holds.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_wire::{AckOutcome, Command, CommandAck, Directive, Metrics, Progress, Status};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::Error;
use crate::builder::Builder;
use crate::drive::Shared;
use crate::engine::{Counts, Ended};

/// Longest time that a graceful stop waits for the gateway. Source: chosen; two retries.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A beating agent.
///
/// Every method returns at once, but for those that say that they wait. None fails: what cannot
/// be sent now is sent later, and a gateway that is down costs the agent nothing.
///
/// Dropping it without [`stop`](Self::stop) ends the heartbeats without a word: to the gateway
/// that is a crash.
pub struct Agent {
    shared: Arc<Shared>,
    carrier: Carrier,
}

/// What runs the loop.
pub(crate) enum Carrier {
    Task(JoinHandle<()>),
    /// A thread of its own, told to end by dropping the sender.
    Thread {
        _running: oneshot::Sender<()>,
    },
}

impl Carrier {
    pub(crate) fn task(
        runtime: &Handle,
        driving: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self::Task(runtime.spawn(driving))
    }

    pub(crate) fn thread(
        driving: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let (running, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("pulsegate".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = driving => {}
                        _ = ended => {}
                    }
                });
            })
            .map_err(Error::Thread)?;
        Ok(Self::Thread { _running: running })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}

impl Agent {
    /// Sets up an agent that beats to the gateway at `url`, such as `http://127.0.0.1:8420`,
    /// under the name `agent_id` (1 to 128 of `A-Z a-z 0-9 . _ : @ -`).
    pub fn builder(url: &str, agent_id: &str) -> Builder {
        Builder::new(url, agent_id)
    }

    pub(crate) const fn new(shared: Arc<Shared>, carrier: Carrier) -> Self {
        Self { shared, carrier }
    }

    /// Changes what the agent measured about itself. A metric that crosses a threshold of the
    /// newest directive makes the agent beat early.
    pub fn metrics(&self, change: impl FnOnce(&mut Metrics)) {
        let now = self.shared.now();
        self.shared.engine().handle_report(now, |report| change(&mut report.metrics));
        self.shared.changed.notify_one();
    }

    /// Says how the agent fares; default [`Status::Healthy`].
    pub fn status(&self, status: Status) {
        let now = self.shared.now();
        self.shared.engine().handle_report(now, |report| report.status = status);
    }

    /// Changes how far the agent's work has come. Once called, a watermark that does not rise
    /// within `stall_after_ms` counts as a stall.
    pub fn progress(&self, change: impl FnOnce(&mut Progress)) {
        let now = self.shared.now();
        self.shared.engine().handle_report(now, |report| {
            change(report.progress.get_or_insert_default());
        });
    }

    /// The next command from the gateway; waits for one. `None` once the agent beats no more:
    /// [`ended`](Self::ended) says why.
    pub async fn next_command(&self) -> Option<Command> {
        loop {
            let arrived = self.shared.arrived.notified();
            tokio::pin!(arrived);
            // From here on nothing that arrives is missed.
            arrived.as_mut().enable();
            {
                let mut engine = self.shared.engine();
                if let Some(command) = engine.poll_command() {
                    return Some(command);
                }
                if engine.ended().is_some() {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// The next command from the gateway, if one is there.
    #[must_use]
    pub fn try_command(&self) -> Option<Command> {
        self.shared.engine().poll_command()
    }

    /// Says what became of a command; `detail` is a sentence for people, cut at 256 bytes. The
    /// gateway repeats a command until it is acknowledged; the agent gets it once.
    pub fn ack(&self, command: &Command, outcome: AckOutcome, detail: &str) {
        let ack = CommandAck {
            id: command.id.clone(),
            outcome: outcome as i32,
            detail: detail.to_owned(),
        };
        self.shared.engine().handle_ack(ack);
    }

    /// The newest directive, with interval, reason, leases and throttle; `None` before the first.
    #[must_use]
    pub fn directive(&self) -> Option<Arc<Directive>> {
        self.shared.engine().directive().cloned()
    }

    /// The newest directive and every one that follows, for programs that adapt to them.
    #[must_use]
    pub fn directives(&self) -> watch::Receiver<Option<Arc<Directive>>> {
        self.shared.directives.subscribe()
    }

    /// Share of its usual new work that the agent should take on, 0 to 1.
    #[must_use]
    pub fn throttle(&self) -> f64 {
        self.directive().and_then(|directive| directive.throttle).unwrap_or(1.0).clamp(0.0, 1.0)
    }

    /// What was sent and received so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.engine().counts()
    }

    /// Why the agent beats no more; `None` while it does.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.shared.engine().ended()
    }

    /// Leaves gracefully: sends a last heartbeat with status `stopping`, so that the silence that
    /// follows is no failure. Waits until the gateway has answered, five seconds at most.
    pub async fn stop(self) {
        self.shared.engine().handle_stop(self.shared.now());
        self.shared.changed.notify_one();
        let ended = async { while self.next_command().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::debug!("the gateway did not answer the goodbye");
        }
        drop(self.carrier);
    }
}
