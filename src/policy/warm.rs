//! One thread's warm instances, one for each policy and class that it has met.
//!
//! When a set takes over from another, the instances of every revision that is in both stay: a
//! swap makes nobody wait for a start.

use std::time::{Duration, Instant};

use pulsegate_core::ClassId;

use crate::breaker::Gate;
use crate::instance::Instance;
use crate::loader::Policy;
use crate::{Call, Fault, PolicySet};

/// One call in this many is timed, as reading the clock twice costs half as much as a flat call;
/// after a slow one, each of the next, so that a slow policy is found within some twenty calls.
const TIMED: u32 = 16;
/// Timed calls that are judged together. Fewer find a slow policy sooner, and judge on less.
/// Source: chosen.
const JUDGED: u8 = 16;
/// A call of many rows may take longer: once more for each so many. Source: benches/policy.rs, a
/// row among many costs a tenth of one alone.
const ROWS: u32 = 16;
/// So many slow ones among them are too many. A thread that loses its processor for a moment makes
/// one call in some ten thousand slow, and has run for a thousand others before it loses it again.
/// Source: chosen.
const SLOW: u8 = 4;

/// Instances are made at the first call (20 to 60 µs) unless one waits that was made before,
/// kept while all goes well, dropped at a fault, and dropped when a set comes without theirs.
#[derive(Default)]
pub(crate) struct Warm {
    generation: u64,
    /// The policies of the set, by [`Policy::id`].
    owners: Vec<u64>,
    /// For each policy, one place for each class.
    slots: Vec<Slot>,
    calls: u32,
}

/// One policy for one class.
#[derive(Default)]
struct Slot {
    instance: Option<Box<Instance>>,
    pace: Pace,
}

/// How many of the latest timed calls were slow. Exact counts in fixed windows: a mean would let
/// one call that the machine held up speak for many.
#[derive(Default)]
struct Pace {
    timed: u8,
    slow: u8,
}

impl Pace {
    /// Counts a timed call; says whether too many were slow.
    fn count(&mut self, elapsed: Duration, slow: Duration) -> bool {
        self.timed += 1;
        self.slow += u8::from(elapsed > slow);
        let is_slow = self.slow >= SLOW;
        if is_slow || self.timed >= JUDGED {
            *self = Self::default();
        }
        is_slow
    }
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
                let kept = before.map(|place| std::mem::take(&mut slots[place * classes + class]));
                self.slots.push(kept.unwrap_or_default());
            }
        }
        self.generation = set.generation();
    }

    /// Calls a policy about one agent. Whatever goes wrong ends here: the instance is dropped, the
    /// breaker counts, and the caller lets the built-in policy answer.
    #[inline]
    pub(crate) fn call<Answer>(
        &mut self,
        set: &PolicySet,
        asked: (u16, &Policy),
        class: ClassId,
        work: impl FnOnce(&mut Instance) -> Result<Answer, Fault>,
    ) -> (Result<Answer, Fault>, Call) {
        self.call_rows(set, asked, class, 1, work)
    }

    /// The same about so many agents.
    #[inline]
    pub(crate) fn call_rows<Answer>(
        &mut self,
        set: &PolicySet,
        (index, policy): (u16, &Policy),
        class: ClassId,
        rows: u32,
        work: impl FnOnce(&mut Instance) -> Result<Answer, Fault>,
    ) -> (Result<Answer, Fault>, Call) {
        let mut call = Call { policy: index, elapsed: None, fault: None };
        let gate = policy.breaker.gate(|| set.engine.shared.now_ms());
        if gate == Gate::Open {
            call.fault = Some(Fault::BreakerOpen);
            return (Err(Fault::BreakerOpen), call);
        }
        let place = (usize::from(index) - 1) * set.class_count() + usize::from(class.0);
        let slot = &mut self.slots[place];
        let is_timed = slot.pace.slow > 0 || self.calls.is_multiple_of(TIMED);
        let timer = is_timed.then(Instant::now);
        self.calls = self.calls.wrapping_add(1);
        let outcome = match &mut slot.instance {
            Some(instance) => work(instance),
            empty => match start(policy, class) {
                Some(instance) => work(empty.insert(instance)),
                None => Err(Fault::Trap),
            },
        };
        call.elapsed = timer.map(|start| start.elapsed());
        let shared = &set.engine.shared;
        let slow = || shared.limits.slow(policy.prepared.pool) * (1 + rows / ROWS);
        let is_slow = call.elapsed.is_some_and(|time| slot.pace.count(time, slow()));
        match &outcome {
            Ok(_) if is_slow => {
                call.fault = Some(Fault::Slow);
                policy.breaker.open(shared.now_ms());
            }
            Ok(_) if gate == Gate::Trial => policy.breaker.handle_success(),
            Ok(_) => {}
            Err(fault) => {
                call.fault = Some(*fault);
                slot.instance = None;
                policy.breaker.handle_fault(shared.now_ms(), gate);
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
