//! One thread's warm instances, one for each policy and class that it has met.
//!
//! When a set takes over from another, the instances of every revision that is in both stay: a
//! swap makes nobody wait for a start.

use std::time::Instant;

use pulsegate_core::ClassId;

use crate::breaker::Gate;
use crate::instance::Instance;
use crate::loader::Policy;
use crate::{Call, Fault, PolicySet};

/// One call in this many is timed: reading the clock twice costs half as much as a flat call.
const TIMED: u32 = 16;

/// Instances are made at the first call (20 to 60 µs) unless one waits that was made before,
/// kept while all goes well, dropped at a fault, and dropped when a set comes without theirs.
#[derive(Default)]
pub(crate) struct Warm {
    generation: u64,
    /// The policies of the set, by [`Policy::id`].
    owners: Vec<u64>,
    /// For each policy, one place for each class.
    slots: Vec<Option<Box<Instance>>>,
    calls: u32,
}

impl Warm {
    /// Makes room for the instances of this set, and drops those of policies that are not in it.
    #[inline]
    pub(crate) fn adopt(&mut self, set: &PolicySet) {
        if self.generation != set.generation() {
            self.change(set);
        }
    }

    #[cold]
    fn change(&mut self, set: &PolicySet) {
        let classes = set.class_count();
        let owners = std::mem::take(&mut self.owners);
        let mut slots = std::mem::take(&mut self.slots);
        let is_alike = slots.len() == owners.len() * classes;
        for policy in set.policies() {
            let before = owners.iter().position(|owner| is_alike && *owner == policy.id);
            self.owners.push(policy.id);
            for class in 0..classes {
                let kept = before.and_then(|place| slots[place * classes + class].take());
                self.slots.push(kept);
            }
        }
        self.generation = set.generation();
    }

    /// Calls a policy. Whatever goes wrong ends here: the instance is dropped, the breaker
    /// counts, and the caller lets the built-in policy answer.
    #[inline]
    pub(crate) fn call<Answer>(
        &mut self,
        set: &PolicySet,
        (index, policy): (u16, &Policy),
        class: ClassId,
        work: impl FnOnce(&mut Instance) -> Result<Answer, Fault>,
    ) -> (Result<Answer, Fault>, Call) {
        let mut call = Call { policy: index, elapsed: None, fault: None };
        let gate = policy.breaker.gate(|| set.engine.shared.now_ms());
        if gate == Gate::Open {
            call.fault = Some(Fault::BreakerOpen);
            return (Err(Fault::BreakerOpen), call);
        }
        let timer = self.calls.is_multiple_of(TIMED).then(Instant::now);
        self.calls = self.calls.wrapping_add(1);
        let slot = (usize::from(index) - 1) * set.class_count() + usize::from(class.0);
        let outcome = match &mut self.slots[slot] {
            Some(instance) => work(instance),
            empty => match start(policy, class) {
                Some(instance) => work(empty.insert(instance)),
                None => Err(Fault::Trap),
            },
        };
        call.elapsed = timer.map(|start| start.elapsed());
        match &outcome {
            Ok(_) if gate == Gate::Trial => policy.breaker.handle_success(),
            Ok(_) => {}
            Err(fault) => {
                call.fault = Some(*fault);
                self.slots[slot] = None;
                policy.breaker.handle_fault(set.engine.shared.now_ms(), gate);
            }
        }
        policy.tally.call(call.fault);
        (outcome, call)
    }
}

/// An instance that waits, or a new one; `None` where it does not start.
#[cold]
fn start(policy: &Policy, class: ClassId) -> Option<Box<Instance>> {
    let made = || policy.prepared.start(&policy.classes[usize::from(class.0)].settings);
    policy.spares.take(class).or_else(|| made().ok().map(Box::new))
}
