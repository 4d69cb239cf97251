//! Many heartbeats of one request: each shard is locked twice for all of its agents, and policies
//! see them as rows.
//!
//! One agent's heartbeats are handled in the order of the request, each after the one before it
//! was decided: the batch goes in rounds, and the n-th heartbeat of an agent is in round n.

use std::sync::Arc;

use pulsegate_core::{AgentKey, TenantId, Ticket};
use pulsegate_policy::{self as policy, Evaluation, PolicySet};
use pulsegate_wire::Heartbeat;

use super::heartbeat::{
    Begun, Bench, Decided, Incoming, Origin, Pending, Refused, custom, with_bench,
};
use super::recording::Judged;
use super::shadow::Subject;
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

/// Where a heartbeat of the batch stands. Lanes stay where they are, in the order of the request:
/// they are large, and sorting them cost a third of a batch.
struct Lane {
    hash: u64,
    place: usize,
    heartbeat: Heartbeat,
    incoming: Option<Incoming>,
    outcome: Option<Result<Decided, Refused>>,
}

impl Lane {
    fn key(&self, tenant: TenantId) -> AgentKey<'_> {
        AgentKey { tenant, id: &self.heartbeat.agent_id, hash: self.hash }
    }
}

/// When a lane is handled: all of a round at once, shard by shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    round: u32,
    shard: u32,
    lane: u32,
}

/// What all rounds of a batch share.
#[derive(Clone, Copy)]
struct Run<'a> {
    origin: Origin<'a>,
    policies: &'a Arc<PolicySet>,
}

