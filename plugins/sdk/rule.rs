//! Plain functions as policies: what the macro accepts, and how it calls it.

use alloc::vec::Vec;

use crate::{
    Config, Context, Health, Hint, Incident, Judgement, Observation, Plan, Signals, Status,
};

/// Numbers of an observation in a row.
const OBSERVATION: usize = 16;
/// Most memory columns.
const COLUMNS: usize = 8;

/// A function of an observation: any of
/// `fn(&Observation) -> Answer`, `fn(&Observation, &mut Context) -> Answer`,
/// `fn(&Config<Settings>, &Observation) -> Answer` and
/// `fn(&Config<Settings>, &Observation, &mut Context) -> Answer`.
/// `Form` only tells the four apart; it is never named.
pub trait Rule<Settings, Answer, Form> {
    /// Answers one observation.
    fn answer(&self, config: &Config<Settings>, seen: &Observation, of: &mut Context) -> Answer;
}

/// Marks the form with nothing but the observation.
#[derive(Debug)]
pub struct Plain;
/// Marks the form with a context.
#[derive(Debug)]
pub struct WithContext;
/// Marks the form with a configuration.
#[derive(Debug)]
pub struct WithConfig;
/// Marks the form with both.
#[derive(Debug)]
pub struct WithBoth;

impl<S, A, F: Fn(&Observation) -> A> Rule<S, A, Plain> for F {
    fn answer(&self, _: &Config<S>, seen: &Observation, _: &mut Context) -> A {
        self(seen)
    }
}

impl<S, A, F: Fn(&Observation, &mut Context) -> A> Rule<S, A, WithContext> for F {
    fn answer(&self, _: &Config<S>, seen: &Observation, of: &mut Context) -> A {
        self(seen, of)
    }
}

impl<S, A, F: Fn(&Config<S>, &Observation) -> A> Rule<S, A, WithConfig> for F {
    fn answer(&self, config: &Config<S>, seen: &Observation, _: &mut Context) -> A {
        self(config, seen)
    }
}

impl<S, A, F: Fn(&Config<S>, &Observation, &mut Context) -> A> Rule<S, A, WithBoth> for F {
    fn answer(&self, config: &Config<S>, seen: &Observation, of: &mut Context) -> A {
        self(config, seen, of)
    }
}

/// A function of an incident: `fn(&Incident) -> Plan` or
/// `fn(&Config<Settings>, &Incident) -> Plan`.
pub trait RecoveryRule<Settings, Form> {
    /// Plans for one incident.
    fn plan(&self, config: &Config<Settings>, incident: &Incident) -> Plan;
}

impl<S, F: Fn(&Incident) -> Plan> RecoveryRule<S, Plain> for F {
    fn plan(&self, _: &Config<S>, incident: &Incident) -> Plan {
        self(incident)
    }
}

impl<S, F: Fn(&Config<S>, &Incident) -> Plan> RecoveryRule<S, WithConfig> for F {
    fn plan(&self, config: &Config<S>, incident: &Incident) -> Plan {
        self(config, incident)
    }
}

/// An answer that has a place in a row.
pub trait Answer {
    /// Columns that it takes.
    const COLUMNS: usize;
    /// Writes it into its columns.
    fn write(&self, columns: &mut [f64]);
}

impl Answer for Judgement {
    const COLUMNS: usize = 3;
    fn write(&self, columns: &mut [f64]) {
        columns[0] = f64::from(self.health as u8);
        columns[1] = f64::from(self.reason);
        columns[2] = self.score;
    }
}

impl Answer for Hint {
    const COLUMNS: usize = 2;
    fn write(&self, columns: &mut [f64]) {
        columns[0] = self.interval_ms;
        columns[1] = f64::from(self.reason);
    }
}

/// Answers the flat form: no custom metrics, empty memory.
pub fn answer_flat<S, A, Form>(
    rule: &impl Rule<S, A, Form>,
    config: &Config<S>,
    memory_columns: usize,
    seen: &Observation,
) -> A {
    let mut memory = [0.0; COLUMNS];
    rule.answer(config, seen, &mut Context::new(&[], &[], &mut memory[..memory_columns]))
}

