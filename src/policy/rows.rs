//! The rows form: one matrix of numbers in, one out. Its layout is documented in
//! `wit/health.wit`.

use std::collections::BTreeMap;

use pulsegate_core::Observation;
use pulsegate_wire::Health;

use crate::describe::Shape;

/// Numbers of an observation in a row.
pub(crate) const OBSERVATION: usize = 16;
/// Most custom metrics of a policy: as many as a heartbeat may carry.
pub(crate) const METRICS_MAX: usize = pulsegate_wire::limits::CUSTOM_METRICS;
/// Most memory columns of a policy. Source: chosen; 64 bytes an agent.
pub(crate) const COLUMNS_MAX: usize = 8;
/// Columns of a health answer, before memory.
pub(crate) const JUDGEMENT: usize = 3;
/// Columns of a cadence answer, before memory.
pub(crate) const HINT: usize = 2;

/// Appends one row.
pub(crate) fn push(
    rows: &mut Vec<f64>,
    shape: &Shape,
    seen: &Observation,
    custom: &BTreeMap<String, f64>,
    memory: &[f64],
) {
    let observation: [f64; OBSERVATION] = [
        seen.now_ms as f64,
        f64::from(seen.status as i32),
        f64::from(seen.health as i32),
        f64::from(seen.signals.0),
        f64::from(seen.interval_ms),
        seen.lateness_ms as f64,
        f64::from(seen.missed),
        seen.queue_depth,
        seen.queue_trend,
        seen.active_tasks,
        seen.cpu_percent,
        seen.memory_bytes,
        f64::from(seen.errors),
        seen.latency_ms,
        seen.progress_age_ms as f64,
        seen.fleet_load,
    ];
    rows.extend_from_slice(&observation);
    for metric in &shape.metrics {
        rows.push(custom.get(metric).map_or(f64::NAN, |&value| clean(value)));
    }
    rows.extend_from_slice(memory);
}

/// The health of an answer; `None` when it is none.
pub(crate) fn health(number: f64) -> Option<Health> {
    Health::ALL.iter().copied().find(|&health| f64::from(health as i32) == number)
}

/// A reason of an answer; `None` when it is none of the policy's.
pub(crate) fn reason(number: f64, reasons: usize) -> Option<u16> {
    let index = number as u16;
    (f64::from(index) == number && usize::from(index) < reasons).then_some(index)
}

/// A number as every machine sees it: NaN and subnormals are 0, infinities the largest number.
pub(crate) fn clean(number: f64) -> f64 {
    if number.is_normal() || number == 0.0 {
        number
    } else if number.is_infinite() {
        f64::MAX.copysign(number)
    } else {
        0.0
    }
}

/// An observation with every number [`clean`].
pub(crate) fn clean_observation(seen: &Observation) -> Observation {
    Observation {
        queue_depth: clean(seen.queue_depth),
        queue_trend: clean(seen.queue_trend),
        active_tasks: clean(seen.active_tasks),
        cpu_percent: clean(seen.cpu_percent),
        memory_bytes: clean(seen.memory_bytes),
        latency_ms: clean(seen.latency_ms),
        fleet_load: clean(seen.fleet_load),
        ..*seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_observation_then_metrics_then_memory() {
        let shape = Shape {
            metrics: vec!["there".into(), "absent".into()],
            columns: 2,
            ..Shape::default()
        };
        let seen = Observation { now_ms: 7, fleet_load: 0.5, ..Observation::default() };
        let custom = BTreeMap::from([("there".to_owned(), 3.0)]);
        let mut rows = Vec::new();
        push(&mut rows, &shape, &seen, &custom, &[1.0, 2.0]);
        assert_eq!(rows.len(), OBSERVATION + 4);
        assert_eq!((rows[0], rows[15], rows[16]), (7.0, 0.5, 3.0));
        assert!(rows[17].is_nan());
        assert_eq!(rows[18..], [1.0, 2.0]);
    }

    #[test]
    fn only_whole_numbers_in_range_are_answers() {
        assert_eq!(health(3.0), Some(Health::Stalled));
        for number in [4.0, -1.0, 0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(health(number), None);
            assert_eq!(reason(number, 4), None);
        }
        assert_eq!(reason(3.0, 4), Some(3));
        assert_eq!(reason(65_536.0, 4), None);
    }

    #[test]
    fn what_no_machine_agrees_on_is_cleaned() {
        assert_eq!(clean(f64::NAN).to_bits(), 0);
        assert_eq!(clean(f64::MIN_POSITIVE / 2.0), 0.0);
        assert_eq!(clean(f64::NEG_INFINITY), f64::MIN);
        assert_eq!(clean(1.5), 1.5);
    }
}
