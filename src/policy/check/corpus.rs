//! What every policy is asked: the same observations and incidents in the same order, on every
//! machine and for every revision.

use std::collections::BTreeMap;

use pulsegate_core::{Class, ClassId, Incident, Observation, Signals};
use pulsegate_wire::{Health, IncidentKind, Status};

/// Agents of the corpus that beat again and again, so that memory passes on. Source: chosen.
const WALKERS: usize = 6;
/// Heartbeats of each. Source: chosen; long enough for a window of a few minutes.
const BEATS: usize = 40;
/// Largest whole number of an observation. Source: `wit/types.wit`.
const WHOLE_MAX: u64 = (1 << 53) - 1;

/// One heartbeat of the corpus.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Beat {
    /// Whose it is: memory passes between heartbeats of one agent.
    pub(super) agent: usize,
    pub(super) seen: Observation,
    pub(super) custom: BTreeMap<String, f64>,
}

/// Heartbeats for a policy that reads these custom metrics: each status, health and signal; each
/// number small, large and at both ends; and agents whose numbers wander.
pub(super) fn beats(class: &Class, metrics: &[String]) -> Vec<Beat> {
    let usual = Observation::ordinary(class);
    let mut seen = vec![usual];
    seen.extend(words(&usual));
    seen.extend(numbers(&usual));
    seen.extend(ends(&usual));
    let mut beats: Vec<Beat> = seen
        .into_iter()
        .enumerate()
        .map(|(agent, seen)| Beat { agent, seen, custom: BTreeMap::new() })
        .collect();
    for metric in metrics {
        for value in [0.0, 1.0, -1.0, 0.5, 1e3, 1e9, f64::MAX, f64::MIN] {
            let custom = BTreeMap::from([(metric.clone(), value)]);
            beats.push(Beat { agent: beats.len(), seen: usual, custom });
        }
    }
    let first = beats.len();
    for agent in 0..WALKERS {
        walk(&mut beats, first + agent, &usual, metrics);
    }
    beats
}

fn words(usual: &Observation) -> Vec<Observation> {
    let mut all = Vec::new();
    all.extend(Status::ALL.iter().map(|&status| Observation { status, ..*usual }));
    all.extend(Health::ALL.iter().map(|&health| Observation { health, ..*usual }));
    all.extend((0..Signals::COUNT).map(|bit| {
        let signals = Signals(1 << bit);
        Observation { signals, ..*usual }
    }));
    for &status in Status::ALL {
        for &health in Health::ALL {
            let signals = Signals((1 << Signals::COUNT) - 1);
            all.push(Observation { status, health, signals, ..*usual });
        }
    }
    all
}

/// Each number by itself, with the signal that says it was reported.
fn numbers(usual: &Observation) -> Vec<Observation> {
    let mut all = Vec::new();
    let mut each = |signal: Signals, values: &[f64], set: fn(&mut Observation, f64)| {
        for &value in values {
            let mut seen = Observation { signals: signal, ..*usual };
            set(&mut seen, value);
            all.push(seen);
        }
    };
    let depths = [0.0, 1.0, 10.0, 99.0, 100.0, 999.0, 1e3, 1e4, 1e6, 1e15, f64::MAX];
    each(Signals::HAS_QUEUE_DEPTH, &depths, |seen, value| seen.queue_depth = value);
    let trends = [-1e6, -10.0, -0.1, 0.1, 10.0, 1e6, f64::MAX, f64::MIN];
    each(Signals::HAS_QUEUE_DEPTH, &trends, |seen, value| seen.queue_trend = value);
    each(Signals::HAS_ACTIVE_TASKS, &depths, |seen, value| seen.active_tasks = value);
    let shares = [0.0, 1.0, 50.0, 89.9, 95.0, 100.0];
    each(Signals::HAS_CPU_PERCENT, &shares, |seen, value| seen.cpu_percent = value);
    let bytes = [0.0, 65_536.0, 1e9, 1e12, f64::MAX];
    each(Signals::HAS_MEMORY_BYTES, &bytes, |seen, value| seen.memory_bytes = value);
    let counts = [0.0, 1.0, 4.0, 5.0, 49.0, 50.0, 1e4, f64::from(u32::MAX)];
    each(Signals::HAS_ERROR_COUNT, &counts, |seen, value| seen.errors = value as u32);
    each(Signals::default(), &counts, |seen, value| seen.missed = value as u32);
    let times = [0.0, 1.0, 999.0, 1e3, 3e4, 6e4, 3.6e6, 8.64e7, WHOLE_MAX as f64];
    each(Signals::HAS_LATENCY_MS, &times, |seen, value| seen.latency_ms = value);
    each(Signals::HAS_PROGRESS, &times, |seen, value| seen.progress_age_ms = value as u64);
    each(Signals::default(), &times, |seen, value| seen.lateness_ms = value as i64);
    each(Signals::default(), &times, |seen, value| seen.lateness_ms = -(value as i64));
    each(Signals::default(), &times, |seen, value| seen.now_ms = value as u64);
    let intervals = [1e3, 1_001.0, 5e3, 1e4, 3e4, 6e4, 1.2e5, 3e5];
    each(Signals::default(), &intervals, |seen, value| seen.interval_ms = value as u32);
    let loads = [0.0, 0.25, 0.8, 0.95, 1.0];
    each(Signals::default(), &loads, |seen, value| seen.fleet_load = value);
    all
}

