//! Recomputing from what was recorded that the gateway kept its promises.
//!
//! It trusts nothing but the records: that no agent was suspected or failed before its silence was
//! due, and no silence counted that nobody could observe; that states moved along the edges of the
//! design only; that numbers, epochs and fencing tokens grew, and a lease had one holder at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pulsegate_core::{PartitionHasher, TenantId, restart_spread_ms};
use pulsegate_wire::event::{LeaseEnded, LeaseGranted, Silent};
use pulsegate_wire::{Event, EventKind, State};

use super::Offline;
use crate::ReplayError;

/// Most findings that are listed; all are counted. Source: chosen; nobody reads more.
const LISTED: usize = 1_000;
/// Tenant of a gateway without credentials, whose agents' hashes are known here.
const DEFAULT_TENANT: &str = "default";

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Event that shows it; 0 when it is about none.
    pub seq: u64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Events looked at.
    pub events: u64,
    /// Silences recomputed: events `suspected` and `failed`.
    pub silences: u64,
    /// Of those, agents whose heartbeats were recorded, so that the last receipt was checked too.
    pub silences_with_heartbeats: u64,
    /// Moves from one state to another.
    pub moves: u64,
    /// Grants of leases.
    pub grants: u64,
    /// What must not be, oldest first; the first 1,000.
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub count: u64,
    /// What could not be checked, in sentences.
    pub unchecked: Vec<String>,
}

/// Verifies a journal: every event that is there, and the checksum of every page.
///
/// # Errors
/// When the store cannot be read on.
pub fn verify(journal: &mut Offline) -> Result<Verdict, ReplayError> {
    let mut found = Vec::new();
    let pages = journal.check_pages();
    match pages {
        Ok(true) => {}
        Ok(false) => found.push("pages of the file fail their checksums".to_owned()),
        Err(error) => found.push(error.to_string()),
    }
    let header = journal.header();
    let mut verifier = Verifier::new(header.hash_key, header.oldest_seq);
    journal.heartbeats(|_, beat| {
        let key = (beat.tenant, beat.agent_id);
        verifier.heard.entry(key).or_default().insert(beat.at_ms);
        true
    })?;
    let mut lost = Vec::new();
    journal.events(|event| verifier.event(&event), |loss| lost.push(loss))?;
    found.append(&mut lost);
    for what in found {
        verifier.find(0, what);
    }
    Ok(verifier.verdict(header.oldest_seq))
}

/// Verifies events that are there already, under this key of the journal.
pub(crate) fn verify_events(hash_key: [u64; 2], events: &[Event]) -> Verdict {
    let oldest_seq = events.first().map_or(1, |event| event.seq);
    let mut verifier = Verifier::new(hash_key, oldest_seq);
    events.iter().for_each(|event| verifier.event(event));
    verifier.verdict(oldest_seq)
}

/// What is known of an agent from its events.
#[derive(Clone, Copy, Default)]
struct Known {
    /// `None` while nothing tells it.
    state: Option<State>,
    incarnation: u64,
    in_force_ms: u32,
    at_ms: u64,
    /// An event of this start told that it was heard.
    is_heard: bool,
}

struct Verifier {
    verdict: Verdict,
    hasher: PartitionHasher,
    next_seq: u64,
    epoch: u32,
    /// Core time of the last start; 0 while none is known.
    started_ms: u64,
    agents: HashMap<(String, String), Known>,
    heard: HashMap<(String, String), BTreeSet<u64>>,
    leases: BTreeMap<(String, String), Lease>,
    unknown_before: u64,
    unknown_spread: u64,
    without_heartbeats: u64,
    unknown_kinds: u64,
    read_only_ms: u64,
    gaps: u64,
}

/// A lease as its events tell it.
struct Lease {
    token: u64,
    holder: Option<String>,
}

impl Verifier {
    fn new(hash_key: [u64; 2], next_seq: u64) -> Self {
        Self {
            verdict: Verdict::default(),
            hasher: PartitionHasher::new(hash_key),
            next_seq,
            epoch: 0,
            started_ms: 0,
            agents: HashMap::new(),
            heard: HashMap::new(),
            leases: BTreeMap::new(),
            unknown_before: 0,
            unknown_spread: 0,
            without_heartbeats: 0,
            unknown_kinds: 0,
            read_only_ms: 0,
            gaps: 0,
        }
    }

    fn find(&mut self, seq: u64, what: String) {
        self.verdict.count += 1;
        if self.verdict.findings.len() < LISTED {
            self.verdict.findings.push(Finding { seq, what });
        }
    }

