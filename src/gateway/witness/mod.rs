//! The second witness: asks silent agents for a sign of life, at the address that they beat from.
//!
//! A heartbeat that does not come says that *something* is wrong: the agent, or the way between
//! us. So a critical agent that has failed is acted upon only after a longer grace, unless a
//! second witness says the same as the silence: a probe that the agent registered itself found
//! nobody. [`Witness::ask`] returns at once; what confirms a silence goes back through [`Fleet`],
//! and nothing else does.
//!
//! A false witness has a live agent restarted, a missing one costs patience. Hence:
//! - One try that fails is not enough, there are two.
//! - What may be our own fault is no witness: no route, no descriptor left, or core time that
//!   stood still while we waited.
//! - What finds no place is not asked; recovery then only acts later. Questions that decide
//!   nothing never wait for a place, so that they take none from those that do.
//! - A probe goes to the observed address and nowhere else, whatever an agent registers; it
//!   follows no redirect, and an agent can bring about two of them, two tries each, in one silence.
//!
//! This room may touch `core`, `clock`, `config` and `telemetry`. It does not know the shards.

mod probe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use pulsegate_core::Suspicion;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry::{ProbeOutcome, Telemetry};

use probe::Found;

/// Tries that have to fail before a silence is confirmed.
///
/// More would ask longer than it takes a critical agent to fail. Source: chosen; one lost packet,
/// or one listener that is just being replaced, is no witness.
const TRIES: u32 = 2;

/// What the witness asks of the agents' owner.
pub trait Fleet: Send + Sync {
    /// Whether the silence that a suspicion is about still goes on.
    fn is_silent(&self, suspicion: &Suspicion) -> bool;
    /// Takes the word of the witness that an agent is gone; `false` when it came too late.
    fn handle_witness(&self, suspicion: &Suspicion) -> bool;
}

/// The second witness of one gateway; clones share it.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Inner>,
}

struct Inner {
    config: ArcSwap<Config>,
    clock: Arc<Clock>,
    telemetry: Telemetry,
    runtime: tokio::runtime::Handle,
    fleet: OnceLock<Weak<dyn Fleet>>,
    places: Arc<Semaphore>,
    queue: usize,
    queued: AtomicUsize,
}

impl Witness {
    /// A witness of this configuration, whose probes run on this runtime.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        clock: Arc<Clock>,
        telemetry: Telemetry,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let places = Arc::new(Semaphore::new(config.probes.concurrency as usize));
        let queue = config.probes.queue as usize;
        Self {
            inner: Arc::new(Inner {
                config: ArcSwap::new(config),
                clock,
                telemetry,
                runtime,
                fleet: OnceLock::new(),
                places,
                queue,
                queued: AtomicUsize::new(0),
            }),
        }
    }

    /// Says who is told; the first call counts. Until then, and once the fleet is gone, nobody is.
    pub fn connect(&self, fleet: Weak<dyn Fleet>) {
        let _ = self.inner.fleet.set(fleet);
    }

    /// Takes what changes live in a new configuration: the next try goes by it.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.inner.config.store(config);
    }

    /// Asks a silent agent for a sign of life at the address that it was observed to beat from,
    /// and returns at once.
    pub fn ask(&self, suspicion: Suspicion, address: IpAddr) {
        let inner = self.inner.clone();
        if !inner.config.load().probes.enabled {
            return;
        }
        // What is connected to must look as it is logged, not as a mapped form of it.
        let address = address.to_canonical();
        let place = inner.places.clone().try_acquire_owned().ok();
        let waiting =
            (place.is_none() && suspicion.is_decisive).then(|| Waiting::enter(&inner)).flatten();
        if place.is_none() && waiting.is_none() {
            let why = "too many others are being asked";
            return inner.telemetry.probed(&suspicion, address, ProbeOutcome::Skipped, why);
        }
        self.inner.runtime.spawn(async move {
            let place = match place {
                Some(place) => place,
                None => match inner.places.clone().acquire_owned().await {
                    Ok(place) => place,
                    Err(_) => return,
                },
            };
            drop(waiting);
            inner.find_out(&suspicion, address).await;
            drop(place);
        });
    }
}

impl Inner {
    fn fleet(&self) -> Option<Arc<dyn Fleet>> {
        self.fleet.get().and_then(Weak::upgrade)
    }

    /// Asks, tells the fleet what confirms its suspicion, and everybody what was found.
    async fn find_out(&self, suspicion: &Suspicion, address: IpAddr) {
        let lost_ms = self.lost_ms();
        let (outcome, why) = match self.question(suspicion, address).await {
            Found::Alive => (ProbeOutcome::Alive, String::new()),
            Found::Unsure(why) => (ProbeOutcome::Skipped, why),
            Found::Gone(_) if self.lost_ms() != lost_ms || self.clock.is_held() => {
                (ProbeOutcome::Skipped, "we did not run, or could not listen".to_owned())
            }
            Found::Gone(why) => {
                let counts = self.fleet().is_some_and(|fleet| fleet.handle_witness(suspicion));
                if counts { (ProbeOutcome::Gone, why) } else { too_late() }
            }
        };
        self.telemetry.probed(suspicion, address, outcome, &why);
    }

    /// Tries until there is a sign of life, or often enough.
    async fn question(&self, suspicion: &Suspicion, address: IpAddr) -> Found {
        let mut found = Found::Unsure("it was not asked".to_owned());
        for attempt in 0..TRIES {
            if attempt > 0 {
                let pause_ms = self.config.load().probes.pause_ms;
                tokio::time::sleep(Duration::from_millis(pause_ms.into())).await;
            }
            let config = self.config.load_full();
            if !config.probes.enabled {
                return Found::Unsure("probes were switched off".to_owned());
            }
            if self.clock.is_held() {
                return Found::Unsure("core time stands still".to_owned());
            }
            if !self.fleet().is_some_and(|fleet| fleet.is_silent(suspicion)) {
                return Found::Unsure(too_late().1);
            }
            let limit = Duration::from_millis(config.probes.timeout_ms.into());
            found = probe::ask(&suspicion.probe, address, limit).await;
            if !matches!(found, Found::Gone(_)) {
                break;
            }
        }
        found
    }

    /// Time that was taken out of core time, a stall that ended just now included.
    fn lost_ms(&self) -> u64 {
        // Whoever reads the clock first after a stall takes it out.
        let _ = self.clock.read();
        self.clock.lost_ms()
    }
}

fn too_late() -> (ProbeOutcome, String) {
    (ProbeOutcome::Skipped, "it is not silent any more".to_owned())
}

/// A question that waits for its turn.
struct Waiting(Arc<Inner>);

impl Waiting {
    fn enter(inner: &Arc<Inner>) -> Option<Self> {
        let room = |queued: usize| (queued < inner.queue).then_some(queued + 1);
        inner.queued.fetch_update(SeqCst, SeqCst, room).ok()?;
        Some(Self(inner.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("queue", &self.inner.queue).finish_non_exhaustive()
    }
}
