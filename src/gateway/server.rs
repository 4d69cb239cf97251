//! Life cycle: everything is put together here, started, reloaded and brought down.

mod house;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use http::HeaderValue;
use pulsegate_core::{Action, ActionOutcome, Event, Suspicion, TenantId};
use pulsegate_policy::{Cache, Engine};
use pulsegate_wire::event::{Reconfigured, TimeHeld};
use pulsegate_wire::{Command, EventKind};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;

use house::House;

use crate::admission::{Shed, Sources};
use crate::api::{self, ListenerKind};
use crate::clock::Hold;
use crate::config::{Certificate, Config};
use crate::durable::Durable;
use crate::lease::Leases;
use crate::recovery::{Fleet, Recovery};
use crate::rollout::{self, Rollout, watch_over};
use crate::shard::{Quota, Shards, drive, keep, watch_shadows};
use crate::telemetry::Telemetry;
use crate::transport::{
    self, BindError, Bound, Certificates, ConnectionLimits, Endpoint, Lane, Phase, Shared, Worker,
};
use crate::watch::Hub;
use crate::witness::{self, Witness};

/// Shards a worker: with four, two threads seldom want the same one. Source: DESIGN §2.
const SHARDS_A_WORKER: usize = 4;

/// Threads of the control runtime: the operator's routes, the timer, recovery and probes. One
/// listing may take long; the timer must not wait for it. Source: chosen.
const CONTROL_THREADS: usize = 2;

/// How often the files of the certificate are looked at. Larger: a new certificate is noticed
/// later; smaller: more looks, of a microsecond each. Source: chosen.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

/// Events since the last snapshot that make one worth taking at the end, so that the next start is
/// quick. Source: chosen; they are replayed in some ten milliseconds.
const SNAPSHOT_AT_END: u64 = 100_000;

/// How long a client may remember that HTTP/3 is served, in seconds. Larger: fewer clients ask over
/// TCP first; smaller: QUIC that is turned off is missed for a shorter time. Source: chosen.
const ALT_SVC_SECONDS: u32 = 3_600;

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    shards: Arc<Shards>,
    shared: Arc<Shared>,
    recovery: Recovery,
    witness: Witness,
    durable: Durable,
    leases: Leases,
    hub: Arc<Hub>,
    telemetry: Telemetry,
    engine: Engine,
    rollout: Rollout,
    /// `None` for cleartext.
    certificates: Option<Arc<Certificates>>,
    config: Arc<ArcSwap<Config>>,
    ready: Arc<AtomicBool>,
    addresses: Addresses,
    workers: Arc<Vec<Worker>>,
    phase: watch::Sender<Phase>,
    /// `None` once it is shut down.
    control: Option<Runtime>,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where agents beat to.
    pub agents: SocketAddr,
    /// Where operators look; the same as `agents` where one listener serves everything, `None`
    /// where no listener serves them.
    pub admin: Option<SocketAddr>,
    /// Whether agents come by TLS.
    pub tls: bool,
    /// Where HTTP/3 and the compact protocol are served, over UDP.
    pub quic: Option<SocketAddr>,
}

