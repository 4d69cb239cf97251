//! Policies in shadow: what they would have said is found out after the heartbeat was answered, on
//! a thread of its own, so that nobody ever waits for one.
//!
//! ```text
//! heartbeat decided → queue (bounded; what does not fit is skipped and counted)
//!      the thread   → lock, memory → unlock → policy in shadow → lock, memory and story → unlock
//! ```
//! The thread looks every 10 ms, so that queueing wakes nobody, and may work a quarter of the time:
//! a policy that is slow, or a fleet that beats faster than it can follow, costs comparisons and
//! not heartbeats. Time in which the thread was not scheduled counts as work, so it gives way
//! sooner when the machine is busy.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pulsegate_core::{ClassId, Incident, Observation, Plan, Stamp};
use pulsegate_policy::{Assignment, Evaluation, PolicySet, Watching, Worker};
use pulsegate_wire::Health;

use super::Shards;
use super::cold::Shadowed;
use crate::telemetry::Shadow;

/// How often the thread looks. Larger: fewer wake-ups, and a larger queue; smaller: stories of
/// shadows are younger. Source: chosen; a hundred wake-ups a second are 0.2 % of a core.
const LOOK: Duration = Duration::from_millis(10);
/// How often it looks while nothing is in shadow. Source: chosen.
const REST: Duration = Duration::from_millis(200);
/// Share of the time that it may work, as a divisor. Source: chosen; at 0.7 µs a comparison, a
/// quarter of a core follows 350,000 heartbeats a second.
const SHARE: u32 = 4;
/// Most time that it may have saved up for a burst. Source: chosen; two looks.
const SAVED: Duration = Duration::from_millis(5);
/// Most heartbeats that wait. Source: chosen; what comes in two looks at 400,000 a second.
const WAITING: usize = 8_192;

/// What waits for the thread.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    /// Sets that items belong to: seldom more than one.
    sets: Vec<Arc<PolicySet>>,
}

struct Item {
    /// Place of its set.
    set: usize,
    shard: usize,
    stamp: Stamp,
    assignment: Assignment,
    class: ClassId,
    what: What,
}

/// What was decided.
enum What {
    Beat(Box<Beat>),
    Plan(Box<(Incident, Plan)>),
}

struct Beat {
    observation: Observation,
    custom: BTreeMap<String, f64>,
    enforced: (Health, f64),
}

/// Whose decision is to be compared.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) policies: &'a Arc<PolicySet>,
    pub(super) shard: usize,
    pub(super) stamp: Stamp,
    pub(super) assignment: Assignment,
    pub(super) class: ClassId,
}

