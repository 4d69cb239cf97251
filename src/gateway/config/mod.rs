//! Configuration: one TOML file, the environment and flags make one [`Config`] that cannot be
//! wrong.
//!
//! Each option is defined once, in `options.rs`; reading, ranges, [`template`] and what a reload
//! may change follow from that definition. Every problem is reported at once, with its line and
//! key, before a port is bound. Secrets are kept as digests and are never shown.
//!
//! This room may touch `core`, `policy` and `registry` for their configuration types, and the file
//! system; the network only through the [`Fetch`] that it is handed.

mod credentials;
mod executors;
mod options;
mod overrides;
mod policies;
mod problem;
mod pulled;
mod read;
mod section;
mod setting;
mod table;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pulsegate_core as core;
use pulsegate_policy as policy;

pub use credentials::{Credentials, Digest, Tenants};
pub use executors::{ExecOptions, Executor, ExecutorKind, ExecutorOptions, Program};
pub use options::{
    Cadence, ClassOptions, Detection, Directives, Journal, Limits, Log, LogFormat, LogLevel,
    PolicyLimits, PolicyRegistry, PolicyTrust, Probes, Recorded, Recovery, Rollout, Server, Signed,
    Tls,
};
pub use overrides::Overrides;
pub use policies::{COMPONENT_BYTES, PolicySource, Reference};
pub use problem::{Error, Problem};
pub use pulled::{Brought, Fetch, Nowhere, Wanted};
pub use template::template;

use section::Section;

/// A configuration without contradiction; shared as `Arc<Config>` and never changed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the gateway listens.
    pub server: Server,
    /// The certificate of the agents' address; `None` for cleartext.
    pub tls: Option<Certificate>,
    /// What is remembered over a restart.
    pub journal: Journal,
    /// Who may beat, and for which tenant.
    pub credentials: Credentials,
    /// Names of the tenants by index; 0 is `default`.
    pub tenants: Tenants,
    /// Digest of the token of the operator's routes.
    pub admin_token: Option<Digest>,
    /// The classes of agents.
    pub classes: core::Classes,
    /// How intervals move.
    pub cadence: Cadence,
    /// When agents nobody hears of are given up.
    pub detection: Detection,
    /// What the gateway takes at most.
    pub limits: Limits,
    /// What every policy is held to.
    pub policy_limits: PolicyLimits,
    /// The policies that routes may name beside `builtin`.
    pub policies: Vec<PolicySource>,
    /// Whom to believe that a policy is the one that was meant.
    pub policy_trust: PolicyTrust,
    /// How registries of policies are spoken to.
    pub policy_registry: PolicyRegistry,
    /// Which policies judge, pace and recover which agents; the first that matches decides.
    pub routes: Vec<policy::Route>,
    /// Where uploaded policies are kept, and how many.
    pub rollout: Rollout,
    /// What every directive carries.
    pub directives: Directives,
    /// When recovery begins and ends, and how much of it runs at once.
    pub recovery: Recovery,
    /// What recovery may do, in the order of the file.
    pub executors: Vec<Executor>,
    /// How silent agents are asked for a sign of life.
    pub probes: Probes,
    /// The log.
    pub log: Log,
}

/// Where the certificate of the agents' address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// From two files in PEM.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made for localhost at each start.
    Development,
}

/// What a reload did.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The configuration from now on.
    pub config: Arc<Config>,
    /// Options that differ in the file but keep their value until a restart.
    pub kept: Vec<String>,
}

