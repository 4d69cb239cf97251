//! Every metric, once: name, kind, unit, labels and what it tells.

use pulsegate_core::cadence::Bound;
use pulsegate_wire::{Code, Health, State};

/// Upper bounds of handling times, in nanoseconds: 10 µs to 1 s.
const HANDLING: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
];
/// Upper bounds of policy calls, in nanoseconds: 100 ns to 10 ms.
const CALLS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 3_000_000, 10_000_000,
];
/// Upper bounds of intervals, in nanoseconds: 1 s to 5 min, with the defaults of all classes.
const INTERVALS: &[u64] = &[
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    15_000_000_000,
    20_000_000_000,
    30_000_000_000,
    45_000_000_000,
    60_000_000_000,
    90_000_000_000,
    120_000_000_000,
    180_000_000_000,
    300_000_000_000,
];
/// Upper bounds of how late silence was noticed, in nanoseconds: 1 ms to 1 min.
const LAGS: &[u64] = &[
    1_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
    60_000_000_000,
];

/// Most policies that have metrics of their own; further ones share `other`.
pub(super) const POLICIES: usize = 64;
/// Most executors that have metrics of their own; further ones share `other`.
pub(super) const EXECUTORS: usize = 64;

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises.
    Counter,
    /// A figure of the moment, taken when it is scraped.
    Gauge,
    /// A rising figure of the moment, taken when it is scraped.
    CounterAtScrape,
    /// Counts by upper bounds, given in nanoseconds and shown in seconds.
    Histogram(&'static [u64]),
}

/// A label and its closed set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// These words.
    Words(&'static str, &'static [&'static str]),
    /// The configured classes.
    Class,
    /// The policies in use, by name.
    Policy,
    /// The configured executors, by id.
    Executor,
    /// Version of this build.
    Version,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [Label],
}

impl Label {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Words(name, _) => name,
            Self::Class => "class",
            Self::Policy => "policy",
            Self::Executor => "executor",
            Self::Version => "version",
        }
    }

    /// Most values.
    pub(super) const fn size(&self) -> usize {
        match self {
            Self::Words(_, words) => words.len(),
            Self::Class => pulsegate_core::Classes::MAX,
            Self::Policy => POLICIES + 1,
            Self::Executor => EXECUTORS + 1,
            Self::Version => 1,
        }
    }
}

impl Family {
    /// Numbers kept for one combination of labels.
    pub(super) const fn width(&self) -> usize {
        match self.kind {
            Kind::Counter => 1,
            Kind::Gauge | Kind::CounterAtScrape => 0,
            // The bounds, what lies above them, and the sum.
            Kind::Histogram(bounds) => bounds.len() + 2,
        }
    }

    /// Combinations of labels.
    pub(super) const fn combinations(&self) -> usize {
        let mut product = 1;
        let mut index = 0;
        while index < self.labels.len() {
            product *= self.labels[index].size();
            index += 1;
        }
        product
    }
}

/// What the manual says about a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Names of its labels.
    pub labels: Vec<&'static str>,
    /// What it tells.
    pub help: &'static str,
}

/// Every metric, in the order of a scrape.
pub fn describe() -> impl Iterator<Item = Described> {
    FAMILIES.iter().map(|family| Described {
        name: family.name,
        labels: family.labels.iter().map(Label::name).collect(),
        help: family.help,
    })
}

macro_rules! catalogue {
    ($($id:ident = $name:literal, $kind:expr, [$($label:expr),*], $help:literal;)+) => {
        /// Index of a metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($id,)+ }

        /// Every metric, in the order of [`Id`].
        pub(super) const FAMILIES: &[Family] = &[$(
            Family { name: $name, help: $help, kind: $kind, labels: &[$($label),*] },
        )+];
    };
}

const STATES: Label = Label::Words("state", State::WORDS);
const HEALTHS: Label = Label::Words("health", Health::WORDS);
const TRANSPORTS: Label = Label::Words("transport", super::Transport::WORDS);
const OUTCOMES: Label = Label::Words("outcome", super::BeatOutcome::WORDS);
const SILENT: Label = Label::Words("state", &["suspect", "failed"]);

