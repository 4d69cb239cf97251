//! Many heartbeats of one request: each shard is locked twice for all of its agents, and policies
//! see them as rows.
//!
//! One agent's heartbeats are handled in the order of the request, each after the one before it
//! was decided: the batch goes in rounds, and the n-th heartbeat of an agent is in round n.

use pulsegate_core::TenantId;
use pulsegate_policy::{self as policy, Evaluation, PolicySet};
use pulsegate_wire::Heartbeat;

use super::heartbeat::{
    Begun, Bench, Decided, Gate, Incoming, Pending, Refused, custom, with_bench,
};
use super::{Reply, Shards};
use crate::clock::Reading;

/// A validated heartbeat of a batch, with its place in the request.
#[derive(Debug)]
pub struct Item {
    /// Place in the request.
    pub place: usize,
    /// The heartbeat.
    pub heartbeat: Heartbeat,
}

/// Where a heartbeat of the batch stands.
struct Lane {
    shard: usize,
    hash: u64,
    round: usize,
    place: usize,
    heartbeat: Heartbeat,
    incoming: Option<Incoming>,
    outcome: Option<Result<Decided, Refused>>,
}

impl Shards {
    /// Handles validated heartbeats, and hands every answer to `answer` with its place.
    pub fn handle_batch(
        &self,
        tenant: TenantId,
        items: Vec<Item>,
        gate: Gate<'_>,
        mut answer: impl FnMut(usize, &str, Result<&Reply<'_>, Refused>),
    ) {
        let config = self.config.load();
        let policies = self.policies.load();
        let mut lanes = self.lanes(tenant, items, &config.classes);
        with_bench(|bench| {
            let mut rest = &mut lanes[..];
            while let Some(first) = rest.first() {
                let round = first.round;
                let length = rest.partition_point(|lane| lane.round == round);
                let (now, later) = rest.split_at_mut(length);
                self.round(tenant, now, &policies, gate, bench);
                rest = later;
            }
        });
        lanes.sort_unstable_by_key(|lane| lane.place);
        let load = self.load();
        for lane in &lanes {
            let id = &lane.heartbeat.agent_id;
            match &lane.outcome {
                Some(Ok(decided)) => {
                    self.count(&decided.decision);
                    let reply = Reply::new(decided, &policies, &config.directives, load);
                    answer(lane.place, id, Ok(&reply));
                }
                Some(Err(refused)) => {
                    self.count_refusal(refused);
                    answer(lane.place, id, Err(*refused));
                }
                None => {}
            }
        }
    }

    /// Finds every heartbeat's shard and round, in the order of round and shard.
    fn lanes(
        &self,
        tenant: TenantId,
        items: Vec<Item>,
        classes: &pulsegate_core::Classes,
    ) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = items
            .into_iter()
            .map(|Item { place, mut heartbeat }| {
                let incoming = Some(Incoming::take(&mut heartbeat, classes));
                let key = self.key(tenant, &heartbeat.agent_id);
                let (shard, hash) = (self.index(&key), key.hash);
                Lane { shard, hash, round: 0, place, heartbeat, incoming, outcome: None }
            })
            .collect();
        lanes.sort_unstable_by_key(|lane| (lane.hash, lane.place));
        for index in 1..lanes.len() {
            // Two agents of one hash would only take turns.
            if lanes[index].hash == lanes[index - 1].hash {
                lanes[index].round = lanes[index - 1].round + 1;
            }
        }
        lanes.sort_unstable_by_key(|lane| (lane.round, lane.shard, lane.place));
        lanes
    }

    fn round(
        &self,
        tenant: TenantId,
        lanes: &mut [Lane],
        policies: &PolicySet,
        gate: Gate<'_>,
        bench: &mut Bench,
    ) {
        let at = self.clock.read();
        let mut pending = Vec::with_capacity(lanes.len());
        let mut start = 0;
        for group in lanes.chunk_by_mut(|left, right| left.shard == right.shard) {
            let length = group.len();
            self.begin_group(at, tenant, start, group, policies, gate, bench, &mut pending);
            start += length;
        }
        let evaluations = evaluate(lanes, &mut pending, policies, bench);
        for evaluation in &evaluations {
            self.telemetry.policy_calls(evaluation);
        }
        let mut waiting = pending.into_iter().zip(&evaluations).peekable();
        while let Some(((index, _), _)) = waiting.peek() {
            let shard = lanes[*index].shard;
            let context = self.context(at, policies);
            self.under_lock(shard, &mut bench.effects, |locked, effects| {
                while let Some(((index, pending), evaluation)) =
                    waiting.next_if(|((index, _), _)| lanes[*index].shard == shard)
                {
                    let decided = locked.finish(context, pending, evaluation, effects);
                    lanes[index].outcome = Some(Ok(decided));
                }
            });
            self.deliver(shard, bench);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of `round`, apart for its length")]
    fn begin_group(
        &self,
        at: Reading,
        tenant: TenantId,
        start: usize,
        group: &mut [Lane],
        policies: &PolicySet,
        gate: Gate<'_>,
        bench: &mut Bench,
        pending: &mut Vec<(usize, Pending)>,
    ) {
        let shard = group[0].shard;
        self.under_lock(shard, &mut bench.effects, |locked, effects| {
            for (offset, lane) in group.iter_mut().enumerate() {
                let key = pulsegate_core::AgentKey {
                    tenant,
                    id: &lane.heartbeat.agent_id,
                    hash: lane.hash,
                };
                let Some(incoming) = lane.incoming.take() else { continue };
                let admit = || self.admit(gate);
                match locked.begin(at, policies, key, incoming, &admit, effects) {
                    Ok(Begun::Pending(begun)) => pending.push((start + offset, begun)),
                    Ok(Begun::Answered(decided)) => lane.outcome = Some(Ok(decided)),
                    Err(refused) => lane.outcome = Some(Err(refused)),
                }
            }
        });
        self.deliver(shard, bench);
    }
}

/// Judges and paces a round; the answers are in the order of `pending`.
fn evaluate(
    lanes: &[Lane],
    pending: &mut [(usize, Pending)],
    policies: &PolicySet,
    bench: &mut Bench,
) -> Vec<Evaluation> {
    let mut items: Vec<policy::Item<'_>> = pending
        .iter_mut()
        .map(|(index, pending)| policy::Item {
            assignment: pending.assignment,
            class: pending.ticket.class,
            observation: pending.ticket.observation,
            custom: custom(&lanes[*index].heartbeat),
            memory: &mut pending.memory,
        })
        .collect();
    let mut answers = Vec::with_capacity(items.len());
    bench.worker.evaluate_batch(policies, &mut items, &mut answers);
    answers
}