    fn event(&mut self, event: &Event) {
        self.verdict.events += 1;
        if event.seq != self.next_seq {
            // What is missing is told by whoever reads; here it ends what is known.
            self.gaps += 1;
            self.agents.values_mut().for_each(|known| known.state = None);
            self.leases.clear();
        }
        self.next_seq = event.seq.saturating_add(1);
        if event.epoch < self.epoch {
            let what = format!("epoch {} after epoch {}", event.epoch, self.epoch);
            self.find(event.seq, what);
        }
        self.epoch = self.epoch.max(event.epoch);
        match &event.kind {
            None => self.unknown_kinds += 1,
            Some(EventKind::GatewayStarted(_)) => {
                self.started_ms = event.at_ms;
                self.agents.values_mut().for_each(|known| known.is_heard = false);
            }
            Some(EventKind::ReadOnly(told)) => {
                // States moved meanwhile, and nothing was recorded.
                self.read_only_ms = self.read_only_ms.saturating_add(told.lasted_ms);
                self.agents.values_mut().for_each(|known| known.state = None);
            }
            Some(EventKind::LeaseGranted(lease)) => self.granted(event, lease),
            Some(EventKind::LeaseEnded(lease)) => self.ended(event, lease),
            Some(_) => {}
        }
        if !event.agent_id.is_empty() {
            self.agent_event(event);
        }
    }

    fn agent_event(&mut self, event: &Event) {
        let key = (event.tenant.clone(), event.agent_id.clone());
        let known = self.agents.get(&key).copied();
        let before = known.unwrap_or_default();
        if event.at_ms < before.at_ms {
            let what = format!("time of {} goes back, from {} ms", name(event), before.at_ms);
            self.find(event.seq, what);
        }
        if let Some(EventKind::Suspected(silent) | EventKind::Failed(silent)) = &event.kind {
            self.silence(event, silent, &before);
        }
        if let Some(EventKind::Forgotten(told)) = &event.kind {
            let from = State::from_number(told.from);
            self.moved(event, &before, from, None);
            self.agents.remove(&key);
            return;
        }
        let Some(standing) = &event.standing else {
            self.find(event.seq, format!("it does not say how {} stands", name(event)));
            return;
        };
        let state = State::from_number(standing.state);
        let told_from = match &event.kind {
            Some(EventKind::Recovered(told)) => State::from_number(told.from),
            _ => before.state.unwrap_or(state),
        };
        if matches!(event.kind, Some(EventKind::Registered(_))) && before.state.is_some() {
            self.find(event.seq, format!("{} is registered twice", name(event)));
        } else if !matches!(event.kind, Some(EventKind::Registered(_))) {
            let is_newer = standing.incarnation > before.incarnation;
            self.moved(event, &before, told_from, Some((state, is_newer)));
        }
        if standing.incarnation < before.incarnation {
            let what = format!("the incarnation of {} goes back", name(event));
            self.find(event.seq, what);
        }
        if before.state.is_none() && !matches!(event.kind, Some(EventKind::Registered(_))) {
            self.unknown_before += 1;
        }
        let is_silence = matches!(event.kind, Some(EventKind::Suspected(_) | EventKind::Failed(_)));
        let now = Known {
            state: Some(state),
            incarnation: standing.incarnation,
            in_force_ms: standing.in_force_ms,
            at_ms: event.at_ms,
            is_heard: if is_silence { before.is_heard } else { is_life(event) || before.is_heard },
        };
        self.agents.insert(key, now);
    }

    /// Checks a move of the state; `to` is `None` for being forgotten.
    fn moved(
        &mut self,
        event: &Event,
        before: &Known,
        told_from: State,
        to: Option<(State, bool)>,
    ) {
        let from = before.state.unwrap_or(told_from);
        if from != told_from {
            let what = format!(
                "{} comes from {}, and its last event left it {}",
                name(event),
                told_from.as_str(),
                from.as_str()
            );
            self.find(event.seq, what);
        }
        let Some((to, is_newer)) = to else {
            if !matches!(from, State::Failed | State::Stopped) {
                self.find(
                    event.seq,
                    format!("{} is forgotten while {}", name(event), from.as_str()),
                );
            }
            return;
        };
        if from == to {
            return;
        }
        self.verdict.moves += 1;
        let is_allowed = match (from, to) {
            (State::New, State::Alive | State::Failed)
            | (State::Alive, State::Suspect)
            | (State::Suspect, State::Alive | State::Failed)
            | (State::Failed, State::Alive)
            | (_, State::Stopped) => true,
            (State::Stopped, State::Alive) => is_newer,
            _ => false,
        };
        if !is_allowed {
            let what = format!("{} moves from {} to {}", name(event), from.as_str(), to.as_str());
            self.find(event.seq, what);
        }
    }

    /// Recomputes a silence.
    fn silence(&mut self, event: &Event, silent: &Silent, before: &Known) {
        self.verdict.silences += 1;
        // A record may say anything; what is beyond all time is never due.
        let due_ms = silent
            .last_receipt_ms
            .saturating_add(u64::from(silent.in_force_ms) + u64::from(silent.grace_ms));
        if event.at_ms < due_ms {
            let early = due_ms - event.at_ms;
            self.find(event.seq, format!("{} is {} {early} ms early", name(event), verb(event)));
        }
        let was_new = before.state == Some(State::New) || silent.in_force_ms == 0;
        if !was_new && before.in_force_ms > silent.in_force_ms {
            let what = format!(
                "{} is {} by an interval of {} ms, and {} ms are in force",
                name(event),
                verb(event),
                silent.in_force_ms,
                before.in_force_ms
            );
            self.find(event.seq, what);
        }
        if silent.last_receipt_ms < self.started_ms {
            let what = format!(
                "{} is {} by a silence since {} ms, before the start at {} ms",
                name(event),
                verb(event),
                silent.last_receipt_ms,
                self.started_ms
            );
            self.find(event.seq, what);
        } else if self.started_ms > 0 && !before.is_heard {
            self.spread(event, silent, before);
        }
        self.receipts(event, silent);
    }