/// Everything at one end, and everything at the other.
fn ends(usual: &Observation) -> [Observation; 2] {
    let reported = Signals::HAS_QUEUE_DEPTH
        .with(Signals::HAS_ACTIVE_TASKS)
        .with(Signals::HAS_CPU_PERCENT)
        .with(Signals::HAS_MEMORY_BYTES)
        .with(Signals::HAS_ERROR_COUNT)
        .with(Signals::HAS_LATENCY_MS)
        .with(Signals::HAS_PROGRESS);
    let most = Observation {
        now_ms: WHOLE_MAX,
        interval_ms: 300_000,
        lateness_ms: WHOLE_MAX as i64,
        missed: u32::MAX,
        queue_depth: f64::MAX,
        queue_trend: f64::MAX,
        active_tasks: f64::MAX,
        cpu_percent: 100.0,
        memory_bytes: f64::MAX,
        errors: u32::MAX,
        latency_ms: f64::MAX,
        progress_age_ms: WHOLE_MAX,
        fleet_load: 1.0,
        signals: reported,
        ..*usual
    };
    let least = Observation {
        now_ms: 0,
        interval_ms: 1_000,
        lateness_ms: -(WHOLE_MAX as i64),
        queue_trend: f64::MIN,
        signals: reported,
        ..*usual
    };
    [most, least]
}

/// The heartbeats of one agent whose numbers wander.
fn walk(beats: &mut Vec<Beat>, agent: usize, usual: &Observation, metrics: &[String]) {
    let mut dice = Dice(agent as u64);
    let mut seen = Observation { signals: Signals::FIRST, ..*usual };
    for _ in 0..BEATS {
        let mut custom = BTreeMap::new();
        for metric in metrics {
            if dice.below(4) > 0 {
                custom.insert(metric.clone(), dice.below(10_000) as f64 / 8.0);
            }
        }
        beats.push(Beat { agent, seen, custom });
        seen.interval_ms = 1_000 + dice.below(60_000) as u32;
        seen.lateness_ms = dice.below(4_000) as i64 - 1_000;
        let gap_ms = i64::from(seen.interval_ms) + seen.lateness_ms;
        seen.now_ms += u64::try_from(gap_ms).unwrap_or_default();
        seen.status = Status::ALL[dice.below(Status::ALL.len() as u64) as usize];
        seen.signals = Signals(dice.below(1 << Signals::COUNT) as u32 & !Signals::FIRST.0);
        let reported = |signal, value: f64| if seen.signals.has(signal) { value } else { 0.0 };
        seen.queue_depth = reported(Signals::HAS_QUEUE_DEPTH, dice.below(3_000) as f64);
        let trend = dice.below(400) as f64 / 10.0 - 20.0;
        seen.queue_trend = reported(Signals::HAS_QUEUE_DEPTH, trend);
        seen.active_tasks = reported(Signals::HAS_ACTIVE_TASKS, dice.below(20) as f64);
        seen.cpu_percent = reported(Signals::HAS_CPU_PERCENT, dice.below(101) as f64);
        seen.memory_bytes = reported(Signals::HAS_MEMORY_BYTES, dice.below(1 << 34) as f64);
        seen.errors = reported(Signals::HAS_ERROR_COUNT, dice.below(80) as f64) as u32;
        seen.latency_ms = reported(Signals::HAS_LATENCY_MS, dice.below(20_000) as f64 / 16.0);
        seen.progress_age_ms = reported(Signals::HAS_PROGRESS, dice.below(600_000) as f64) as u64;
        seen.missed = dice.below(4) as u32;
        seen.fleet_load = dice.below(101) as f64 / 100.0;
    }
}

