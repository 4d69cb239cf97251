//! What lives behind the doors: the fleet with its past, and all that its effects reach.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use pulsegate_core::lease;
use pulsegate_policy::{Engine, PolicySet};
use tokio::runtime::Runtime;

use super::{Error, SHARDS_A_WORKER, control_threads};
use crate::api;
use crate::clock::Clock;
use crate::config::Config;
use crate::durable::Durable;
use crate::lease::Leases;
use crate::recovery::{Fleet, Recovery};
use crate::rollout;
use crate::shard::{Parts, Shards};
use crate::telemetry::Telemetry;
use crate::watch::Hub;
use crate::witness::{self, Witness};

/// All rooms that a heartbeat can reach, and their past restored.
pub(super) struct House {
    pub(super) clock: Arc<Clock>,
    pub(super) hub: Arc<Hub>,
    pub(super) durable: Durable,
    pub(super) telemetry: Telemetry,
    pub(super) leases: Leases,
    pub(super) shards: Arc<Shards>,
    pub(super) recovery: Recovery,
    pub(super) witness: Witness,
    pub(super) control: Runtime,
}

impl House {
    /// Opens the journal and brings back what it holds, for this many threads of heartbeats.
    pub(super) fn open(
        config: &Arc<Config>,
        workers: usize,
        policies: PolicySet,
    ) -> Result<Self, Error> {
        let (clock, hub) = (Arc::new(Clock::default()), Arc::new(Hub::default()));
        let (durable, past) = Durable::open(config, clock.clone(), &hub)?;
        if past.epoch > lease::Leases::EPOCH_MAX {
            return Err(Error::TokensSpent(past.epoch));
        }
        let control = control_threads().map_err(Error::Threads)?;
        let telemetry = Telemetry::new(config);
        telemetry.set_policies(policies.names(), |index| policies.role(index));
        let runtime = || control.handle().clone();
        let leases = Leases::new(past.epoch, clock.clone(), durable.clone(), telemetry.clone());
        let recovery = Recovery::new(config.clone(), durable.clone(), telemetry.clone(), runtime());
        let witness = Witness::new(config.clone(), clock.clone(), telemetry.clone(), runtime());
        let (starter, asker) = (recovery.clone(), witness.clone());
        let parts = Parts {
            config: config.clone(),
            policies: Arc::new(policies),
            clock: clock.clone(),
            durable: durable.clone(),
            telemetry: telemetry.clone(),
            start_action: Box::new(move |action, intent| starter.start(action, intent)),
            ask_witness: Box::new(move |suspicion, address| asker.ask(suspicion, address)),
            leases: Arc::new(leases.clone()),
        };
        let shards = Arc::new(Shards::new(workers * SHARDS_A_WORKER, past.hash_key, parts));
        let house =
            Self { clock, hub, durable, telemetry, leases, shards, recovery, witness, control };
        house.connect();
        house.shards.restore(past)?;
        house.leases.resume();
        Ok(house)
    }

    /// What swaps the policies of this house.
    pub(super) fn rollout(&self, engine: &Engine, threads: usize) -> rollout::Parts {
        rollout::Parts {
            engine: engine.clone(),
            shards: self.shards.clone(),
            durable: self.durable.clone(),
            telemetry: self.telemetry.clone(),
            threads,
        }
    }

    /// What operators' routes work on.
    pub(super) fn api(
        &self,
        rollout: &rollout::Rollout,
        config: &Arc<ArcSwap<Config>>,
        ready: &Arc<AtomicBool>,
    ) -> api::State {
        api::State {
            shards: self.shards.clone(),
            leases: self.leases.clone(),
            rollout: rollout.clone(),
            uploads: api::Uploads::default(),
            hub: self.hub.clone(),
            durable: self.durable.clone(),
            clock: self.clock.clone(),
            config: config.clone(),
            telemetry: self.telemetry.clone(),
            backups: api::Backups::default(),
            ready: ready.clone(),
        }
    }

    /// Effects go out to recovery, to the witness and to leases; what they find comes back.
    fn connect(&self) {
        self.leases.connect(Arc::downgrade(&self.shards));
        let fleet: Weak<dyn Fleet> = Arc::downgrade(&(self.shards.clone() as Arc<dyn Fleet>));
        self.recovery.connect(fleet);
        let fleet: Weak<dyn witness::Fleet> =
            Arc::downgrade(&(self.shards.clone() as Arc<dyn witness::Fleet>));
        self.witness.connect(fleet);
    }
}
