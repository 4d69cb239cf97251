//! Many heartbeats at once: grouped by policy and class, each group through the rows form.
//!
//! A batch has a fixed policy time. What is not evaluated by then gets the built-in policy, so a
//! slow policy delays a batch by that time and never by its length.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use pulsegate_core::{ClassId, Verdict};

use crate::limits::ROWS_PER_CALL;
use crate::loader::Policy;
use crate::rows::{HINT, JUDGEMENT};
use crate::worker::{Judged, Part, Suggested, keep, push_row, sized};
use crate::{Call, Evaluation, Fault, Item, PolicySet, Worker};

/// Lists that are kept from batch to batch, so that none is allocated.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Group of each item.
    keys: Vec<u32>,
    /// Where each group ends in `order`.
    ends: Vec<u32>,
    /// Items, group after group, in their own order within each.
    order: Vec<u32>,
}

impl Scratch {
    /// Sorts items into groups by counting.
    fn group(&mut self, groups: usize, keys: impl Iterator<Item = u32>) {
        self.keys.clear();
        self.keys.extend(keys);
        self.ends.clear();
        self.ends.resize(groups, 0);
        for &key in &self.keys {
            self.ends[key as usize] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            (*end, start) = (start, start + *end);
        }
        self.order.clear();
        self.order.resize(self.keys.len(), 0);
        for (item, &key) in self.keys.iter().enumerate() {
            let at = &mut self.ends[key as usize];
            self.order[*at as usize] = item as u32;
            *at += 1;
        }
    }

    fn range(&self, group: usize) -> Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start as usize..self.ends[group] as usize
    }
}

