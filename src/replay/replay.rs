//! A replay under way: heartbeats and events go in, a report comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use pulsegate_core::cadence::class_floor_ms;
use pulsegate_core::{
    AgentKey, ClassId, Config, Observation, PartitionHasher, Signals, TenantId, builtin,
};
use pulsegate_journal::{CustomView, HeartbeatView, Observed};
use pulsegate_wire::{Event, EventKind, Health, Status};

use crate::agents::{Agents, Custom, Lane};
use crate::answers::{Answer, Ask, Asker, BATCH, FAULTS_MAX};
use crate::estimate::{self, Rules, Seen, Thing};
use crate::leases::Leases;
use crate::report::{self, Report};
use crate::{Candidate, exact};

/// Heartbeats that are worked on together. Source: benches/replay.rs; with fewer, agents of the
/// estimate fill no calls, and with more they leave the cache.
const WINDOW: usize = 1_024;
/// Things in a window beside heartbeats. Source: chosen; a mass failure has thousands.
const THINGS: usize = 4 * WINDOW;

/// Longest interval that any gateway directs, in milliseconds: a longer one in a record is not
/// believed. Source: the largest `cadence.max_ms`.
const INTERVAL_MAX_MS: u32 = 86_400_000;
/// Latest instant that is believed, in milliseconds. Source: the largest integer of the wire.
const INSTANT_MAX_MS: u64 = (1 << 53) - 1;

/// Which heartbeats are replayed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not before this instant of the wall clock, in Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Before this one.
    pub until_ms: Option<u64>,
    /// Of this class alone.
    pub class: Option<String>,
    /// Of this tenant alone.
    pub tenant: Option<String>,
}

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// Classes and cadence of the gateway, as they are to be: those of the recording, unless
    /// something else is to be tried as well.
    pub core: Config,
    /// Shortest distance of two early heartbeats, in milliseconds; 5,000, as `[directives]` has it.
    pub early_gap_ms: u32,
    /// Key of the hash of agents, from the journal's header: their jitter follows from it.
    pub hash_key: [u64; 2],
    /// Names of the tenants by index, `default` first.
    pub tenants: Vec<String>,
    /// Which heartbeats.
    pub filter: Filter,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            core: Config::default(),
            early_gap_ms: 5_000,
            hash_key: [0; 2],
            tenants: vec!["default".to_owned()],
            filter: Filter::default(),
        }
    }
}

/// What was met and what was left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// Wall times of the oldest and the newest record, whatever the flags say.
    pub(crate) records_ms: Option<(u64, u64)>,
    pub(crate) first_wall_ms: Option<u64>,
    pub(crate) last_wall_ms: u64,
    pub(crate) last_core_ms: u64,
    pub(crate) filtered: u64,
    pub(crate) damaged: u64,
    pub(crate) unseen: u64,
    pub(crate) beyond: u64,
    pub(crate) unknown_class: u64,
    pub(crate) unknown_lease: u64,
    /// Heartbeats by who paced them, as `name@revision`.
    pub(crate) enforced: BTreeMap<String, u64>,
    pub(crate) losses: Vec<String>,
}

/// Most enforced policies that are told apart. Source: chosen; a day of rollouts.
const ENFORCED_MAX: usize = 64;

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    pub(crate) candidate: Candidate,
    pub(crate) options: Options,
    rules: Rules,
    hasher: PartitionHasher,
    wanted: Vec<String>,
    keeps_memory: bool,
    pub(crate) agents: Agents,
    pub(crate) met: Met,
    floor_base_ms: u32,
    leases: Leases,
    lanes: Vec<Lane>,
    texts: String,
    /// What happened to whom, in order, and the next thing of the same agent.
    things: Vec<(u32, Thing, Option<u32>)>,
    pub(crate) exact: exact::Tally,
    pub(crate) estimate: estimate::Tally,
    /// Of the exact part, and of the estimate.
    pub(crate) askers: [Asker; 2],
    asks: Vec<Ask>,
    answers: Vec<Answer>,
}