/// Why a gateway cannot run, or go on with another configuration; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener outside loopback without TLS and credentials.
    #[error(
        "{0} can be reached from outside: it needs [tls] and [[credentials]], or insecure = true"
    )]
    Insecure(SocketAddr),
    /// The certificate cannot be used.
    #[error("TLS cannot be served")]
    Tls(#[from] transport::TlsError),
    /// A policy was refused.
    #[error("policies cannot be loaded")]
    Policy(#[from] pulsegate_policy::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing says where the journal is kept.
    #[error("journal.data_dir says nothing: name a directory, or set journal.ephemeral")]
    NoPlace,
    /// The journal cannot be used.
    #[error("the journal cannot be used")]
    Journal(#[from] pulsegate_journal::OpenError),
    /// The journal was opened, and cannot be read.
    #[error("the journal cannot be read")]
    Replay(#[from] pulsegate_journal::ReplayError),
    /// The journal has counted more starts than fencing tokens can tell apart.
    #[error(
        "the journal has counted {0} starts, and fencing tokens can tell no more apart: begin a \
         new one, and reset what remembers tokens"
    )]
    TokensSpent(u32),
    /// Threads could not be started.
    #[error("threads cannot be started")]
    Threads(#[source] io::Error),
}

impl Gateway {
    /// Starts a gateway: everything that can be wrong is found before a port is bound.
    ///
    /// # Errors
    /// [`Error`]; nothing runs.
    pub fn start(config: Arc<Config>) -> Result<Self, Error> {
        Self::start_with(config, |router| router)
    }

    /// The same with further routes.
    fn start_with(
        config: Arc<Config>,
        further: impl FnOnce(Router) -> Router,
    ) -> Result<Self, Error> {
        Self::check_listeners(&config)?;
        check_place(&config)?;
        let engine = engine(&config)?;
        let (prepared, policies) = rollout::Prepared::load(&engine, &config)?;
        let count = worker_count(&config);
        let doors = open(&config, count)?;
        let (addresses, certificates) = (doors.addresses, doors.certificates.clone());
        let house = House::open(&config, count, policies)?;
        let current = Arc::new(ArcSwap::new(config.clone()));
        let rollout = Rollout::new(prepared, house.rollout(&engine, policy_threads(&config)));
        let ready = Arc::new(AtomicBool::new(false));
        let router = api::router(house.api(&rollout, &current, &ready));
        let shared = Arc::new(Shared {
            shards: house.shards.clone(),
            durable: house.durable.clone(),
            clock: house.clock.clone(),
            telemetry: house.telemetry.clone(),
            sources: Sources::new(unknown_quota(&config)),
            shed: Shed::new(house.clock, house.telemetry.clone(), config.limits.in_flight),
            router: further(router),
            control: house.control.handle().clone(),
            connections: AtomicU32::new(0),
            limits: connection_limits(&config),
            alt_svc: alt_svc(&addresses),
        });
        let phase = watch::Sender::new(Phase::Serving);
        let begun = watch_shadows(&house.shards);
        let workers = match begun.and_then(|()| spawn(doors, &config, &shared, &phase)) {
            Ok(workers) => workers,
            Err(error) => {
                end(house.control);
                return Err(Error::Threads(error));
            }
        };
        let gateway = Self {
            shards: house.shards,
            shared,
            recovery: house.recovery,
            witness: house.witness,
            durable: house.durable,
            leases: house.leases,
            hub: house.hub,
            telemetry: house.telemetry,
            engine,
            rollout,
            certificates,
            config: current,
            ready,
            addresses,
            workers,
            phase,
            control: Some(house.control),
        };
        gateway.attend();
        Ok(gateway)
    }

    /// Starts what happens beside requests, and is ready.
    fn attend(&self) {
        let Some(control) = &self.control else { return };
        control.spawn(time(self.shared.clone(), self.workers.clone(), self.leases.clone()));
        control.spawn(keep(self.shards.clone()));
        control.spawn(watch_over(self.rollout.clone()));
        control.spawn(collect_logs(self.engine.clone(), self.telemetry.clone()));
        if let Some(certificates) = &self.certificates {
            control.spawn(watch_files(certificates.clone(), self.config.clone()));
        }
        self.ready.store(true, Relaxed);
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What happens from now on; a subscriber that lags far behind loses the oldest events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shards.subscribe()
    }

    /// All agents.
    #[must_use]
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// Their leases.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The metrics.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Takes what can change without a restart from another configuration, and returns the
    /// options that keep their value until one.
    ///
    /// # Errors
    /// A policy or the certificate was refused, or the listener would be open to everybody;
    /// nothing has changed.
    pub fn reload(&self, new: &Config) -> Result<Vec<String>, Error> {
        let reload = self.config.load().reload(new);
        let config = reload.config;
        Self::check_listeners(&config)?;
        let policies = self.rollout.reload(&config)?;
        if let (Some(certificates), Some(certificate)) = (&self.certificates, &config.tls) {
            // A development certificate is made once: agents were told to trust that one.
            if *certificate != Certificate::Development || self.config.load().tls != config.tls {
                certificates.replace(certificate)?;
            }
        }
        self.telemetry.set_config(&config);
        self.durable.reconfigure(&config);
        self.shards.reconfigure(&config);
        policies.apply();
        self.recovery.reconfigure(config.clone());
        self.witness.reconfigure(config.clone());
        self.shared.sources.set_quota(unknown_quota(&config));
        self.shared.shed.set_limit(config.limits.in_flight);
        self.config.store(config);
        self.durable.note("", EventKind::Reconfigured(Reconfigured { kept: reload.kept.clone() }));
        self.telemetry.reloaded(&reload.kept);
        Ok(reload.kept)
    }

    /// Stops accepting, answers what is in flight and lets programs of recovery end, for at most
    /// `grace`, and ends. Agents are not failed by this: nobody is told that they are silent.
    pub async fn shutdown(mut self, grace: Duration) {
        self.ready.store(false, Relaxed);
        // From here on agents cannot connect: their silence is ours.
        self.shared.clock.hold(Hold::Draining);
        self.hub.close();
        self.leases.close();
        self.phase.send_replace(Phase::Draining);
        let workers = async {
            for worker in self.workers.iter() {
                worker.ended().await;
            }
        };
        let drained = tokio::time::timeout(grace, workers);
        let (drained, ()) = tokio::join!(drained, self.recovery.shutdown(grace));
        self.phase.send_replace(Phase::Ended);
        if drained.is_err() {
            tracing::warn!(?grace, "some requests were not answered in time");
            for worker in self.workers.iter() {
                worker.ended().await;
            }
        }
        self.close_journal().await;
        self.end();
    }

    /// Makes durable what still waits, and that this was an end in order.
    async fn close_journal(&self) {
        let (shards, durable) = (self.shards.clone(), self.durable.clone());
        let closed = tokio::task::spawn_blocking(move || {
            shards.snapshot_if_due(SNAPSHOT_AT_END);
            durable.close(shards.ended());
        });
        if closed.await.is_err() {
            tracing::error!("the journal could not be closed: a bug");
        }
    }

    /// An agent listener outside loopback needs TLS and credentials. Operator routes are guarded
    /// by the API itself.
    fn check_listeners(config: &Config) -> Result<(), Error> {
        let is_safe = config.tls.is_some() && config.asks_credentials();
        let is_fine =
            |address: &SocketAddr| is_local(*address) || is_safe || config.server.insecure;
        let addresses = [Some(config.server.listen), config.quic_listen()];
        match addresses.into_iter().flatten().find(|address| !is_fine(address)) {
            None => Ok(()),
            Some(address) => Err(Error::Insecure(address)),
        }
    }

    fn end(&mut self) {
        self.ready.store(false, Relaxed);
        self.phase.send_replace(Phase::Ended);
        self.hub.disconnect();
        if let Some(control) = self.control.take() {
            end(control);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

impl Fleet for Shards {
    fn handle_outcome(&self, action: &Action, outcome: ActionOutcome) {
        Self::handle_outcome(self, action, outcome);
    }

    fn command(&self, tenant: TenantId, agent_id: &str, command: Command) -> bool {
        Self::command(self, tenant, agent_id, command) == Ok(true)
    }
}

impl witness::Fleet for Shards {
    fn is_silent(&self, suspicion: &Suspicion) -> bool {
        Self::is_silent(self, suspicion)
    }

    fn handle_witness(&self, suspicion: &Suspicion) -> bool {
        Self::handle_witness(self, suspicion)
    }
}

/// A journal needs a place, unless nothing is to be remembered.
fn check_place(config: &Config) -> Result<(), Error> {
    let has_place = config.journal.data_dir.is_some() || config.journal.ephemeral;
    if has_place { Ok(()) } else { Err(Error::NoPlace) }
}

/// Lets time pass, unless a worker is stuck or heartbeats are turned away.
async fn time(shared: Arc<Shared>, workers: Arc<Vec<Worker>>, leases: Leases) {
    let clock = shared.clock.clone();
    let mut lost_ms = clock.lost_ms();
    drive(shared.shards.clone(), move || {
        let raw_ms = clock.read().raw_ms;
        if workers.iter().any(|worker| worker.is_stuck(raw_ms)) {
            if clock.hold(Hold::Worker) {
                tracing::warn!("a worker does not turn or is gone: core time stands still");
            }
        } else if clock.holds(Hold::Worker) {
            let held_ms = clock.release(Hold::Worker);
            tracing::warn!(held_ms, "all workers turn again");
        }
        shared.shed.settle();
        leases.handle_time();
        let lost_before_ms = std::mem::replace(&mut lost_ms, clock.lost_ms());
        if lost_ms > lost_before_ms {
            let held = TimeHeld { lasted_ms: lost_ms - lost_before_ms };
            shared.durable.note("", EventKind::TimeHeld(held));
        }
    })
    .await;
}

/// Brings what policies wrote to the log of the gateway, once a second.
async fn collect_logs(engine: Engine, telemetry: Telemetry) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (lines, dropped) = engine.drain_log();
        telemetry.policy_logs(&lines, dropped);
    }
}

fn control_threads() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
}

/// A runtime must not be waited for inside of another.
fn end(control: Runtime) {
    control.shutdown_background();
}

/// What compiles policies, with what was compiled before where that can be trusted.
fn engine(config: &Config) -> Result<Engine, pulsegate_policy::Error> {
    let engine = Engine::new(config.policy_limits())?;
    match config.code_dir().map(|directory| Cache::open(&directory)) {
        None => Ok(engine),
        Some(Ok(cache)) => Ok(engine.with_cache(cache)),
        Some(Err(error)) => {
            tracing::warn!(%error, "compiled code is not kept; each start compiles anew");
            Ok(engine)
        }
    }
}

/// Threads that call policies for heartbeats.
fn policy_threads(config: &Config) -> usize {
    worker_count(config) + config.quic_listen().map_or(0, |_| quic_threads(config))
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.server.workers.map_or_else(cores, |workers| workers as usize).max(1)
}

fn unknown_quota(config: &Config) -> Quota {
    Quota {
        rate_per_second: config.limits.unknown_rate_per_second,
        burst: config.limits.unknown_burst,
    }
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    ConnectionLimits {
        connections: limits.connections,
        header: Duration::from_millis(limits.header_timeout_ms.into()),
        body: Duration::from_millis(limits.body_timeout_ms.into()),
        idle: Duration::from_millis(limits.idle_timeout_ms.into()),
    }
}

/// What agents come through, bound and not served yet.
struct Doors {
    certificates: Option<Arc<Certificates>>,
    addresses: Addresses,
    lanes: Vec<Vec<Lane>>,
    endpoint: Option<Endpoint>,
}

fn open(config: &Config, count: usize) -> Result<Doors, Error> {
    let certificates = config.tls.as_ref().map(Certificates::load).transpose()?;
    let acceptor = certificates.as_ref().map(|current| current.acceptor()).transpose()?;
    let (mut addresses, lanes) = bind(config, count, acceptor)?;
    let endpoint = bind_quic(config, certificates.as_ref(), addresses.agents)?;
    addresses.quic = endpoint.as_ref().map(Endpoint::address);
    Ok(Doors { certificates, addresses, lanes, endpoint })
}

/// Binds every listener of TCP: agents' on each worker, the operator's on the first.
fn bind(
    config: &Config,
    count: usize,
    tls: Option<TlsAcceptor>,
) -> Result<(Addresses, Vec<Vec<Lane>>), Error> {
    let listen = |address, count| {
        transport::bind(address, count).map_err(|source| Error::Listen { address, source })
    };
    let agents = listen(config.server.listen, count)?;
    let admin = config.server.admin_listen.map(|address| listen(address, 1)).transpose()?;
    let kind = if is_local(agents.address) && admin.is_none() {
        ListenerKind::All
    } else {
        ListenerKind::Agents
    };
    let addresses = Addresses {
        agents: agents.address,
        admin: match &admin {
            Some(admin) => Some(admin.address),
            None => (kind == ListenerKind::All).then_some(agents.address),
        },
        tls: tls.is_some(),
        quic: None,
    };
    let lanes = |bound: Bound, kind, tls: Option<TlsAcceptor>| {
        let lane = move |listener| Lane { listener, kind, tls: tls.clone() };
        bound.listeners.into_iter().map(lane)
    };
    let mut workers: Vec<Vec<Lane>> = lanes(agents, kind, tls).map(|lane| vec![lane]).collect();
    for lane in admin.into_iter().flat_map(|admin| lanes(admin, ListenerKind::Admin, None)) {
        workers[0].push(lane);
    }
    Ok((addresses, workers))
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Binds QUIC, where it is served: on the number of the agents' listener, where nothing else is
/// said.
fn bind_quic(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
    agents: SocketAddr,
) -> Result<Option<Endpoint>, Error> {
    let (Some(mut address), Some(certificates)) = (config.quic_listen(), certificates) else {
        return Ok(None);
    };
    let follows = address == config.server.listen;
    if follows {
        address.set_port(agents.port());
    }
    let idle = connection_limits(config).idle;
    let bound = match Endpoint::bind(address, certificates, idle) {
        // The kernel chose that number for TCP; over UDP somebody else may have it.
        Err(BindError::Socket(_)) if follows && config.server.listen.port() == 0 => {
            address.set_port(0);
            Endpoint::bind(address, certificates, idle)
        }
        bound => bound,
    };
    bound.map(Some).map_err(|error| match error {
        BindError::Tls(error) => Error::Tls(error),
        BindError::Socket(source) => Error::Listen { address, source },
    })
}

/// What answers over TLS say of HTTP/3 (RFC 7838, RFC 9114 §3.1.1): which port of the same host,
/// so nothing where it is served on another address only.
fn alt_svc(addresses: &Addresses) -> Option<HeaderValue> {
    let quic = addresses.quic?;
    let is_here = quic.ip().is_unspecified() || quic.ip() == addresses.agents.ip();
    let text = format!("h3=\":{}\"; ma={ALT_SVC_SECONDS}", quic.port());
    HeaderValue::from_str(&text).ok().filter(|_| is_here)
}

/// Threads of QUIC: one for two cores.
fn quic_threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.server.quic_workers.map_or(cores / 2, |workers| workers as usize).max(1)
}

/// Reads the files of the certificate again when one of them was written.
async fn watch_files(certificates: Arc<Certificates>, config: Arc<ArcSwap<Config>>) {
    let mut ticks = tokio::time::interval(LOOK_AT_FILES);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stamp = |config: &Config| config.tls.as_ref().and_then(transport::written_at);
    let mut seen = stamp(&config.load());
    loop {
        ticks.tick().await;
        let config = config.load_full();
        let now = stamp(&config);
        let Some(certificate) = config.tls.as_ref().filter(|_| now.is_some() && now != seen) else {
            continue;
        };
        seen = now;
        // Of two files one is written first: that pair is refused, and the next one is taken.
        match certificates.replace(certificate) {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the certificate was refused; the old one stays");
            }
        }
    }
}

fn spawn(
    doors: Doors,
    config: &Config,
    shared: &Arc<Shared>,
    phase: &watch::Sender<Phase>,
) -> io::Result<Arc<Vec<Worker>>> {
    let Doors { addresses, lanes, endpoint, .. } = doors;
    let workers = lanes
        .into_iter()
        .enumerate()
        .map(|(index, lanes)| Worker::spawn(index, lanes, shared.clone(), phase.subscribe()));
    let mut workers = workers.collect::<io::Result<Vec<_>>>()?;
    if let Some(endpoint) = endpoint {
        // Where the agents' listener shows the operator's routes, so does QUIC, on loopback only.
        let is_all = addresses.admin == Some(addresses.agents) && is_local(endpoint.address());
        let kind = if is_all { ListenerKind::All } else { ListenerKind::Agents };
        let threads = quic_threads(config);
        workers.push(endpoint.spawn(threads, kind, shared.clone(), phase.subscribe())?);
    }
    Ok(Arc::new(workers))
}

#[cfg(test)]
mod tests;
