//! What a simulated fleet beats to: this gateway, or one of the peers that it is compared with.
//!
//! A server is a state machine on virtual time, as the core is: requests and the passing of time
//! go in, answers and changes of an agent's standing come out. It draws no chance of its own but
//! from streams that it was given.

/// An instant or a span of virtual time, in microseconds since the start of the run.
pub type Micros = u64;

/// Microseconds of a millisecond.
pub const MS: Micros = 1_000;
/// Microseconds of a second.
pub const SECOND: Micros = 1_000 * MS;
/// Microseconds of a minute.
pub const MINUTE: Micros = 60 * SECOND;
/// Microseconds of an hour.
pub const HOUR: Micros = 60 * MINUTE;
/// Microseconds of a day.
pub const DAY: Micros = 24 * HOUR;

/// Index of an agent of the fleet.
pub type AgentIndex = u32;

/// What an agent reports of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// It says that something is wrong; a sign before a crash.
    pub degraded: bool,
    /// It says that it is about to leave.
    pub stopping: bool,
    /// Pieces of work that wait; `None` for an agent that has no queue.
    pub queue_depth: Option<u64>,
    /// Pieces of work under way; `None` for an agent that does not say.
    pub active_tasks: Option<u64>,
    /// Errors since it started.
    pub error_count: u64,
    /// Watermark of its progress.
    pub watermark: u64,
}

/// Why a heartbeat is sent now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// The first of an incarnation.
    #[default]
    Start,
    /// It was due.
    Scheduled,
    /// A rule for early heartbeats fired.
    Early,
    /// The one before was not answered.
    Retry,
}

/// One heartbeat as it travels to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Request {
    /// Who sends it.
    pub agent: AgentIndex,
    /// Which run of the agent.
    pub incarnation: u64,
    /// Counter within the run; a repeated heartbeat has the same.
    pub sequence: u64,
    /// Newest directive that the agent has received; 0 for none.
    pub directive_seen: u64,
    /// Why it was sent.
    pub why: Why,
    /// When this attempt was sent, by the true clock. No server may look at it: it is there for
    /// measures and checks.
    pub sent_at: Micros,
    /// A lease that the agent wants to hold; asked for together with the heartbeat.
    pub wants: Option<u32>,
    /// What the agent says.
    pub report: Report,
}

/// A lease that an answer grants or renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTold {
    /// Which lease.
    pub lease: u32,
    /// Its fencing token.
    pub token: u64,
    /// Its TTL, in milliseconds.
    pub ttl_ms: u32,
    /// The agent keeps an interval too long for it, and shall beat now.
    pub beat_now: bool,
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// A directive.
    Directive {
        /// Its number: the sequence of the heartbeat that it was decided upon. That of an older one
        /// when a repeated heartbeat is answered while its verdict is still awaited.
        number: u64,
        /// When to beat next, counted from sending the first attempt of what is answered.
        interval_ms: u32,
        /// A lease that the agent holds.
        lease: Option<LeaseTold>,
    },
    /// Nothing could be done now: come again after so long.
    Later {
        /// In milliseconds.
        retry_after_ms: u32,
    },
    /// A newer run is known, or this one has left: this one ends.
    Over,
}

/// An answer on its way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// Whom it is for.
    pub agent: AgentIndex,
    /// The run that it answers.
    pub incarnation: u64,
    /// The heartbeat that it answers.
    pub sequence: u64,
    /// What it says.
    pub answer: Answer,
}

/// How an agent stands with its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not known, or known no more.
    #[default]
    Unknown,
    /// It beats.
    Alive,
    /// It is silent for longer than it should be; nothing is done about it.
    Suspect,
    /// It is taken for dead.
    Failed,
    /// It left gracefully.
    Stopped,
}

/// An agent's standing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub agent: AgentIndex,
    /// How it stands now.
    pub to: Standing,
}

/// What one call of a server caused.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Answers; they leave at once.
    pub replies: Vec<Reply>,
    /// Agents that stand otherwise now, in order.
    pub changes: Vec<Change>,
    /// Agents that recovery has started anew: their old process, if it still runs, ends.
    pub restarts: Vec<AgentIndex>,
    /// Changes of direction of agents' intervals.
    pub turns: u64,
}

/// How agents of a server behave.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Interval until an answer names one.
    pub first_interval_ms: u32,
    /// Delays of repeated attempts, each counted from the attempt before; none for agents that do
    /// not repeat.
    pub retry_ms: Vec<u32>,
    /// Share by which those delays differ, such as 0.2.
    pub retry_spread: f64,
    /// Rules for early heartbeats.
    pub early: Vec<EarlyRule>,
    /// Shortest distance of two early heartbeats, in milliseconds.
    pub early_gap_ms: u32,
    /// Early heartbeats wait for up to this, each for another time, in milliseconds.
    pub early_spread_ms: u32,
}

/// A queue above this makes an agent beat early, once; until the queue was not above `rearm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyRule {
    /// Queue depth that is exceeded.
    pub above: f64,
    /// Queue depth at which the rule is armed again.
    pub rearm: f64,
}

impl Default for Protocol {
    /// An agent of the old kind: a fixed interval, no second attempt.
    fn default() -> Self {
        Self {
            first_interval_ms: 30_000,
            retry_ms: Vec::new(),
            retry_spread: 0.0,
            early: Vec::new(),
            early_gap_ms: 5_000,
            early_spread_ms: 0,
        }
    }
}

/// What a simulated fleet beats to.
pub trait Server {
    /// How its agents behave.
    fn protocol(&self) -> Protocol;

    /// Takes a heartbeat that arrives.
    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox);

    /// When it wants to be called if nothing arrives; `None` if never. An instant that has passed
    /// means at once.
    fn next_deadline(&self) -> Option<Micros>;

    /// Time has come to `now`.
    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox);

    /// Whether something was taken in and is not durable yet: the worst moment for a kill.
    fn is_busy(&self) -> bool {
        true
    }

    /// The process stood still for so long, up to now, and could hear nobody.
    fn stalled(&mut self, _now: Micros, _lasted: Micros) {}

    /// The process ends, as if killed. Until [`Server::restart`] nothing reaches it.
    fn crash(&mut self, now: Micros);

    /// Another process begins, with what the one before had made durable.
    fn restart(&mut self, now: Micros, out: &mut Outbox);
}