impl Shards {
    /// Handles validated heartbeats, and hands every answer to `answer` with its place, in the
    /// order of `items`.
    pub fn handle_batch(
        &self,
        origin: Origin<'_>,
        items: Vec<Item>,
        mut answer: impl FnMut(usize, &str, Result<&Reply<'_>, Refused>),
    ) {
        let config = self.config.load();
        let policies = self.policies.load();
        let run = Run { origin, policies: &policies };
        let mut lanes: Vec<Lane> = items
            .into_iter()
            .map(|Item { place, mut heartbeat }| {
                let incoming = Some(Incoming::take(&mut heartbeat, &config.classes));
                let hash = self.key(origin.tenant, &heartbeat.agent_id).hash;
                Lane { hash, place, heartbeat, incoming, outcome: None }
            })
            .collect();
        let turns = self.turns(origin.tenant, &lanes);
        with_bench(|bench| {
            for round in turns.chunk_by(|left, right| left.round == right.round) {
                self.round(run, round, &mut lanes, bench);
            }
        });
        let load = self.load();
        for lane in &mut lanes {
            let id = &lane.heartbeat.agent_id;
            match &mut lane.outcome {
                Some(Ok(decided)) => {
                    self.renew(origin.tenant, id, decided);
                    self.count(id, &decided.decision);
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

    /// Finds when each lane is handled.
    fn turns(&self, tenant: TenantId, lanes: &[Lane]) -> Vec<Turn> {
        let mut by_agent: Vec<(u64, u32)> =
            lanes.iter().enumerate().map(|(index, lane)| (lane.hash, index as u32)).collect();
        by_agent.sort_unstable();
        let mut turns = Vec::with_capacity(lanes.len());
        // Two agents of one hash would only take turns.
        for beats in by_agent.chunk_by(|left, right| left.0 == right.0) {
            for (round, &(hash, lane)) in beats.iter().enumerate() {
                let key = AgentKey { tenant, id: "", hash };
                let shard = self.index(&key) as u32;
                turns.push(Turn { round: round as u32, shard, lane });
            }
        }
        turns.sort_unstable();
        turns
    }

    fn round(&self, run: Run<'_>, turns: &[Turn], lanes: &mut [Lane], bench: &mut Bench) {
        let at = self.clock.read();
        let mut pending = Vec::with_capacity(turns.len());
        for group in turns.chunk_by(|left, right| left.shard == right.shard) {
            self.begin_group(at, run, group, lanes, bench, &mut pending);
        }
        let evaluations = evaluate(lanes, &mut pending, run.policies, bench);
        for evaluation in &evaluations {
            self.telemetry.policy_calls(evaluation);
        }
        let context = self.context(at, run.policies, run.origin);
        let recorded: Vec<(u32, Ticket, &Evaluation)> = pending
            .iter()
            .zip(&evaluations)
            .filter(|((turn, _), _)| self.is_recorded(lanes[turn.lane as usize].hash))
            .map(|((turn, pending), evaluation)| (turn.lane, pending.ticket, evaluation))
            .collect();
        let watched: Vec<_> = pending
            .iter()
            .zip(&evaluations)
            .filter(|((_, pending), _)| pending.assignment.has_shadow())
            .map(|((turn, pending), evaluation)| {
                let shard = turn.shard as usize;
                (turn.lane, shard, pending.ticket, pending.assignment, evaluation)
            })
            .collect();
        let mut waiting = pending.into_iter().zip(&evaluations).peekable();
        while let Some(((turn, _), _)) = waiting.peek() {
            let shard = turn.shard;
            self.under_lock(shard as usize, &mut bench.effects, |locked, effects| {
                while let Some(((turn, pending), evaluation)) =
                    waiting.next_if(|((turn, _), _)| turn.shard == shard)
                {
                    let decided = locked.finish(context, pending, evaluation, effects);
                    lanes[turn.lane as usize].outcome = Some(Ok(decided));
                }
            });
            self.deliver(shard as usize, bench);
        }
        for (lane, shard, ticket, assignment, evaluation) in watched {
            let (stamp, class) = (ticket.stamp, ticket.class);
            let policies = run.policies;
            let subject = Subject { policies, shard, stamp, assignment, class };
            let beats = custom(&lanes[lane as usize].heartbeat);
            self.watch_beat(subject, &ticket.observation, beats, evaluation);
        }
        for (lane, ticket, evaluation) in recorded {
            let Lane { heartbeat, outcome, .. } = &lanes[lane as usize];
            if let Some(Ok(Decided { decision, .. })) = outcome {
                let tenant = run.origin.tenant;
                self.record(context, &Judged { tenant, heartbeat, ticket, evaluation, decision });
            }
        }
    }

    /// The first lock of one shard, for all of its agents in this round.
    fn begin_group(
        &self,
        at: Reading,
        run: Run<'_>,
        turns: &[Turn],
        lanes: &mut [Lane],
        bench: &mut Bench,
        pending: &mut Vec<(Turn, Pending)>,
    ) {
        let shard = turns[0].shard as usize;
        let admit = || self.admit(run.origin.gate);
        let Bench { effects, slots, .. } = &mut *bench;
        self.under_lock(shard, effects, |locked, effects| {
            let keys: Vec<_> =
                turns.iter().map(|turn| lanes[turn.lane as usize].key(run.origin.tenant)).collect();
            locked.find_all(&keys, slots);
            drop(keys);
            for (&turn, &known) in turns.iter().zip(&*slots) {
                let lane = &mut lanes[turn.lane as usize];
                let Some(incoming) = lane.incoming.take() else { continue };
                let agent = (lane.key(run.origin.tenant), known);
                let begun = locked.check_early(at, run.origin, known, &incoming).and_then(|()| {
                    locked.begin(at, run.policies, agent, incoming, &admit, effects)
                });
                match begun {
                    Ok(Begun::Pending(begun)) => pending.push((turn, begun)),
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
    pending: &mut [(Turn, Pending)],
    policies: &PolicySet,
    bench: &mut Bench,
) -> Vec<Evaluation> {
    let mut items: Vec<policy::Item<'_>> = pending
        .iter_mut()
        .map(|(turn, pending)| policy::Item {
            assignment: pending.assignment,
            class: pending.ticket.class,
            observation: pending.ticket.observation,
            custom: custom(&lanes[turn.lane as usize].heartbeat),
            memory: &mut pending.memory,
        })
        .collect();
    let mut answers = Vec::with_capacity(items.len());
    bench.worker.evaluate_batch(policies, &mut items, &mut answers);
    answers
}