impl Config {
    /// Reads a configuration: defaults, then the file, then the environment, then flags. Policies
    /// in registries are not pulled: for whoever runs none of them.
    ///
    /// # Errors
    /// Everything that is wrong, with line and key.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Error> {
        Self::load_with(file, overrides, &Nowhere)
    }

    /// The same; `fetch` brings the policies in registries, and is not asked where there are none.
    ///
    /// # Errors
    /// Everything that is wrong, with line and key.
    pub fn load_with(
        file: Option<&Path>,
        overrides: &Overrides,
        fetch: &dyn Fetch,
    ) -> Result<Self, Error> {
        let Some(path) = file else {
            return read::parse("defaults", "", Path::new("."), overrides, fetch);
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(vec![Problem {
                place: name.clone(),
                key: String::new(),
                message: format!("cannot be read: {error}"),
            }])
        })?;
        read::parse(&name, &text, path.parent().unwrap_or(Path::new(".")), overrides, fetch)
    }

    /// Reads a configuration from a text; `name` stands in problems, and relative paths begin
    /// at `directory`. Policies in registries are not pulled.
    ///
    /// # Errors
    /// Everything that is wrong, with line and key.
    pub fn parse(
        name: &str,
        text: &str,
        directory: &Path,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        read::parse(name, text, directory, overrides, &Nowhere)
    }

    /// What the core needs, for one of `shards` equal parts of the fleet.
    #[must_use]
    pub fn core(&self, shards: u32) -> core::Config {
        let shards = shards.max(1);
        core::Config {
            classes: self.classes.clone(),
            cadence: core::cadence::Config {
                min_ms: self.cadence.min_ms,
                max_ms: self.cadence.max_ms,
                dwell_ms: self.cadence.dwell_ms,
                turn_period_ms: self.cadence.turn_period_ms,
            },
            budget_per_second: self.cadence.budget_per_second / f64::from(shards),
            startup_grace_ms: self.detection.startup_grace_ms,
            forget_failed_ms: self.detection.forget_failed_ms,
            forget_stopped_ms: self.detection.forget_stopped_ms,
            incident_after: self.recovery.incident_after,
            success_after: self.recovery.success_after,
            idle_after_ms: self.detection.idle_after_ms,
            window_ms: self.detection.window_ms,
            max_agents: self.limits.max_agents,
            // It follows from how agents repeat heartbeats, which is no option.
            late_copy_ms: core::Config::default().late_copy_ms,
        }
    }

    /// The limits of policies.
    #[must_use]
    pub fn policy_limits(&self) -> policy::Limits {
        use std::time::Duration;
        let limits = &self.policy_limits;
        policy::Limits {
            call: Duration::from_millis(limits.call_ms.into()),
            slow: Duration::from_millis(limits.call_ms.into()) / 6,
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            interpreted: policy::PoolLimits {
                call: Duration::from_millis(limits.interpreted_call_ms.into()),
                memory_bytes: usize::try_from(limits.interpreted_memory_bytes)
                    .unwrap_or(usize::MAX),
                ..policy::PoolLimits::interpreted()
            },
            batch: Duration::from_millis(limits.batch_ms.into()),
            breaker_faults: limits.breaker_faults,
            breaker_window: Duration::from_millis(limits.breaker_window_ms.into()),
            ..policy::Limits::default()
        }
    }

    /// The policies to load: those that a route names, without those that are uploaded.
    #[must_use]
    pub fn policy_sources(&self) -> Vec<policy::Source> {
        let sources = self.policies.iter().filter(|source| !source.uploaded);
        sources.map(PolicySource::source).collect()
    }

    /// Where compiled code is kept; `None` where none is.
    #[must_use]
    pub fn code_dir(&self) -> Option<PathBuf> {
        let data = self.journal.data_dir.as_ref();
        let data = data.filter(|_| self.rollout.cache && !self.journal.ephemeral);
        data.map(|data| data.join("compiled"))
    }

    /// Where uploaded policies are kept; `None` where nothing outlives the process.
    #[must_use]
    pub fn policies_dir(&self) -> Option<PathBuf> {
        if self.journal.ephemeral {
            return None;
        }
        let own = || self.journal.data_dir.as_ref().map(|data| data.join("policies"));
        self.rollout.dir.clone().or_else(own)
    }

    /// Ids of the executors with their default wait in milliseconds, as policies are told.
    #[must_use]
    pub fn executor_waits(&self) -> Vec<(String, u32)> {
        self.executors.iter().map(|executor| (executor.id.clone(), executor.wait_ms)).collect()
    }

    /// Whether agents must bring a credential.
    #[must_use]
    pub fn asks_credentials(&self) -> bool {
        !self.credentials.is_empty()
    }

    /// Where QUIC listens; `None` where it is not served.
    #[must_use]
    pub fn quic_listen(&self) -> Option<SocketAddr> {
        let is_on = self.tls.is_some() && self.server.quic != Some(false);
        is_on.then(|| self.server.quic_listen.unwrap_or(self.server.listen))
    }

    /// Takes from `new` what can change without a restart, and says what was kept.
    ///
    /// Classes may change their numbers but not their names and order, because agents are kept
    /// with the index of their class; tenants only ever grow.
    #[must_use]
    pub fn reload(&self, new: &Self) -> Reload {
        let mut config = self.clone();
        let mut kept = Vec::new();
        let mut section = |name: &str, keys: Vec<&'static str>| {
            let dot = if name.is_empty() { "" } else { "." };
            kept.extend(keys.into_iter().map(|key| format!("{name}{dot}{key}")));
        };
        section("", config.server.reload(&new.server));
        section("journal", config.journal.reload(&new.journal));
        section("cadence", config.cadence.reload(&new.cadence));
        section("detection", config.detection.reload(&new.detection));
        section("limits", config.limits.reload(&new.limits));
        section("policy_limits", config.policy_limits.reload(&new.policy_limits));
        section("policy_trust", config.policy_trust.reload(&new.policy_trust));
        section("policy_registry", config.policy_registry.reload(&new.policy_registry));
        section("rollout", config.rollout.reload(&new.rollout));
        section("directives", config.directives.reload(&new.directives));
        section("recovery", config.recovery.reload(&new.recovery));
        section("probes", config.probes.reload(&new.probes));
        section("log", config.log.reload(&new.log));
        // Encrypted stays encrypted, and cleartext cleartext; the certificate itself may change.
        if config.tls.is_some() == new.tls.is_some() {
            config.tls = new.tls.clone();
        } else {
            kept.push("tls".to_owned());
        }
        let names = |config: &Self| -> Vec<String> {
            config.classes.iter().map(|(_, class)| class.name.clone()).collect()
        };
        if names(self) == names(new) {
            config.classes = new.classes.clone();
        } else {
            kept.push("classes (added, removed or in another order)".to_owned());
        }
        config.take_tenants(new);
        config.admin_token = new.admin_token;
        config.policies = new.policies.clone();
        config.executors = new.executors.clone();
        Reload { config: Arc::new(config), kept }
    }

    /// Takes credentials and routes: their tenants are numbered anew, after those known.
    fn take_tenants(&mut self, new: &Self) {
        let mut tenants = self.tenants.clone();
        let moved: Vec<core::TenantId> =
            new.tenants.names().iter().map(|name| tenants.number(name)).collect();
        let number = |id: core::TenantId| moved[usize::from(id.0)];
        self.credentials = new.credentials.renumbered(number);
        self.routes = new.routes.clone();
        for route in &mut self.routes {
            route.agents.tenant = route.agents.tenant.map(number);
        }
        self.tenants = tenants;
    }
}

impl Default for Config {
    /// What an empty file gives.
    fn default() -> Self {
        read::defaults()
    }
}