/// Answers the rows form, in place: a row of answers is never longer than the row it answers, so
/// the matrix that came in goes out again, and nothing is allocated. A matrix that is no whole
/// number of rows is answered with nothing, which the host takes as a fault.
pub fn answer_rows<S, A: Answer, Form>(
    rule: &impl Rule<S, A, Form>,
    config: &Config<S>,
    metrics: &[&str],
    memory_columns: usize,
    mut rows: Vec<f64>,
) -> Vec<f64> {
    let (columns, width) = (memory_columns, OBSERVATION + metrics.len() + memory_columns);
    let answer_width = A::COLUMNS + columns;
    if !rows.len().is_multiple_of(width) {
        return Vec::new();
    }
    let count = rows.len() / width;
    for index in 0..count {
        let row = &rows[index * width..][..width];
        let (seen, row) = row.split_at(OBSERVATION);
        let (values, kept) = row.split_at(metrics.len());
        let mut memory = [0.0; COLUMNS];
        memory[..columns].copy_from_slice(kept);
        let mut context = Context::new(metrics, values, &mut memory[..columns]);
        let answer = rule.answer(config, &read_observation(seen), &mut context);
        let place = &mut rows[index * answer_width..][..answer_width];
        let (answered, kept) = place.split_at_mut(A::COLUMNS);
        answer.write(answered);
        kept.copy_from_slice(&memory[..columns]);
    }
    rows.truncate(count * answer_width);
    rows
}

fn read_observation(row: &[f64]) -> Observation {
    Observation {
        now_ms: row[0] as u64,
        status: match row[1] as u8 {
            0 => Status::Healthy,
            1 => Status::Degraded,
            2 => Status::Busy,
            3 => Status::Recovering,
            _ => Status::Stopping,
        },
        health: match row[2] as u8 {
            0 => Health::Healthy,
            1 => Health::Degraded,
            2 => Health::Unhealthy,
            _ => Health::Stalled,
        },
        signals: Signals::from_bits_truncate(row[3] as u16),
        interval_ms: row[4] as u32,
        lateness_ms: row[5] as i64,
        missed: row[6] as u32,
        queue_depth: row[7],
        queue_trend: row[8],
        active_tasks: row[9],
        cpu_percent: row[10],
        memory_bytes: row[11],
        errors: row[12] as u32,
        latency_ms: row[13],
        progress_age_ms: row[14] as u64,
        fleet_load: row[15],
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::NoSettings;

    fn row(queue_depth: f64, metric: f64, kept: f64) -> Vec<f64> {
        let mut row = vec![0.0; OBSERVATION];
        row[7] = queue_depth;
        row.extend([metric, kept]);
        row
    }

    fn counting(seen: &Observation, of: &mut Context) -> Hint {
        of.memory_mut()[0] += 1.0;
        let extra = of.metric("extra").unwrap_or(0.0);
        Hint { interval_ms: seen.queue_depth + extra, reason: 0 }
    }

    #[test]
    fn rows_are_answered_in_place_with_their_own_memory() {
        let config = Config::<NoSettings>::default();
        let rows = [row(10.0, 5.0, 0.0), row(20.0, f64::NAN, 7.0)].concat();
        let answers = answer_rows(&counting, &config, &["extra"], 1, rows);
        assert_eq!(answers, [15.0, 0.0, 1.0, 20.0, 0.0, 8.0]);
    }

    #[test]
    fn a_matrix_that_is_no_whole_number_of_rows_is_not_answered() {
        let config = Config::<NoSettings>::default();
        assert!(answer_rows(&counting, &config, &["extra"], 1, vec![0.0; 17]).is_empty());
    }

    #[test]
    fn all_four_forms_are_rules() {
        fn hint(interval_ms: f64) -> Hint {
            Hint { interval_ms, reason: 0 }
        }
        let config = Config::<NoSettings>::default();
        let seen = Observation::default();
        let flat = |a: Hint| a.interval_ms;
        assert_eq!(flat(answer_flat(&|_: &Observation| hint(1.0), &config, 0, &seen)), 1.0);
        let form = |_: &Observation, of: &mut Context| hint(of.memory().len() as f64);
        assert_eq!(flat(answer_flat(&form, &config, 2, &seen)), 2.0);
        let form = |of: &Config<NoSettings>, _: &Observation| hint(of.class.interval_ms.into());
        assert_eq!(flat(answer_flat(&form, &config, 0, &seen)), 30_000.0);
        let form = |_: &Config<NoSettings>, _: &Observation, _: &mut Context| hint(4.0);
        assert_eq!(flat(answer_flat(&form, &config, 0, &seen)), 4.0);
    }
}
