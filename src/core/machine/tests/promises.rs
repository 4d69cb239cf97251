//! P1: obeying the gateway never makes an agent suspect.
//!
//! An agent on virtual time does what the protocol says and nothing else: it counts the interval
//! from sending the first attempt, repeats an unanswered heartbeat after 1, 2, 4 and 8 s (±20 %)
//! while the next is not due, and stops at any answer. Everything else is adversarial: the hints,
//! the floor, which attempts and answers are lost, delays of up to a second, early heartbeats,
//! restarts. Of each heartbeat one attempt comes through that was sent within 8.4 s (by 9.4 s,
//! inside the shortest suspect grace of 10 s); were all of those lost, silence would be the truth.
//!
//! It holds over restarts too, of any downtime: the agent beats on at its interval, unheard, and
//! the process that comes knows what was durable. That is at least what an answer had to wait for;
//! anything later may be lost.

use proptest::prelude::*;

use super::journal::Journal;
use super::*;
use crate::testing::seeds;

/// What may happen to one heartbeat.
#[derive(Clone, Debug)]
struct Fate {
    hint_ms: f64,
    /// Bit by attempt.
    lost_requests: u8,
    lost_answers: u8,
    delays_ms: [u64; 10],
    /// Percent of the nominal distance of two attempts, 80 to 120.
    stretch: u64,
    /// Send the next so much early, in percent of the interval.
    early_percent: u64,
    restarts: bool,
    floor_ms: Option<u32>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let hint = prop_oneof![
        0.0..400_000.0f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(0.0),
        Just(1_000.0),
        Just(300_000.0)
    ];
    let early = prop_oneof![4 => Just(0u64), 1 => 0..100u64];
    (
        hint,
        any::<u8>(),
        prop_oneof![Just(0u8), Just(0xff), any::<u8>()],
        proptest::array::uniform10(0..1_000u64),
        80..=120u64,
        early,
        proptest::bool::weighted(0.03),
        proptest::option::weighted(0.1, 0..100_000u32),
    )
        .prop_map(|fate| Fate {
            hint_ms: fate.0,
            lost_requests: fate.1,
            lost_answers: fate.2,
            delays_ms: fate.3,
            stretch: fate.4,
            early_percent: fate.5,
            restarts: fate.6,
            floor_ms: fate.7,
        })
}

/// What may happen after one heartbeat: the process ends, with a number that decides how much of
/// what need not be durable is lost; and another begins so many percent of the agent's interval
/// before the agent's next heartbeat.
type Crash = Option<(usize, u64)>;

fn crash() -> impl Strategy<Value = Crash> {
    proptest::option::weighted(0.2, (any::<usize>(), 0..=100u64))
}

struct Obedient {
    class: ClassId,
    incarnation: u64,
    sequence: u64,
    directive_seen: u64,
    interval_ms: u64,
    default_ms: u64,
    /// When it sends the next heartbeat.
    sends_at: u64,
}

impl Obedient {
    fn new(class: u8) -> Self {
        let default_ms = [10_000, 30_000, 120_000][usize::from(class)];
        Self {
            class: ClassId(class),
            incarnation: 1,
            sequence: 0,
            directive_seen: 0,
            interval_ms: default_ms,
            default_ms,
            sends_at: 1_000,
        }
    }

    /// Whether it got an answer to its newest heartbeat.
    fn is_answered(&self) -> bool {
        self.directive_seen == self.sequence
    }

    /// Sends one heartbeat with all its retries; the next is then due at `sends_at`.
    fn live(&mut self, world: &mut World, fate: &Fate) {
        if fate.restarts {
            (self.incarnation, self.sequence) = (self.incarnation + 1, 0);
            (self.directive_seen, self.interval_ms) = (0, self.default_ms);
        }
        self.sequence += 1;
        let beat = Beat {
            incarnation: self.incarnation,
            sequence: self.sequence,
            directive_seen: self.directive_seen,
            class: Some(self.class),
            ..Beat::default()
        };
        let began = self.sends_at;
        let mut answered_at = u64::MAX;
        for (arrives, sent, attempt) in self.attempts(fate) {
            if sent >= answered_at {
                continue;
            }
            world.jump(arrives.saturating_sub(world.now));
            let decision = self.handled(world, &beat, fate);
            if fate.lost_answers & (1 << attempt) == 0 {
                let back = arrives + fate.delays_ms[5 + attempt];
                if back < answered_at {
                    answered_at = back;
                    self.directive_seen = decision.number;
                    self.interval_ms = decision.next_interval_ms.into();
                }
            }
        }
        let due = began + self.interval_ms * (100 - fate.early_percent) / 100;
        let earliest = if answered_at == u64::MAX { began } else { answered_at };
        self.sends_at = due.max(earliest).max(began + 1);
    }

