//! Many heartbeats at once: grouped by policy and class, each group through the rows form.
//!
//! A batch has a fixed policy time. What is not evaluated by then gets the built-in policy, so a
//! slow policy delays a batch by that time and never by its length.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use pulsegate_core::ClassId;

use crate::limits::ROWS_PER_CALL;
use crate::loader::Policy;
use crate::question::{Judged, Question, Suggested};
use crate::worker::{keep, push_row, sized};
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
        let deadline = self.prepare(set, items, answers);
        self.ask_all::<Judged>(set, deadline, items, answers);
        self.ask_all::<Suggested>(set, deadline, items, answers);
    }

    /// Paces a batch and judges nobody: the health that stands in the observations is taken as
    /// the one just judged. For whoever tries a cadence policy on what another policy judged.
    pub fn pace_batch(
        &mut self,
        set: &PolicySet,
        items: &mut [Item<'_>],
        answers: &mut Vec<Evaluation>,
    ) {
        let deadline = self.prepare(set, items, answers);
        self.ask_all::<Suggested>(set, deadline, items, answers);
    }

    /// Cleans what goes in, and says when the policy time of this batch is over.
    fn prepare(
        &mut self,
        set: &PolicySet,
        items: &mut [Item<'_>],
        answers: &mut Vec<Evaluation>,
    ) -> Instant {
        self.warm.adopt(set);
        answers.clear();
        for item in items.iter_mut() {
            item.observation = crate::rows::clean_observation(&item.observation);
            item.class = set.known_class(item.class);
            answers.push(Evaluation::pending(&item.observation));
        }
        Instant::now() + set.engine.shared.limits.batch
    }

    /// Puts one question to all.
    fn ask_all<Q: Question>(
        &mut self,
        set: &PolicySet,
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
                let policy = Q::policy(set.entry(item.assignment));
                u32::from(policy) * classes as u32 + u32::from(item.class.0)
            }),
        );
        for group in 0..groups {
            let index = (group / classes) as u16;
            let class = ClassId((group % classes) as u8);
            let members = &scratch.order[scratch.range(group)];
            for chunk in members.chunks(ROWS_PER_CALL) {
                let done = set.policy(index).is_some_and(|policy| {
                    let group = Group { set, asked: (index, policy), class, deadline };
                    self.ask_chunk::<Q>(&group, chunk, items, answers)
                });
                if !done {
                    answer_builtin::<Q>(set, chunk, items, answers);
                }
            }
        }
        self.batch = scratch;
    }

    /// Puts a question to the heartbeats of one call; says whether the policy answered.
    fn ask_chunk<Q: Question>(
        &mut self,
        group: &Group<'_>,
        chunk: &[u32],
        items: &mut [Item<'_>],
        answers: &mut [Evaluation],
    ) -> bool {
        let Group { set, asked, class, deadline } = *group;
        let (index, policy) = asked;
        let first = &mut answers[chunk[0] as usize].calls[Q::PART as usize];
        if Instant::now() >= deadline {
            let fault = Some(Fault::BatchTime);
            *first = Some(Call { policy: index, elapsed: None, fault });
            return false;
        }
        let matrix = Arc::make_mut(&mut self.rows);
        matrix.clear();
        for &at in chunk {
            let item = &items[at as usize];
            push_row(matrix, policy, Q::PART, &item.observation, item.custom, item.memory);
        }
        let rows = &self.rows;
        let width = Q::COLUMNS + policy.shape.columns;
        let count = chunk.len() as u32;
        let (outcome, call) = self.warm.call_rows(set, asked, class, count, |instance| {
            let answer = Q::ask_rows(instance, rows)?;
            sized(&answer, chunk.len(), Q::COLUMNS, policy)?;
            // One bad row refuses the whole answer: a policy that is wrong about one agent may
            // have mixed all of them up.
            answer.chunks_exact(width).try_for_each(|row| Q::read(row, asked).map(drop))?;
            Ok(answer)
        });
        *first = Some(call);
        let Ok(answer) = outcome else { return false };
        for (&at, row) in chunk.iter().zip(answer.chunks_exact(width)) {
            let (item, evaluation) = (&mut items[at as usize], &mut answers[at as usize]);
            let Ok(read) = Q::read(row, asked) else { return false };
            read.enter(&mut item.observation, evaluation);
            keep(&row[Q::COLUMNS..], policy, Q::PART, item.memory);
        }
        true
    }
}

/// What the heartbeats of one call have in common.
#[derive(Clone, Copy)]
struct Group<'a> {
    set: &'a PolicySet,
    asked: (u16, &'a Policy),
    class: ClassId,
    deadline: Instant,
}

fn answer_builtin<Q: Question>(
    set: &PolicySet,
    chunk: &[u32],
    items: &mut [Item<'_>],
    answers: &mut [Evaluation],
) {
    for &at in chunk {
        let (item, evaluation) = (&mut items[at as usize], &mut answers[at as usize]);
        Q::builtin(&item.observation, set, item.class).enter(&mut item.observation, evaluation);
    }
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