    /// A silence over a restart counts from the start and a spread. Whoever was heard after it
    /// cannot be told from whoever was not, but where the spread fits exactly.
    fn spread(&mut self, event: &Event, silent: &Silent, before: &Known) {
        if event.tenant != DEFAULT_TENANT {
            self.unknown_spread += 1;
            return;
        }
        let hash = self.hasher.key(TenantId(0), &event.agent_id).hash;
        let in_force_ms = silent.in_force_ms.max(before.in_force_ms);
        let spread_ms = u64::from(restart_spread_ms(hash, in_force_ms));
        if silent.last_receipt_ms < self.started_ms.saturating_add(spread_ms) {
            self.unknown_spread += 1;
        }
    }

    /// No heartbeat lies between the last receipt and the event.
    fn receipts(&mut self, event: &Event, silent: &Silent) {
        let key = (event.tenant.clone(), event.agent_id.clone());
        let Some(heard) = self.heard.get(&key) else {
            self.without_heartbeats += 1;
            return;
        };
        self.verdict.silences_with_heartbeats += 1;
        // Within the millisecond of the event the order is not known.
        let after_ms = silent.last_receipt_ms.saturating_add(1);
        let between = after_ms..event.at_ms.max(after_ms);
        if let Some(at_ms) = heard.range(between).next() {
            let what = format!(
                "{} is {} by a silence since {} ms, and was heard at {at_ms} ms",
                name(event),
                verb(event),
                silent.last_receipt_ms
            );
            self.find(event.seq, what);
        }
    }

    fn granted(&mut self, event: &Event, lease: &LeaseGranted) {
        self.verdict.grants += 1;
        let key = (event.tenant.clone(), lease.name.clone());
        let mut wrong = Vec::new();
        if let Some(before) = self.leases.get(&key) {
            let is_same = before.holder.as_deref() == Some(&lease.holder);
            match &before.holder {
                Some(holder) if !is_same => {
                    wrong.push(format!("goes to {}, and {holder} holds it", lease.holder));
                }
                _ => {}
            }
            let is_renewed = is_same && before.token == lease.token;
            if lease.token <= before.token && !is_renewed {
                wrong.push(format!("token {} after token {}", lease.token, before.token));
            }
        }
        if lease.token >> 32 > u64::from(event.epoch) {
            wrong.push(format!("token {} is of a later epoch than {}", lease.token, event.epoch));
        }
        for what in wrong {
            self.find(event.seq, format!("lease {}/{}: {what}", event.tenant, lease.name));
        }
        let now = Lease { token: lease.token, holder: Some(lease.holder.clone()) };
        self.leases.insert(key, now);
    }

    fn ended(&mut self, event: &Event, lease: &LeaseEnded) {
        let key = (event.tenant.clone(), lease.name.clone());
        let before = self.leases.get(&key);
        let is_other = before.is_some_and(|before| before.token != lease.token);
        if is_other {
            let what = format!("lease {}/{}: ends with another token", event.tenant, lease.name);
            self.find(event.seq, what);
        }
        self.leases.insert(key, Lease { token: lease.token, holder: None });
    }

    fn verdict(mut self, oldest_seq: u64) -> Verdict {
        let unchecked = &mut self.verdict.unchecked;
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                unchecked.push(format!("{count} {what}"));
            }
        };
        say(
            self.without_heartbeats,
            "silences: the last receipt is the gateway's word, because the agent's heartbeats are \
             not recorded",
        );
        say(
            self.unknown_spread,
            "silences over a restart: whether the agent was heard after it, or whether its spread \
             was kept",
        );
        say(
            self.unknown_before,
            "events: the state before, because it was not recorded or is no longer there",
        );
        say(self.read_only_ms, "ms in which nothing could be written");
        say(self.gaps, "gaps: what happened in them");
        say(self.unknown_kinds, "events of kinds that this version does not know");
        say(oldest_seq.saturating_sub(1), "older events, which retention removed");
        self.verdict
    }
}

/// Whether an event tells that the agent was heard.
fn is_life(event: &Event) -> bool {
    matches!(
        event.kind,
        Some(
            EventKind::Registered(_)
                | EventKind::Heard(_)
                | EventKind::Restarted(_)
                | EventKind::Recovered(_)
                | EventKind::HealthChanged(_)
                | EventKind::CadenceMoved(_)
                | EventKind::InForce(_)
                | EventKind::Leaving(_)
        )
    )
}

fn name(event: &Event) -> String {
    format!("{}/{}", event.tenant, event.agent_id)
}

fn verb(event: &Event) -> &'static str {
    event.kind.as_ref().map_or("", EventKind::as_str)
}

#[cfg(test)]
mod tests;