impl Worker {
    /// Evaluates a batch through the rows form, grouped by policy, answers in the same order.
    /// The observations of the items come back cleaned, with the health judged.
    pub fn evaluate_batch(
        &mut self,
        set: &PolicySet,
        items: &mut [Item<'_>],
        answers: &mut Vec<Evaluation>,
    ) {
        self.warm.adopt(set);
        let deadline = Instant::now() + set.engine.shared.limits.batch;
        answers.clear();
        for item in items.iter_mut() {
            item.observation = crate::rows::clean_observation(&item.observation);
            item.class = set.known_class(item.class);
            answers.push(Evaluation {
                verdict: Verdict {
                    health: item.observation.health,
                    score: 0.0,
                    interval_ms: 0.0,
                    source: Default::default(),
                },
                health_source: Default::default(),
                calls: [None; 2],
            });
        }
        for part in [Part::Health, Part::Cadence] {
            self.evaluate_part(set, part, deadline, items, answers);
        }
    }

    fn evaluate_part(
        &mut self,
        set: &PolicySet,
        part: Part,
        deadline: Instant,
        items: &mut [Item<'_>],
        answers: &mut [Evaluation],
    ) {
        let classes = set.class_count();
        let groups = (set.policy_count() + 1) * classes;
        let mut scratch = std::mem::take(&mut self.batch);
        scratch.group(
            groups,
            items.iter().map(|item| {
                let entry = set.entry(item.assignment);
                let policy = if part == Part::Health { entry.health } else { entry.cadence };
                u32::from(policy) * classes as u32 + u32::from(item.class.0)
            }),
        );
        for group in 0..groups {
            let index = (group / classes) as u16;
            let class = ClassId((group % classes) as u8);
            let members = &scratch.order[scratch.range(group)];
            for chunk in members.chunks(ROWS_PER_CALL) {
                let done = set.policy(index).is_some_and(|policy| {
                    let group = Group { set, index, policy, class, part, deadline };
                    self.evaluate_chunk(&group, chunk, items, answers)
                });
                if !done {
                    answer_builtin(set, part, chunk, items, answers);
                }
            }
        }
        self.batch = scratch;
    }

    /// Evaluates the heartbeats of one call; says whether the policy answered.
    fn evaluate_chunk(
        &mut self,
        group: &Group<'_>,
        chunk: &[u32],
        items: &mut [Item<'_>],
        answers: &mut [Evaluation],
    ) -> bool {
        let Group { set, index, policy, class, part, deadline } = *group;
        let first = &mut answers[chunk[0] as usize].calls[part as usize];
        if Instant::now() >= deadline {
            let fault = Some(Fault::BatchTime);
            *first = Some(Call { policy: index, elapsed: None, fault });
            return false;
        }
        let matrix = Arc::make_mut(&mut self.rows);
        matrix.clear();
        for &at in chunk {
            let item = &items[at as usize];
            push_row(matrix, policy, part, &item.observation, item.custom, item.memory);
        }
        let rows = &self.rows;
        let columns = if part == Part::Health { JUDGEMENT } else { HINT };
        let (outcome, call) = self.warm.call(set, (index, policy), class, |instance| {
            let answer = match part {
                Part::Health => instance.judge_rows(rows),
                Part::Cadence => instance.suggest_rows(rows),
            }?;
            sized(&answer, chunk.len(), columns, policy)?;
            check_rows(&answer, columns, index, policy, part)?;
            Ok(answer)
        });
        *first = Some(call);
        let Ok(answer) = outcome else { return false };
        let width = columns + policy.shape.columns;
        for (&at, row) in chunk.iter().zip(answer.chunks_exact(width)) {
            let (item, evaluation) = (&mut items[at as usize], &mut answers[at as usize]);
            match part {
                Part::Health => {
                    let Ok(judged) = Judged::read(row, index, policy) else { return false };
                    take_health(judged, item, evaluation);
                }
                Part::Cadence => {
                    let Ok(suggested) = Suggested::read(row, index, policy) else { return false };
                    take_interval(suggested, evaluation);
                }
            }
            keep(&row[columns..], policy, part, item.memory);
        }
        true
    }
}

/// What the heartbeats of one call have in common.
struct Group<'a> {
    set: &'a PolicySet,
    index: u16,
    policy: &'a Policy,
    class: ClassId,
    part: Part,
    deadline: Instant,
}

/// Refuses a whole answer for one bad row: a policy that is wrong about one agent may have mixed
/// all of them up.
fn check_rows(
    answer: &[f64],
    columns: usize,
    index: u16,
    policy: &Policy,
    part: Part,
) -> Result<(), Fault> {
    for row in answer.chunks_exact(columns + policy.shape.columns) {
        match part {
            Part::Health => Judged::read(row, index, policy).map(|_| ())?,
            Part::Cadence => Suggested::read(row, index, policy).map(|_| ())?,
        }
    }
    Ok(())
}

fn answer_builtin(
    set: &PolicySet,
    part: Part,
    chunk: &[u32],
    items: &mut [Item<'_>],
    answers: &mut [Evaluation],
) {
    for &at in chunk {
        let (item, evaluation) = (&mut items[at as usize], &mut answers[at as usize]);
        match part {
            Part::Health => take_health(Judged::builtin(&item.observation), item, evaluation),
            Part::Cadence => {
                take_interval(Suggested::builtin(&item.observation, set, item.class), evaluation);
            }
        }
    }
}

fn take_health(judged: Judged, item: &mut Item<'_>, evaluation: &mut Evaluation) {
    item.observation.health = judged.health;
    evaluation.verdict.health = judged.health;
    evaluation.verdict.score = judged.score;
    evaluation.health_source = judged.source;
}

fn take_interval(suggested: Suggested, evaluation: &mut Evaluation) {
    evaluation.verdict.interval_ms = suggested.interval_ms;
    evaluation.verdict.source = suggested.source;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_item_once_and_in_order() {
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            scratch.group(4, [3, 0, 3, 1, 0].into_iter());
            let members: Vec<_> =
                (0..4).map(|g| scratch.order[scratch.range(g)].to_vec()).collect();
            assert_eq!(members, [vec![1, 4], vec![3], vec![], vec![0, 2]]);
        }
    }
}