/// The words of every code, in its order.
const CODES: &[&str] = &{
    let mut words = [""; Code::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = Code::ALL[index].as_str();
        index += 1;
    }
    words
};

/// The words of every bound, in its order.
const BOUNDS: &[&str] = &{
    let mut words = [""; Bound::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = Bound::ALL[index].as_str();
        index += 1;
    }
    words
};

catalogue! {
    Heartbeats = "pulsegate_heartbeats_total", Kind::Counter, [TRANSPORTS, OUTCOMES],
        "Heartbeats by what became of them.";
    Handling = "pulsegate_heartbeat_handling_seconds", Kind::Histogram(HANDLING), [],
        "Time from the whole request being read to its answer being ready.";
    Problems = "pulsegate_problems_total", Kind::Counter, [Label::Words("code", CODES)],
        "Answers that were a problem document, by code.";
    Limited = "pulsegate_rate_limited_total", Kind::Counter,
        [Label::Words("source", super::LimitedSource::WORDS)],
        "Heartbeats over a quota: of a known agent, or of an address that sends unknown ones.";
    Shed = "pulsegate_shed_total", Kind::Counter,
        [Label::Words("reason", super::ShedReason::WORDS)],
        "Requests and connections that were turned away to keep the rest fast.";
    Directives = "pulsegate_directives_total", Kind::Counter, [Label::Words("bound", BOUNDS)],
        "Directives by the guard that had the last word on the interval.";
    Interval = "pulsegate_directive_interval_seconds", Kind::Histogram(INTERVALS), [],
        "Intervals sent, after jitter.";
    Moves = "pulsegate_cadence_moves_total", Kind::Counter,
        [Label::Words("direction", &["tightened", "relaxed"])],
        "Moves of stored intervals.";
    Turns = "pulsegate_cadence_turns_total", Kind::Counter, [],
        "Moves of a stored interval against the direction of the one before.";
    PolicyCalls = "pulsegate_policy_calls_total", Kind::Counter, [Label::Policy],
        "Calls of policies.";
    PolicyFaults = "pulsegate_policy_faults_total", Kind::Counter,
        [Label::Policy, Label::Words("fault", super::FAULTS)],
        "Calls that went wrong and were answered by the built-in policy, timeouts among them.";
    PolicySeconds = "pulsegate_policy_call_seconds", Kind::Histogram(CALLS), [Label::Policy],
        "Duration of policy calls, of one call in sixteen.";
    PolicyLogs = "pulsegate_policy_log_lines_total", Kind::Counter, [Label::Policy],
        "Lines that policies wrote to the log.";
    CanaryCalls = "pulsegate_policy_canary_calls_total", Kind::Counter, [Label::Policy],
        "Calls of policies by agents that a revision is on trial for as a canary; among all calls.";
    CanaryFaults = "pulsegate_policy_canary_faults_total", Kind::Counter, [Label::Policy],
        "Those of them that went wrong.";
    Shadows = "pulsegate_policy_shadow_total", Kind::Counter,
        [Label::Policy, Label::Words("result", super::Shadow::WORDS)],
        "Heartbeats and plans by how what a policy in shadow said compares with what was enforced.";
    ShadowIntervals = "pulsegate_policy_shadow_intervals_total", Kind::Counter,
        [Label::Policy, Label::Words("difference", super::DIFFERENCES)],
        "Intervals proposed in shadow, within the promise of the class, beside what was enforced.";
    PolicySwaps = "pulsegate_policy_swaps_total", Kind::Counter, [],
        "Times that another set of policies took over, all at once.";
    PolicyReturns = "pulsegate_policy_returns_total", Kind::Counter,
        [Label::Policy, Label::Words("from", super::Returned::WORDS)],
        "Revisions whose breaker opened and that were taken back by the gateway itself.";
    Agents = "pulsegate_agents", Kind::Gauge, [Label::Class, STATES, HEALTHS],
        "Agents known.";
    Transitions = "pulsegate_agent_transitions_total", Kind::Counter,
        [Label::Class, Label::Words("to", super::TRANSITIONS)],
        "Changes of state, by the state entered.";
    HealthChanges = "pulsegate_agent_health_changes_total", Kind::Counter,
        [Label::Class, Label::Words("to", Health::WORDS)],
        "Changes of health, by the health judged.";
    Missed = "pulsegate_heartbeat_missed_total", Kind::Counter, [Label::Class],
        "Heartbeats that were due and did not come, counted at suspect, at failed and at return.";
    Detection = "pulsegate_detection_seconds", Kind::Histogram(INTERVALS), [SILENT],
        "Time from a heartbeat being due to its agent being suspect or failed.";
    DetectionLag = "pulsegate_detection_lag_seconds", Kind::Histogram(LAGS), [SILENT],
        "Time from a deadline passing to it being handled.";
    Probes = "pulsegate_probes_total", Kind::Counter,
        [Label::Words("outcome", super::ProbeOutcome::WORDS)],
        "Probes of silent agents by what they found; skipped ones could not tell.";
    Incidents = "pulsegate_incidents_opened_total", Kind::Counter,
        [Label::Words("kind", &["silence", "health"])],
        "Incidents opened.";
    IncidentsClosed = "pulsegate_incidents_closed_total", Kind::Counter,
        [Label::Words("result", &["recovered", "ended"])],
        "Incidents closed: the agent beats well again, or the plan came to its end.";
    ActionsStarted = "pulsegate_actions_started_total", Kind::Counter, [Label::Executor],
        "Recovery actions started.";
    ActionsEnded = "pulsegate_actions_ended_total", Kind::Counter,
        [Label::Executor, Label::Words("outcome", super::ACTION_OUTCOMES)],
        "Recovery actions that came to their end.";
    ActionsOpen = "pulsegate_actions_open", Kind::Gauge, [],
        "Recovery actions whose program runs.";
    ActionsQueued = "pulsegate_actions_queued", Kind::Gauge, [],
        "Recovery actions whose program waits for its turn.";
    CommandsQueued = "pulsegate_commands_queued_total", Kind::Counter, [],
        "Commands queued for agents.";
    CommandsEnded = "pulsegate_commands_ended_total", Kind::Counter,
        [Label::Words("outcome", &["done", "failed", "unsupported", "dropped"])],
        "Commands by what agents answered; dropped ones were never answered.";
    FleetLoad = "pulsegate_fleet_load_ratio", Kind::Gauge, [],
        "Heartbeats that the fleet is expected to send, as a share of the budget.";
    FloorBase = "pulsegate_fleet_floor_seconds", Kind::Gauge, [],
        "Shortest interval of a class of weight 1 that keeps the budget; 0 when there is room.";
    PromiseConflict = "pulsegate_promise_conflict", Kind::Gauge, [],
        "1 while some class would need a longer interval than its promise allows.";
    Connections = "pulsegate_connections", Kind::Gauge, [],
        "Connections open.";
    Handshakes = "pulsegate_quic_handshakes_total", Kind::Counter,
        [Label::Words("result", super::Handshake::WORDS)],
        "Connections that wanted to be opened over QUIC.";
    Pushes = "pulsegate_pushes_total", Kind::Counter,
        [Label::Words("result", super::Pushed::WORDS)],
        "Commands and calls to beat that were sent without waiting for the next heartbeat.";
    InFlight = "pulsegate_requests_in_flight", Kind::Gauge, [],
        "Heartbeat requests whose body is still on its way.";
    EventsQueued = "pulsegate_events_queued", Kind::Gauge, [],
        "Events that the slowest subscriber has yet to read.";
    Held = "pulsegate_clock_held", Kind::Gauge, [],
        "1 while core time stands still because agents cannot be heard.";
    HeldSeconds = "pulsegate_clock_held_seconds_total", Kind::CounterAtScrape, [],
        "Time taken out of core time because agents could not be heard.";
    JournalEvents = "pulsegate_journal_events_total", Kind::CounterAtScrape, [],
        "Events made durable since the start.";
    JournalQueue = "pulsegate_journal_queued_events", Kind::Gauge, [],
        "Events that wait to be made durable.";
    JournalCommit = "pulsegate_journal_commit_seconds", Kind::Gauge,
        [Label::Words("rank", &["median", "p99"])],
        "Time that half of the last 1,024 commits, and 99 of 100, did not exceed.";
    JournalBytes = "pulsegate_journal_bytes", Kind::Gauge,
        [Label::Words("part", &["events", "heartbeats", "dead_letters", "file"])],
        "Size of the journal by what lies in it, and of its file.";
    JournalReadOnly = "pulsegate_journal_read_only", Kind::Gauge, [],
        "1 while the journal cannot be written: nothing new is granted, and nothing is acted upon.";
    JournalUnrecorded = "pulsegate_journal_unrecorded_total", Kind::CounterAtScrape, [],
        "Changes that could not be recorded; a snapshot makes up for them.";
    HeartbeatsDropped = "pulsegate_journal_heartbeats_dropped_total", Kind::CounterAtScrape, [],
        "Heartbeats that were to be recorded and did not fit.";
    DeadLetters = "pulsegate_dead_letters", Kind::Gauge, [],
        "Dead letters kept.";
    DeadLettersMade = "pulsegate_dead_letters_total", Kind::Counter,
        [Label::Words("result", &["kept", "dropped"])],
        "What could not be handled: kept as a dead letter, or too much of it at once.";
    StartsLately = "pulsegate_starts_lately", Kind::Gauge, [],
        "Starts in the ten minutes before the last start, which counts: three are a restart loop.";
    Watchers = "pulsegate_watchers", Kind::Gauge, [],
        "Clients that watch.";
    Leases = "pulsegate_leases", Kind::Gauge, [],
        "Leases that are held, or about to be: their grant is on its way to the disk.";
    LeaseGrants = "pulsegate_lease_grants_total", Kind::Counter, [],
        "Grants of leases, each with a new fencing token.";
    LeaseEnds = "pulsegate_lease_ends_total", Kind::Counter,
        [Label::Words("reason", super::LEASE_ENDS)],
        "Leases that ended; undone ones were never told, as the journal was too slow.";
    LeaseWaiters = "pulsegate_lease_waiters", Kind::Gauge, [],
        "Requests that wait in line for a lease.";
    Memory = "pulsegate_agent_memory_bytes", Kind::Gauge,
        [Label::Words("part", &["hot", "cold"])],
        "Memory of the agents: records, ids, map and wheel (hot), and all else (cold).";
    Reloads = "pulsegate_config_reloads_total", Kind::Counter,
        [Label::Words("result", &["applied", "refused"])],
        "Reloads of the configuration.";
    Build = "pulsegate_build_info", Kind::Gauge, [Label::Version],
        "1, with the version of this build.";
    ProcessCpu = "process_cpu_seconds_total", Kind::CounterAtScrape, [],
        "Total user and system CPU time spent in seconds.";
    ProcessResident = "process_resident_memory_bytes", Kind::Gauge, [],
        "Resident memory size in bytes.";
    ProcessVirtual = "process_virtual_memory_bytes", Kind::Gauge, [],
        "Virtual memory size in bytes.";
    ProcessThreads = "process_threads", Kind::Gauge, [],
        "Number of OS threads in the process.";
    ProcessFds = "process_open_fds", Kind::Gauge, [],
        "Number of open file descriptors.";
    ProcessMaxFds = "process_max_fds", Kind::Gauge, [],
        "Maximum number of open file descriptors.";
    ProcessStart = "process_start_time_seconds", Kind::Gauge, [],
        "Start time of the process since unix epoch in seconds.";
}

/// Where the numbers of each metric begin, and, last, how many there are.
pub(super) const OFFSETS: [usize; FAMILIES.len() + 1] = {
    let mut offsets = [0; FAMILIES.len() + 1];
    let mut index = 0;
    while index < FAMILIES.len() {
        let family = &FAMILIES[index];
        offsets[index + 1] = offsets[index] + family.width() * family.combinations();
        index += 1;
    }
    offsets
};