impl Queue {
    /// Says whether it fits.
    fn push(&self, subject: Subject<'_>, what: What) -> bool {
        let Subject { policies, shard, stamp, assignment, class } = subject;
        let mut waiting = self.0.lock();
        if waiting.items.len() >= WAITING {
            return false;
        }
        let generation = policies.generation();
        let known = waiting.sets.iter().rposition(|set| set.generation() == generation);
        let set = known.unwrap_or_else(|| {
            waiting.sets.push(policies.clone());
            waiting.sets.len() - 1
        });
        waiting.items.push(Item { set, shard, stamp, assignment, class, what });
        true
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Shards {
    /// Leaves a decided heartbeat to the policies in shadow.
    pub(super) fn watch_beat(
        &self,
        subject: Subject<'_>,
        observation: &Observation,
        custom: &BTreeMap<String, f64>,
        evaluation: &Evaluation,
    ) {
        let verdict = &evaluation.verdict;
        let beat = Beat {
            observation: *observation,
            custom: custom.clone(),
            enforced: (verdict.health, verdict.interval_ms),
        };
        if !self.shadows.push(subject, What::Beat(Box::new(beat))) {
            self.skipped(subject.policies, subject.assignment);
        }
    }

    /// Leaves a plan to the policies in shadow.
    pub(super) fn watch_plan(&self, subject: Subject<'_>, incident: &Incident, plan: &Plan) {
        let what = What::Plan(Box::new((*incident, plan.clone())));
        if !self.shadows.push(subject, what) {
            self.skipped(subject.policies, subject.assignment);
        }
    }

    fn skipped(&self, set: &PolicySet, assignment: Assignment) {
        for policy in set.shadows(assignment) {
            self.telemetry.shadowed(policy, Shadow::Skipped);
        }
    }

    fn compare(&self, item: &Item, set: &PolicySet, worker: &mut Worker) {
        match &item.what {
            What::Beat(beat) => self.compare_beat(item, beat, set, worker),
            What::Plan(made) => {
                let (incident, plan) = made.as_ref();
                let outcome = worker.watch_plan(set, item.assignment, incident, plan);
                if let Some((differs, call)) = outcome {
                    let shadow = match differs {
                        Ok(false) => Shadow::Same,
                        Ok(true) => Shadow::Plan,
                        Err(_) => Shadow::Fault,
                    };
                    self.telemetry.shadowed(call.policy, shadow);
                }
            }
        }
    }

    fn compare_beat(&self, item: &Item, beat: &Beat, set: &PolicySet, worker: &mut Worker) {
        let mut memory = {
            let mut shard = self.lock(item.shard);
            if !shard.is_still(item.stamp) {
                return;
            }
            let kept = shard.cold(item.stamp.slot).beside.as_deref();
            kept.and_then(|kept| kept.shadow.as_ref()).map(|shadow| shadow.memory.clone())
        }
        .unwrap_or_default();
        let watching = Watching {
            assignment: item.assignment,
            class: item.class,
            observation: &beat.observation,
            custom: &beat.custom,
            enforced: beat.enforced,
        };
        let watched = worker.watch(set, &watching, &mut memory);
        self.telemetry.watched(&watched);
        let number = item.stamp.sequence;
        let shadowed = Shadowed { memory, watched, number, policies: set.generation() };
        let mut shard = self.lock(item.shard);
        // The slot may have been given to another agent meanwhile.
        if shard.is_still(item.stamp) {
            shard.cold(item.stamp.slot).beside.get_or_insert_default().shadow = Some(shadowed);
        }
    }
}

impl super::Shard {
    /// Whether the slot still is that of the agent that the stamp is of.
    fn is_still(&self, stamp: Stamp) -> bool {
        let now = self.machine.stamp(stamp.slot);
        now.is_some_and(|now| now.generation == stamp.generation)
    }
}

/// Starts the thread; it ends with the shards.
///
/// # Errors
/// The operating system has no thread left.
pub fn watch_shadows(shards: &Arc<Shards>) -> io::Result<()> {
    let weak = Arc::downgrade(shards);
    thread::Builder::new().name("shadow".into()).spawn(move || run(&weak)).map(drop)
}

fn run(shards: &Weak<Shards>) {
    let mut worker = Worker::new();
    let mut budget = Budget::new(Instant::now());
    let mut pause = REST;
    loop {
        thread::park_timeout(pause);
        let Some(shards) = shards.upgrade() else { return };
        let Waiting { items, sets } = shards.shadows.take();
        let policies = shards.policies.load_full();
        let has_shadow = policies.has_shadow();
        pause = if has_shadow { LOOK } else { REST };
        if !has_shadow && items.is_empty() {
            // Its instances are of sets that nobody uses any more.
            worker = Worker::new();
        }
        budget.accrue(Instant::now());
        for item in &items {
            let set = &sets[item.set];
            if set.generation() != policies.generation() {
                // A trial that has ended, or goes on among others: its next heartbeat is compared.
                continue;
            }
            if budget.is_left() {
                let began = Instant::now();
                shards.compare(item, set, &mut worker);
                budget.spend(began.elapsed());
            } else {
                shards.skipped(set, item.assignment);
            }
        }
    }
}

/// Time that may be worked: what was overdrawn is worked off first.
#[derive(Debug)]
struct Budget {
    left: Duration,
    owed: Duration,
    since: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: SAVED, owed: Duration::ZERO, since: now }
    }

    fn accrue(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.since) / SHARE;
        self.since = now;
        let paid = earned.min(self.owed);
        self.owed -= paid;
        self.left = (self.left + (earned - paid)).min(SAVED);
    }

    fn is_left(&self) -> bool {
        !self.left.is_zero() && self.owed.is_zero()
    }

    fn spend(&mut self, time: Duration) {
        self.owed += time.saturating_sub(self.left);
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_time_is_worked_and_no_more() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut worked = Duration::ZERO;
        for look in 1..=1_000 {
            budget.accrue(start + LOOK * look);
            while budget.is_left() {
                budget.spend(Duration::from_micros(300));
                worked += Duration::from_micros(300);
            }
        }
        let most = LOOK * 1_000 / SHARE + SAVED + Duration::from_micros(300);
        assert!(worked <= most && worked >= LOOK * 990 / SHARE, "{worked:?}");
    }

    #[test]
    fn a_call_that_took_long_is_worked_off_before_the_next() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.spend(SAVED + Duration::from_millis(100));
        budget.accrue(start + Duration::from_millis(399));
        assert!(!budget.is_left());
        budget.accrue(start + Duration::from_millis(404));
        assert!(budget.is_left());
    }

    #[test]
    fn what_was_saved_up_is_bounded() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.accrue(start + Duration::from_secs(3_600));
        assert_eq!(budget.left, SAVED);
    }
}
