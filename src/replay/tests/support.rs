//! Records of a simulated gateway, and candidates to try on them.

use std::cell::RefCell;
use std::rc::Rc;

use prost::Message as _;
use pulsegate_core::{Classes, Config, Observation, Signals};
use pulsegate_journal::{HeartbeatRecord, HeartbeatView, Journal};
use pulsegate_policy::{Limits, Pool, Source, fixtures, reference};
use pulsegate_sim::gateway::{Gateway, Options as GatewayOptions, Policies, Recorder, Taken};
use pulsegate_sim::quality::{Quality, Report as Measured};
use pulsegate_sim::server::{AgentIndex, Change, Micros};
use pulsegate_sim::world::{Observer, Setting, World};
use pulsegate_wire::Event;
use serde_json::Value;

use crate::{Candidate, Options, Replay, Report};

/// A wall time at which core time begins.
pub(crate) const WALL_MS: u64 = 1_790_000_000_000;

/// A policy by the name that it has in the repository.
pub(crate) fn source(name: &str, settings: Value) -> Source {
    let all = reference::ALL.iter().chain(fixtures::ALL);
    let (_, bytes) = all.into_iter().find(|(known, _)| *known == name).expect("it is embedded");
    Source { name: name.to_owned(), bytes: bytes.to_vec(), settings, pool: Pool::Native }
}

pub(crate) fn candidate(name: &str, settings: Value) -> Candidate {
    let source = source(name, settings);
    Candidate::load(source, &Classes::default(), Limits::default()).expect("it loads")
}

/// Feeds what a simulated gateway records to a replay, by way of the bytes of the journal, and to
/// a journal.
struct Tape {
    replay: Option<Rc<RefCell<Replay>>>,
    journal: Option<Journal>,
    heartbeats: Rc<RefCell<u64>>,
    bytes: Vec<u8>,
}

/// Heartbeats that may wait for the journal's writer: half of what it takes.
const WAITING: u64 = 32_768;

impl Recorder for Tape {
    fn heartbeat(&mut self, taken: &Taken<'_>) {
        *self.heartbeats.borrow_mut() += 1;
        if let Some(journal) = &self.journal {
            journal.record(record(taken));
            while journal.status().heartbeats + WAITING < *self.heartbeats.borrow() {
                std::thread::yield_now();
            }
        }
        let Some(replay) = &self.replay else { return };
        self.bytes.clear();
        record(taken).encode(&mut self.bytes).expect("a vector grows");
        let view = HeartbeatView::decode(&self.bytes).expect("it was written");
        replay.borrow_mut().handle_heartbeat(&view);
    }

    fn event(&mut self, event: &Event) {
        if let Some(journal) = &self.journal {
            let event = Event { wall_ms: WALL_MS + event.at_ms, ..event.clone() };
            journal.append([event]).expect("the disk takes it");
        }
        if let Some(replay) = &self.replay {
            replay.borrow_mut().handle_event(event);
        }
    }
}

/// As the gateway records it.
fn record(taken: &Taken<'_>) -> HeartbeatRecord {
    let Taken { ticket, verdict, decision, .. } = taken;
    HeartbeatRecord {
        at_ms: ticket.observation.now_ms,
        wall_ms: WALL_MS + ticket.observation.now_ms,
        tenant: taken.tenant.to_owned(),
        agent_id: taken.agent_id.to_owned(),
        class: taken.class.to_owned(),
        incarnation: ticket.stamp.incarnation,
        sequence: ticket.stamp.sequence,
        observed: Some((&ticket.observation).into()),
        judged: verdict.health.as_str().to_owned(),
        score: verdict.score,
        hint_ms: verdict.interval_ms,
        policy: "steady@simulated".to_owned(),
        reason: "as simulated".to_owned(),
        stored_ms: decision.trace.stored_ms,
        effective_ms: decision.trace.effective_ms,
        sent_ms: decision.trace.sent_ms,
        bound: decision.trace.bound.as_str().to_owned(),
        ..HeartbeatRecord::default()
    }
}

/// Watches what is true.
struct Watch(Quality);

impl Observer for Watch {
    fn started(&mut self, now: Micros, agent: AgentIndex) {
        self.0.handle_up(now, agent);
    }

    fn ended(&mut self, now: Micros, agent: AgentIndex, graceful: bool) {
        if graceful { self.0.handle_left(now, agent) } else { self.0.handle_down(now, agent) }
    }