/// Incidents of both kinds: each health and status, reachable or not, for the first time and for
/// the many-th.
pub(super) fn incidents(id: ClassId, class: &Class) -> Vec<Incident> {
    let mut all = Vec::new();
    for kind in [IncidentKind::Silence, IncidentKind::Health] {
        let usual = Incident::ordinary(kind, id, class);
        for number in [0, 1, 2, 3, 10, u32::MAX] {
            for reachable in [false, true] {
                all.push(Incident { number, reachable, ..usual });
            }
        }
        all.extend(Health::ALL.iter().map(|&health| Incident { health, ..usual }));
        all.extend(Status::ALL.iter().map(|&status| Incident { status, ..usual }));
        let silence = [0, 1, 60_000, 86_400_000, WHOLE_MAX];
        all.extend(silence.map(|silent_ms| Incident { silent_ms, ..usual }));
        all.extend([1, 1_000, u32::MAX].map(|missed| Incident { missed, ..usual }));
    }
    all
}

/// Numbers without pattern, the same ones every time.
struct Dice(u64);

impl Dice {
    /// The next number below `end`. Source: splitmix64, Steele, Lea and Flood, 2014.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}

#[cfg(test)]
mod tests {
    use pulsegate_core::Classes;

    use super::*;

    #[test]
    fn the_corpus_is_the_same_every_time_and_keeps_the_contract() {
        let classes = Classes::default();
        for (id, class) in classes.iter() {
            let metrics = ["extra".to_owned()];
            let beats = beats(class, &metrics);
            assert_eq!(beats, super::beats(class, &metrics));
            assert!(beats.len() > 300, "{}", beats.len());
            for Beat { seen, custom, .. } in &beats {
                assert_eq!(*seen, crate::rows::clean_observation(seen));
                assert!((1_000..=300_000).contains(&seen.interval_ms));
                assert!(seen.now_ms <= WHOLE_MAX && seen.progress_age_ms <= WHOLE_MAX);
                assert!(seen.lateness_ms.unsigned_abs() <= WHOLE_MAX);
                assert!((0.0..=100.0).contains(&seen.cpu_percent));
                assert!((0.0..=1.0).contains(&seen.fleet_load));
                let unreported = |signal, value: f64| !seen.signals.has(signal) && value != 0.0;
                assert!(!unreported(Signals::HAS_QUEUE_DEPTH, seen.queue_depth));
                assert!(!unreported(Signals::HAS_LATENCY_MS, seen.latency_ms));
                assert!(custom.values().all(|value| value.is_finite()));
            }
            assert!(incidents(id, class).len() > 50);
        }
    }

    #[test]
    fn every_word_is_in_it() {
        let class = &Classes::default()[ClassId(1)];
        let beats = beats(class, &[]);
        for &status in Status::ALL {
            assert!(beats.iter().any(|beat| beat.seen.status == status));
        }
        for &health in Health::ALL {
            assert!(beats.iter().any(|beat| beat.seen.health == health));
        }
        for bit in 0..Signals::COUNT {
            assert!(beats.iter().any(|beat| beat.seen.signals == Signals(1 << bit)));
        }
    }
}
