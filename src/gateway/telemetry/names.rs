//! Names behind indices: classes, tenants, policies and executors.
//!
//! A policy's index changes with each set, its metrics must not: every name has a place of its
//! own, and the hot path maps index to place with one load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pulsegate_core::{ClassId, TenantId};
use pulsegate_policy::Role;

use super::catalogue::{EXECUTORS, POLICIES};
use crate::config::Config;

/// Indices of a set: the built-in policy, and for each name what is enforced and what is on trial.
const INDICES: usize = 2 * POLICIES + 1;

/// Name of the place that names share for which there is no room.
const OTHER: &str = "other";

pub(super) struct Names {
    config: ArcSwap<Known>,
    policies: Mutex<Vec<String>>,
    executors: Mutex<Vec<String>>,
    policy_places: [AtomicUsize; INDICES],
    canaries: [AtomicBool; INDICES],
}

#[derive(Default)]
struct Known {
    classes: Vec<String>,
    tenants: Vec<String>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            config: ArcSwap::from_pointee(Known::default()),
            policies: Mutex::new(Vec::new()),
            executors: Mutex::new(Vec::new()),
            policy_places: std::array::from_fn(|_| AtomicUsize::new(POLICIES)),
            canaries: std::array::from_fn(|_| AtomicBool::new(false)),
        }
    }
}

impl Names {
    pub(super) fn set_config(&self, config: &Config) {
        let classes = config.classes.iter().map(|(_, class)| class.name.clone()).collect();
        let tenants = config.tenants.names().to_vec();
        self.config.store(std::sync::Arc::new(Known { classes, tenants }));
        for executor in &config.executors {
            self.executor(&executor.id);
        }
    }

    pub(super) fn set_policies(&self, names: &[String], role: impl Fn(u16) -> Role) {
        let mut known = self.policies.lock();
        for (index, place) in self.policy_places.iter().enumerate() {
            let name = names.get(index);
            place.store(name.map_or(POLICIES, |name| number(&mut known, name, POLICIES)), Relaxed);
            self.canaries[index].store(role(index as u16) == Role::Canary, Relaxed);
        }
    }

    /// Place of a policy of the set in use.
    pub(super) fn policy(&self, index: u16) -> usize {
        let place = self.policy_places.get(usize::from(index));
        place.map_or(POLICIES, |place| place.load(Relaxed))
    }

    /// Whether the policy of an index is a canary.
    pub(super) fn is_canary(&self, index: u16) -> bool {
        self.canaries.get(usize::from(index)).is_some_and(|is_canary| is_canary.load(Relaxed))
    }

    /// Place of a policy by its name.
    pub(super) fn policy_named(&self, name: &str) -> usize {
        number(&mut self.policies.lock(), name, POLICIES)
    }

    /// Place of an executor.
    pub(super) fn executor(&self, id: &str) -> usize {
        number(&mut self.executors.lock(), id, EXECUTORS)
    }

    /// Calls `with` with the names of a class and a tenant.
    pub(super) fn of<R>(
        &self,
        class: ClassId,
        tenant: TenantId,
        with: impl FnOnce(&str, &str) -> R,
    ) -> R {
        let known = self.config.load();
        let name = |names: &'_ [String], index: usize| names.get(index).cloned();
        let class = name(&known.classes, usize::from(class.0)).unwrap_or_default();
        let tenant = name(&known.tenants, usize::from(tenant.0)).unwrap_or_default();
        with(&class, &tenant)
    }

    pub(super) fn classes(&self) -> Vec<String> {
        self.config.load().classes.clone()
    }

    /// Names by place; the last, shared one is named once it is in use.
    pub(super) fn policies(&self) -> Vec<String> {
        padded(&self.policies.lock(), POLICIES)
    }

    pub(super) fn executors(&self) -> Vec<String> {
        padded(&self.executors.lock(), EXECUTORS)
    }
}

/// Place of a name, a new one if there is room.
fn number(known: &mut Vec<String>, name: &str, most: usize) -> usize {
    if let Some(place) = known.iter().position(|other| other == name) {
        return place;
    }
    if known.len() < most {
        known.push(name.to_owned());
        return known.len() - 1;
    }
    most
}

fn padded(known: &[String], most: usize) -> Vec<String> {
    let mut names = known.to_vec();
    if names.len() == most {
        names.push(OTHER.to_owned());
    }
    names
}