    fn changed(&mut self, now: Micros, change: Change) {
        self.0.handle_change(now, change);
    }
}

/// A run of the simulator: what is true of it, and how many heartbeats were accepted.
pub(crate) struct Run {
    pub(crate) truth: Measured,
    pub(crate) heartbeats: u64,
}

/// Runs a world under a policy, and replays another on what it records.
pub(crate) fn run(
    setting: &Setting,
    lasts: Micros,
    policies: &Policies,
    tried: Option<Candidate>,
) -> (Run, Option<Report>) {
    run_into(setting, lasts, policies, tried, None)
}

/// The same, and records into a journal as well.
pub(crate) fn run_into(
    setting: &Setting,
    lasts: Micros,
    policies: &Policies,
    tried: Option<Candidate>,
    journal: Option<Journal>,
) -> (Run, Option<Report>) {
    let core = Config::default();
    let options = GatewayOptions {
        seed: setting.seed,
        agents: setting.agents,
        policies: policies.clone(),
        core: core.clone(),
        ..GatewayOptions::default()
    };
    let mut gateway = Gateway::new(options).expect("the policies load");
    let replay = tried.map(|tried| {
        let hash_key = [setting.seed, 0];
        let options = Options { core, hash_key, ..Options::default() };
        Rc::new(RefCell::new(Replay::new(tried, options)))
    });
    let heartbeats = Rc::default();
    let tape = Tape {
        replay: replay.clone(),
        journal,
        heartbeats: Rc::clone(&heartbeats),
        bytes: Vec::new(),
    };
    gateway.record_to(tape);
    let watch = Watch(Quality::new(setting.agents as usize));
    let mut world = World::new(setting, gateway, watch);
    world.run_until(lasts);
    let World { server, observer, .. } = world;
    drop(server);
    let truth = observer.0.finish(lasts);
    let report = replay
        .map(|replay| Rc::try_unwrap(replay).expect("nobody else has it").into_inner().finish());
    let heartbeats = *heartbeats.borrow();
    (Run { truth, heartbeats }, report)
}

/// Records of agents that beat once in so many milliseconds, whatever they are told, in the order
/// of time. Each is paced at 30 s by a policy that says so; `change` says what differs.
pub(crate) fn made(
    agents: u64,
    beats: u64,
    every_ms: u64,
    mut change: impl FnMut(u64, u64, &mut HeartbeatRecord),
) -> Vec<HeartbeatRecord> {
    let mut records = Vec::new();
    for sequence in 1..=beats {
        for agent in 0..agents {
            let at_ms = 1_000 + (sequence - 1) * every_ms + agent;
            let first = if sequence == 1 { Signals::FIRST } else { Signals::DIRECTIVE_SEEN };
            let seen = Observation {
                now_ms: at_ms,
                signals: first,
                interval_ms: 30_000,
                ..Observation::default()
            };
            let mut record = HeartbeatRecord {
                at_ms,
                wall_ms: WALL_MS + at_ms,
                tenant: "default".to_owned(),
                agent_id: format!("agent-{agent}"),
                class: "normal".to_owned(),
                incarnation: 7,
                sequence,
                observed: Some((&seen).into()),
                judged: "healthy".to_owned(),
                hint_ms: 30_000.0,
                policy: "enforced@1".to_owned(),
                reason: "as made up".to_owned(),
                stored_ms: 30_000,
                effective_ms: 30_000,
                sent_ms: 30_000,
                bound: "none".to_owned(),
                ..HeartbeatRecord::default()
            };
            change(agent, sequence, &mut record);
            records.push(record);
        }
    }
    records
}

/// Replays records, and events between them by core time.
pub(crate) fn replay(
    candidate: Candidate,
    options: Options,
    records: &[HeartbeatRecord],
    events: &[Event],
) -> Report {
    let mut replay = Replay::new(candidate, options);
    let mut events = events.iter().peekable();
    for record in records {
        while let Some(event) = events.next_if(|event| event.at_ms <= record.at_ms) {
            replay.handle_event(event);
        }
        let bytes = record.encode_to_vec();
        replay.handle_heartbeat(&HeartbeatView::decode(&bytes).expect("it was written"));
    }
    events.for_each(|event| replay.handle_event(event));
    replay.finish()
}
