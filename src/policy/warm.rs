//! One thread's warm instances, one for each policy and class that it has met.

use std::time::Instant;

use pulsegate_core::ClassId;

use crate::breaker::Gate;
use crate::instance::Instance;
use crate::loader::Policy;
use crate::{Call, Fault, PolicySet};

/// One call in this many is timed: reading the clock twice costs half as much as a flat call.
const TIMED: u32 = 16;

/// Instances are made at the first call (20 to 60 µs), kept while all goes well, dropped at a
/// fault, and dropped together when another set comes.
#[derive(Default)]
pub(crate) struct Warm {
    generation: u64,
    slots: Vec<Option<Box<Instance>>>,
    calls: u32,
}

impl Warm {
    /// Makes room for the instances of this set, and drops those of any other.
    #[inline]
    pub(crate) fn adopt(&mut self, set: &PolicySet) {
        if self.generation != set.generation() {
            self.generation = set.generation();
            self.slots.clear();
            self.slots.resize_with(set.policy_count() * set.class_count(), || None);
        }
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
        let class = usize::from(class.0);
        let slot = (usize::from(index) - 1) * set.class_count() + class;
        let outcome = match &mut self.slots[slot] {
            Some(instance) => work(instance),
            empty => match policy.prepared.start(&policy.classes[class].settings) {
                Ok(instance) => work(empty.insert(Box::new(instance))),
                Err(_) => Err(Fault::Trap),
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
        (outcome, call)
    }
}