impl Replay {
    /// A replay of nothing yet.
    #[must_use]
    pub fn new(candidate: Candidate, options: Options) -> Self {
        let rules = Rules {
            core: options.core.clone(),
            early_gap_ms: options.early_gap_ms.into(),
            judges: candidate.judges,
        };
        Self {
            rules,
            hasher: PartitionHasher::new(options.hash_key),
            wanted: candidate.wanted_metrics(),
            keeps_memory: candidate.keeps_memory(),
            agents: Agents::default(),
            met: Met::default(),
            floor_base_ms: 0,
            leases: Leases::default(),
            lanes: Vec::with_capacity(WINDOW),
            texts: String::new(),
            things: Vec::with_capacity(WINDOW),
            exact: exact::Tally::new(),
            estimate: estimate::Tally::new(),
            askers: [Asker::default(), Asker::default()],
            asks: Vec::with_capacity(WINDOW),
            answers: Vec::with_capacity(WINDOW),
            candidate,
            options,
        }
    }

    /// Whether the candidate has failed so often that more of it tells nothing.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.askers.iter().any(|asker| asker.all_faults() >= FAULTS_MAX)
    }

    /// Takes a recorded heartbeat; those of one agent come in their order.
    pub fn handle_heartbeat(&mut self, beat: &HeartbeatView<'_>) {
        let (oldest_ms, newest_ms) = self.met.records_ms.unwrap_or((u64::MAX, 0));
        self.met.records_ms = Some((oldest_ms.min(beat.wall_ms), newest_ms.max(beat.wall_ms)));
        let filter = &self.options.filter;
        let is_wanted = filter.since_ms.is_none_or(|since| beat.wall_ms >= since)
            && filter.until_ms.is_none_or(|until| beat.wall_ms < until)
            && filter.class.as_ref().is_none_or(|class| class == beat.class)
            && filter.tenant.as_ref().is_none_or(|tenant| tenant == beat.tenant);
        if !is_wanted {
            self.met.filtered += 1;
            return;
        }
        let Some(observed) = &beat.observed else {
            self.met.unseen += 1;
            return;
        };
        let (hasher, tenants) = (self.hasher, &self.options.tenants);
        let hash = || {
            let tenant = tenants.iter().position(|name| name == beat.tenant).unwrap_or(0);
            let AgentKey { hash, .. } = hasher.key(TenantId(tenant as u16), beat.agent_id);
            hash
        };
        let name = (beat.tenant, beat.agent_id);
        let Some(agent) = self.agents.meet(name, self.keeps_memory, hash) else {
            self.met.beyond += 1;
            return;
        };
        self.note(beat);
        let lane = self.lane(agent, beat, observed);
        let place = self.lanes.len() as u32;
        self.lanes.push(lane);
        self.push(agent, Thing::Beat(place));
        if self.lanes.len() == WINDOW {
            self.work();
        }
    }

    /// Takes a heartbeat that cannot be read.
    pub fn handle_damaged(&mut self) {
        self.met.damaged += 1;
    }

    /// Takes something that is lost, in a sentence.
    pub fn handle_loss(&mut self, loss: String) {
        self.met.losses.push(loss);
    }

    /// Takes an event; in the order of core time with the heartbeats, as far as that is known.
    pub fn handle_event(&mut self, event: &Event) {
        match &event.kind {
            Some(EventKind::FloorMoved(moved)) => self.floor_base_ms = moved.base_ms,
            Some(EventKind::LeaseGranted(granted)) => {
                let ttl_ms = u32::try_from(granted.ttl_ms).unwrap_or(u32::MAX);
                self.leases.grant(&event.tenant, &granted.name, &granted.holder, ttl_ms);
            }
            Some(EventKind::LeaseEnded(ended)) => self.leases.end(&event.tenant, &ended.name),
            Some(EventKind::Suspected(silent)) => {
                let granted_ms = u64::from(silent.in_force_ms) + u64::from(silent.grace_ms);
                let last_receipt_ms = silent.last_receipt_ms.min(INSTANT_MAX_MS);
                let deadline_ms = last_receipt_ms + granted_ms;
                self.befall(event, Thing::Suspected { last_receipt_ms, deadline_ms });
            }
            Some(EventKind::Forgotten(_)) => self.befall(event, Thing::Gone),
            _ => {}
        }
    }

    fn befall(&mut self, event: &Event, thing: Thing) {
        if self.options.filter.until_ms.is_some_and(|until| event.wall_ms >= until) {
            return;
        }
        if let Some(agent) = self.agents.find(&event.tenant, &event.agent_id) {
            self.push(agent, thing);
            if self.things.len() >= THINGS {
                self.work();
            }
        }
    }

    fn push(&mut self, agent: u32, thing: Thing) {
        let place = self.things.len() as u32;
        self.things.push((agent, thing, None));
        let ends = &mut self.agents.list[agent as usize].things;
        match ends {
            Some((_, last)) => {
                self.things[*last as usize].2 = Some(place);
                *last = place;
            }
            None => *ends = Some((place, place)),
        }
    }

    /// Notes when the records begin and end, and who paced.
    fn note(&mut self, beat: &HeartbeatView<'_>) {
        let met = &mut self.met;
        met.first_wall_ms.get_or_insert(beat.wall_ms);
        met.last_wall_ms = met.last_wall_ms.max(beat.wall_ms);
        met.last_core_ms = met.last_core_ms.max(beat.at_ms.min(INSTANT_MAX_MS));
        if let Some(count) = met.enforced.get_mut(beat.policy) {
            *count += 1;
        } else if met.enforced.len() < ENFORCED_MAX {
            met.enforced.insert(beat.policy.to_owned(), 1);
        }
    }

    fn lane(&mut self, agent: u32, beat: &HeartbeatView<'_>, observed: &Observed) -> Lane {
        let core = &self.options.core;
        let class = core.classes.find(beat.class).unwrap_or_else(|| {
            self.met.unknown_class += 1;
            core.classes.normal()
        });
        let of_class = &core.classes[class];
        let seen = observation(observed);
        let mut lease_ms = None;
        if seen.signals.has(Signals::HOLDS_LEASE) {
            lease_ms = self.leases.smallest_ms(beat.tenant, beat.agent_id);
            self.met.unknown_lease += u64::from(lease_ms.is_none());
        }
        let cap_ms = core.cadence.cap_ms(of_class.cap_ms(), lease_ms);
        if beat.bound == "floor" && of_class.floor_weight > 0 && beat.effective_ms < cap_ms {
            // Where the floor stood before the events that are left begin, a record tells.
            self.floor_base_ms = beat.effective_ms / of_class.floor_weight;
        }
        let floor_ms = class_floor_ms(self.floor_base_ms, of_class.floor_weight);
        let texts = [beat.policy, beat.reason].map(|text| {
            let from = self.texts.len() as u32;
            self.texts.push_str(text);
            (from, self.texts.len() as u32)
        });
        Lane {
            agent,
            class,
            wall_ms: beat.wall_ms,
            incarnation: beat.incarnation,
            sequence: beat.sequence,
            seen,
            custom: self.custom(beat.custom),
            judged: health(beat.judged),
            hint_ms: beat.hint_ms,
            stored_ms: beat.stored_ms.min(INTERVAL_MAX_MS),
            effective_ms: beat.effective_ms.min(INTERVAL_MAX_MS),
            sent_ms: beat.sent_ms.min(INTERVAL_MAX_MS),
            cap_ms,
            floor_ms,
            texts,
        }
    }

    fn custom(&self, told: CustomView<'_>) -> Custom {
        if self.wanted.is_empty() || told.is_empty() {
            return None;
        }
        let is_wanted = |name: &str| self.wanted.iter().any(|wanted| wanted == name);
        let wanted = told.iter().filter(|(name, _)| is_wanted(name));
        let values: BTreeMap<String, f64> =
            wanted.map(|(name, value)| (name.to_owned(), value)).collect();
        (!values.is_empty()).then(|| Arc::new(values))
    }

    /// Both parts, for what the window holds.
    fn work(&mut self) {
        self.work_exact();
        self.work_estimate();
        self.lanes.clear();
        self.texts.clear();
        self.things.clear();
    }

    fn work_exact(&mut self) {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut first = 0;
        while first < lanes.len() {
            let end = self.round_end(&lanes, first);
            self.asks.clear();
            self.asks.extend(lanes[first..end].iter().map(|lane| {
                let judges = self.candidate.judges;
                let health = if judges { lane.seen.health } else { lane.judged };
                Ask {
                    agent: lane.agent,
                    class: lane.class,
                    seen: Observation { health, ..lane.seen },
                    custom: lane.custom.clone(),
                }
            }));
            self.answers.clear();
            let kept = &mut self.agents.memories[0];
            self.askers[0].ask(&self.candidate, &self.asks, kept, &mut self.answers);
            for (lane, answer) in lanes[first..end].iter().zip(&self.answers) {
                let class = &self.options.core.classes[lane.class];
                let cadence = &self.options.core.cadence;
                let cap_ms = cadence.cap_ms(class.cap_ms(), None);
                let default_ms = class.interval_ms.clamp(cadence.min_ms, cap_ms);
                let fixed = (cadence, default_ms, class.suspect_grace_ms);
                let agent = &mut self.agents.list[lane.agent as usize].exact;
                self.exact.compare(agent, lane, answer, &self.texts, fixed);
            }
            first = end;
        }
        std::mem::swap(&mut self.lanes, &mut lanes);
    }

    /// Where a batch that begins here must end: where memory is kept, before the next heartbeat of
    /// an agent that is in it.
    fn round_end(&self, lanes: &[Lane], first: usize) -> usize {
        let end = lanes.len().min(first + BATCH);
        if !self.keeps_memory {
            return end;
        }
        let mut agents = std::collections::HashSet::with_capacity(BATCH);
        let again = lanes[first..end].iter().position(|lane| !agents.insert(lane.agent));
        again.map_or(end, |again| first + again)
    }

    /// Every agent goes on until it needs a verdict; those that do are asked about together.
    fn work_estimate(&mut self) {
        let mut active: Vec<u32> = Vec::with_capacity(self.things.len());
        for &(agent, ..) in &self.things {
            if let Some((first, _)) = self.agents.list[agent as usize].things.take() {
                active.push(first);
            }
        }
        while !active.is_empty() {
            self.asks.clear();
            active.retain_mut(|place| self.advance(place));
            self.answers.clear();
            let kept = &mut self.agents.memories[1];
            self.askers[1].ask(&self.candidate, &self.asks, kept, &mut self.answers);
            for ((ask, answer), place) in self.asks.iter().zip(&self.answers).zip(&active) {
                let at_ms = ask.seen.now_ms;
                let lane = match self.things[*place as usize].1 {
                    Thing::Beat(lane) => Some(&self.lanes[lane as usize]),
                    _ => None,
                };
                let lane = lane.filter(|lane| lane.seen.now_ms == at_ms);
                let agent = &mut self.agents.list[ask.agent as usize].run;
                agent.decide(at_ms, answer, lane, &self.rules, &mut self.estimate);
            }
        }
    }

    /// Lets the agent of this thing go on, to further things of its own where they need nothing.
    /// Whether it needs a verdict.
    fn advance(&mut self, place: &mut u32) -> bool {
        loop {
            let (agent, thing, next) = self.things[*place as usize];
            let known = &mut self.agents.list[agent as usize];
            if let Thing::Gone = thing {
                known.exact.forget();
            }
            let class = match thing {
                Thing::Beat(lane) => self.lanes[lane as usize].class,
                _ => ClassId::default(),
            };
            let early = self.candidate.early(class);
            let (rules, tally) = (&self.rules, &mut self.estimate);
            if let Some(seen) = known.run.advance(thing, &self.lanes, early, rules, tally) {
                let Seen { class, observation, custom } = seen;
                self.asks.push(Ask { agent, class, seen: observation, custom });
                return true;
            }
            match next {
                Some(next) => *place = next,
                None => return false,
            }
        }
    }

    /// Ends it.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.work();
        let end = Thing::End(self.met.last_core_ms);
        for agent in 0..self.agents.list.len() as u32 {
            self.push(agent, end);
            if self.things.len() >= THINGS {
                self.work();
            }
        }
        self.work();
        report::of(&self)
    }

    /// The reason that a policy of the candidate's set gave.
    pub(crate) fn reason(&self, source: pulsegate_core::VerdictSource) -> (String, String) {
        let text = self.candidate.set.text(source);
        let at = if text.policy == builtin::NAME { "" } else { "@" };
        (format!("{}{at}{}", text.policy, text.revision), text.reason.to_owned())
    }
}

/// An observation as it was recorded.
fn observation(seen: &Observed) -> Observation {
    Observation {
        now_ms: seen.now_ms.min(INSTANT_MAX_MS),
        status: Status::from_number(seen.status),
        health: Health::from_number(seen.health),
        signals: Signals(seen.signals),
        interval_ms: seen.interval_ms,
        lateness_ms: seen.lateness_ms,
        missed: seen.missed,
        queue_depth: seen.queue_depth,
        queue_trend: seen.queue_trend,
        active_tasks: seen.active_tasks,
        cpu_percent: seen.cpu_percent,
        memory_bytes: seen.memory_bytes,
        errors: seen.errors,
        latency_ms: seen.latency_ms,
        progress_age_ms: seen.progress_age_ms,
        fleet_load: seen.fleet_load,
    }
}

/// The health of a word; one that is not known is healthy, which is what an empty one stands for.
fn health(word: &str) -> Health {
    Health::ALL.iter().copied().find(|health| health.as_str() == word).unwrap_or_default()
}
