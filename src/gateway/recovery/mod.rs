//! Carries out what the machine asked for: one action, one executor, one outcome.
//!
//! A plan names executors by id; what an id does stands in the configuration and nowhere else.
//! [`Recovery::start`] returns at once; the outcome goes back through [`Fleet`]. An id that is not
//! configured (any more) is answered with `Unknown`.
//!
//! - `command` queues a command for the agent's next directive. It is `Unreachable` unless the
//!   agent still beats, and `Done` once the command waits: whether it helped, the agent's
//!   heartbeats tell, and what the agent answered is an event of its own.
//! - `exec` runs a configured program: see [`exec`]. At most `recovery.concurrency` run at once
//!   and `recovery.queue` wait for their turn; one beyond fails at once.
//!
//! Nothing is started before its intent is durable: a gateway that is killed in between finds out
//! about it when it comes back.
//!
//! This room may touch `core`, `config`, `durable` and `telemetry`. It does not know the shards.

pub mod exec;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pulsegate_core::{Action, ActionOutcome, TenantId};
use pulsegate_wire::{Command, CommandKind};
use tokio::sync::{Semaphore, watch};

use crate::config::{Config, ExecutorKind, Program};
use crate::durable::{Durable, Mark};
use crate::telemetry::{Gauge, Telemetry, incident_word};

use exec::Facts;

/// What recovery asks of the agents' owner.
pub trait Fleet: Send + Sync {
    /// Takes the outcome of an action.
    fn handle_outcome(&self, action: &Action, outcome: ActionOutcome);
    /// Queues a command for an agent's next directive; `false` if the agent is not known.
    fn command(&self, tenant: TenantId, agent_id: &str, command: Command) -> bool;
}

/// The executors of one gateway; clones share them.
#[derive(Clone)]
pub struct Recovery {
    inner: Arc<Inner>,
}

struct Inner {
    config: ArcSwap<Config>,
    durable: Durable,
    telemetry: Telemetry,
    runtime: tokio::runtime::Handle,
    fleet: OnceLock<Weak<dyn Fleet>>,
    concurrency: u32,
    turns: Semaphore,
    queue: usize,
    queued: AtomicUsize,
    closing: AtomicBool,
    stop: watch::Sender<bool>,
}

impl Recovery {
    /// Executors of this configuration, run on this runtime.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        durable: Durable,
        telemetry: Telemetry,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let concurrency = config.recovery.concurrency;
        let queue = config.recovery.queue as usize;
        Self {
            inner: Arc::new(Inner {
                config: ArcSwap::new(config),
                durable,
                telemetry,
                runtime,
                fleet: OnceLock::new(),
                concurrency,
                turns: Semaphore::new(concurrency as usize),
                queue,
                queued: AtomicUsize::new(0),
                closing: AtomicBool::new(false),
                stop: watch::Sender::new(false),
            }),
        }
    }

    /// Says where outcomes and commands go; the first call counts. Until then, and once the fleet
    /// is gone, they go nowhere.
    pub fn connect(&self, fleet: Weak<dyn Fleet>) {
        let _ = self.inner.fleet.set(fleet);
    }

    /// Takes executors of a new configuration; actions under way keep theirs.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.inner.config.store(config);
    }

    /// Starts an action once its intent is durable, and returns at once. One whose intent cannot
    /// be made durable fails.
    pub fn start(&self, action: Action, intent: Mark) {
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let outcome = match inner.durable.wait(intent).await {
                Ok(()) => inner.carry_out(&action).await,
                Err(_) => {
                    let why = "not started: the journal cannot be written";
                    inner.refused(&action, why)
                }
            };
            if let Some(fleet) = inner.fleet() {
                fleet.handle_outcome(&action, outcome);
            }
        });
    }

    /// Lets programs that run come to their end for at most `grace`, then ends them; what waits
    /// for its turn fails.
    pub async fn shutdown(&self, grace: Duration) {
        let inner = &self.inner;
        inner.closing.store(true, SeqCst);
        let all = || inner.turns.acquire_many(inner.concurrency);
        if tokio::time::timeout(grace, all()).await.is_err() {
            inner.stop.send_replace(true);
            let _ = all().await;
        }
    }
}

impl Inner {
    fn fleet(&self) -> Option<Arc<dyn Fleet>> {
        self.fleet.get().and_then(Weak::upgrade)
    }

    async fn carry_out(&self, action: &Action) -> ActionOutcome {
        let config = self.config.load_full();
        let executor = config.executors.iter().find(|executor| executor.id == action.executor);
        match executor.map(|executor| &executor.kind) {
            None => ActionOutcome::Unknown,
            Some(ExecutorKind::Command { kind, name }) => self.command(action, *kind, name),
            Some(ExecutorKind::Exec(program)) => self.program(action, program, &config).await,
        }
    }

    /// Queues the command of an action; its id is that of the action, so that the same action
    /// asks only once.
    fn command(&self, action: &Action, kind: CommandKind, name: &str) -> ActionOutcome {
        if !action.reachable {
            return ActionOutcome::Unreachable;
        }
        let id = format!("action-{}", action.id);
        let command = Command { id, kind: kind as i32, name: name.to_owned() };
        let known = self
            .fleet()
            .is_some_and(|fleet| fleet.command(action.tenant, &action.agent_id, command));
        if known { ActionOutcome::Done } else { ActionOutcome::Unreachable }
    }

    fn refused(&self, action: &Action, why: &str) -> ActionOutcome {
        self.telemetry.program_ended(action, ActionOutcome::Failed, why, Duration::ZERO, "");
        ActionOutcome::Failed
    }

    async fn program(&self, action: &Action, program: &Program, config: &Config) -> ActionOutcome {
        let Some(waiting) = Waiting::enter(self) else {
            return self.refused(action, "not started: too many actions wait for their turn");
        };
        let turn = self.turns.acquire().await;
        drop(waiting);
        if turn.is_err() || self.closing.load(SeqCst) {
            return self.refused(action, "not started: the gateway ends");
        }
        let class = config.classes.iter().find(|(id, _)| *id == action.class);
        let facts = Facts {
            agent_id: &action.agent_id,
            tenant: config.tenants.name(action.tenant),
            class: class.map_or("", |(_, class)| &class.name),
            action_id: &action.id.to_string(),
            incident: incident_word(action.incident),
        };
        self.telemetry.step(Gauge::ActionsOpen, true);
        let began = Instant::now();
        let ended = exec::run(program, &facts, self.stop.subscribe()).await;
        self.telemetry.step(Gauge::ActionsOpen, false);
        let output = ended.output.to_string();
        let took = began.elapsed();
        self.telemetry.program_ended(action, ended.outcome, &ended.exit, took, &output);
        ended.outcome
    }
}

/// An action that waits for its turn.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn enter(inner: &'a Inner) -> Option<Self> {
        let room = |queued: usize| (queued < inner.queue).then_some(queued + 1);
        inner.queued.fetch_update(SeqCst, SeqCst, room).ok()?;
        inner.telemetry.step(Gauge::ActionsQueued, true);
        Some(Self(inner))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, SeqCst);
        self.0.telemetry.step(Gauge::ActionsQueued, false);
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("queue", &self.inner.queue).finish_non_exhaustive()
    }
}