    /// Attempts that come through, in the order of their arrival: arrival, sending, number.
    fn attempts(&self, fate: &Fate) -> Vec<(u64, u64, usize)> {
        let mut sent = self.sends_at;
        let mut attempts = Vec::new();
        let next_due = self.sends_at + self.interval_ms;
        for (attempt, wait) in [0, 1_000, 2_000, 4_000, 8_000].into_iter().enumerate() {
            sent += wait * fate.stretch / 100;
            if attempt > 0 && sent >= next_due {
                break;
            }
            attempts.push((sent + fate.delays_ms[attempt], sent, attempt));
        }
        let in_time = attempts.len().min(4);
        let comes_through =
            |attempt: usize| fate.lost_requests & (1 << attempt) == 0 || attempt + 1 == in_time;
        let someone = (0..in_time).any(|attempt| fate.lost_requests & (1 << attempt) == 0);
        attempts.retain(|&(.., attempt)| {
            if someone { fate.lost_requests & (1 << attempt) == 0 } else { comes_through(attempt) }
        });
        attempts.sort_unstable();
        attempts
    }

    fn handled(&self, world: &mut World, beat: &Beat, fate: &Fate) -> Decision {
        let answer = world.handle("a", beat).expect("an obedient agent is not refused");
        let Handled::Observe(ticket) = answer else {
            let Handled::Repeat(decision) = answer else { unreachable!() };
            return decision;
        };
        let now = world.now();
        let verdict = verdict(Health::Healthy, fate.hint_ms);
        world.machine.decide(now, &ticket, &verdict, &mut world.effects)
    }
}

proptest! {
    #![proptest_config(seeds(512))]

    #[test]
    fn an_obedient_agent_is_never_suspect(
        class in 0..3u8,
        fates in proptest::collection::vec(fate(), 1..150),
    ) {
        let mut world = World::new();
        let mut agent = Obedient::new(class);
        for fate in &fates {
            if let Some(floor_ms) = fate.floor_ms {
                world.machine.set_floor(floor_ms, 0.5);
            }
            agent.live(&mut world, fate);
            let told = world.told();
            prop_assert!(!told.contains(&"Suspected".into()), "{told:?} at {}", world.now);
        }
    }

    #[test]
    fn an_obedient_agent_is_never_suspect_across_restarts(
        class in 0..3u8,
        fates in proptest::collection::vec((fate(), crash()), 1..100),
    ) {
        let mut world = World::new();
        let mut agent = Obedient::new(class);
        let mut journal = Journal::default();
        // How many events the newest answer had to wait for, if it came, and would have to now.
        let (mut durable, mut newest) = (0, 0);
        for (fate, crash) in &fates {
            if let Some(floor_ms) = fate.floor_ms {
                world.machine.set_floor(floor_ms, 0.5);
            }
            agent.live(&mut world, fate);
            let waits = world.effects.events.iter().rposition(crate::Event::must_be_durable);
            let begun = journal.events.len();
            journal.record(&Config::default(), &world.effects.events);
            newest = waits.map_or(newest, |waits| begun + waits + 1);
            if agent.is_answered() {
                durable = newest;
            }
            let told = world.told();
            prop_assert!(!told.contains(&"Suspected".into()), "{told:?} at {}", world.now);
            // A run that has no answer yet obeys nobody; if its first heartbeat is lost with the
            // process, it is held to what the run before was told.
            let Some((lost, phase_percent)) = crash.filter(|_| agent.directive_seen > 0) else {
                continue;
            };
            let undurable = journal.events.len() - durable;
            journal.events.truncate(journal.events.len() - lost % (undurable + 1));
            let now = world.now();
            (world.machine, world.effects) = journal.restart(&Config::default(), now);
            newest = newest.min(journal.events.len());
            agent.sends_at = world.now + (agent.interval_ms * phase_percent / 100).max(1);
        }
    }
}
