//! What a case acts in: one gateway, one client, and a record of what was said.

use std::time::Instant;

use pulsegate_core::{Millis, TenantId};
use pulsegate_gateway::server::Gateway;
use pulsegate_gateway::shard::Found;
use pulsegate_wire::{Code, Directive, Heartbeat, Outcome, Problem};
use serde_json::{Value, json};

use super::client::{Client, Form, Reply};
use super::differences::Differs;
use super::drivers::Transport;
use crate::quic_client::{PATIENCE, TLS, counter};
use crate::support::{CREDENTIALS, start};

/// How the gateway of a case is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Nobody is limited.
    Open,
    /// Three heartbeats of an agent at once.
    Quota,
    /// One unknown agent of an address.
    Newcomers,
    /// Room for one agent.
    Full,
    /// Credentials of two tenants.
    Credentials,
    /// A policy with rules for early heartbeats.
    Paced,
}

impl Setting {
    pub const ALL: &[Self] =
        &[Self::Open, Self::Quota, Self::Newcomers, Self::Full, Self::Credentials, Self::Paced];

    pub fn gateway(self, is_tls: bool) -> Gateway {
        start(&self.toml(is_tls))
    }

    pub fn toml(self, is_tls: bool) -> String {
        let setting = match self {
            Self::Open => "[limits]\nagent_rate_per_second = 1000\nagent_burst = 1000\n".into(),
            Self::Quota => "[limits]\nagent_rate_per_second = 0.05\nagent_burst = 3\n".into(),
            Self::Newcomers => {
                "[limits]\nunknown_rate_per_second = 0.01\nunknown_burst = 1\n".into()
            }
            Self::Full => "[limits]\nmax_agents = 1\n".into(),
            Self::Credentials => CREDENTIALS.into(),
            Self::Paced => paced(),
        };
        format!("{}{setting}", if is_tls { TLS } else { "" })
    }
}

fn paced() -> String {
    let name = "queue-pressure";
    let policy = format!("[[policies]]\nname = \"{name}\"\nreference = \"{name}\"\n");
    format!("{policy}[[routes]]\ncadence = \"{name}\"\n")
}

/// One case over one transport.
pub struct World<'a> {
    pub gateway: &'a Gateway,
    pub transport: &'static Transport,
    /// Name of the case, and of its agent.
    pub case: &'static str,
    tenant: TenantId,
    client: Box<dyn Client>,
    transcript: Vec<Value>,
    left_out: Vec<&'static str>,
}

impl<'a> World<'a> {
    pub fn new(gateway: &'a Gateway, transport: &'static Transport, case: &'static str) -> Self {
        let client = (transport.connect)(gateway, None);
        let tenant = TenantId(0);
        Self {
            gateway,
            transport,
            case,
            tenant,
            client,
            transcript: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// What was answered, and the samples of counters that are not compared.
    pub fn end(self) -> (Vec<Value>, Vec<&'static str>) {
        (self.transcript, self.left_out)
    }

    /// Does not compare this sample: a case says why.
    pub fn leave_out(&mut self, sample: &'static str) {
        self.left_out.push(sample);
    }

    pub fn form(&self) -> Form {
        self.transport.form
    }

    pub fn differs(&self, what: Differs) -> bool {
        self.transport.differs(what)
    }

    /// Goes on with a client that shows this token; what it says is then of this tenant.
    pub fn introduce(&mut self, token: &str, tenant: &str) {
        self.client = (self.transport.connect)(self.gateway, Some(token));
        self.tenant = self.gateway.config().tenants.find(tenant).unwrap_or_default();
    }

    /// A heartbeat of the agent of this case.
    pub fn heartbeat(&self, incarnation: u64, sequence: u64) -> Heartbeat {
        Heartbeat { agent_id: self.case.into(), incarnation, sequence, ..Heartbeat::default() }
    }

    /// Sends a heartbeat, and writes down what came back.
    pub fn beat(&mut self, heartbeat: &Heartbeat) -> Reply {
        let reply = self.client.send(&self.form().encode(heartbeat));
        self.note(&heartbeat.agent_id, &reply);
        reply
    }

    /// Sends the agent's own heartbeat, and expects a directive.
    pub fn directive(&mut self, incarnation: u64, sequence: u64) -> Directive {
        let heartbeat = self.heartbeat(incarnation, sequence);
        self.accepted(&heartbeat)
    }

    /// Sends a heartbeat and expects it to be accepted, or answered as the same one was before.
    pub fn accepted(&mut self, heartbeat: &Heartbeat) -> Directive {
        self.beat(heartbeat).directive()
    }

    /// Sends a heartbeat and expects this problem.
    pub fn refused(&mut self, heartbeat: &Heartbeat, code: Code) -> Problem {
        let problem = self.beat(heartbeat).problem();
        assert_eq!(problem.code(), Some(code), "{problem:?}");
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        problem
    }

    /// Sends bytes of the client's form; `agent_id` is whose heartbeat they are.
    pub fn send(&mut self, agent_id: &str, body: &[u8]) -> Reply {
        let reply = self.client.send(body);
        self.note(agent_id, &reply);
        reply
    }

    /// Sends a heartbeat under another content type, and expects this problem.
    pub fn refused_as(&mut self, content_type: &str, heartbeat: &Heartbeat, code: Code) {
        let reply = self.client.send_as(content_type, &self.form().encode(heartbeat));
        self.note(&heartbeat.agent_id, &reply);
        assert_eq!(reply.code(), Some(code), "{content_type:?}: {reply:?}");
    }

    /// Sends bytes; what comes back is not compared.
    pub fn send_unnoted(&mut self, body: &[u8]) -> Reply {
        self.client.send(body)
    }

    /// Sends bytes that cannot be read, and expects what this transport does with them. All that
    /// is compared is that they are counted alike.
    pub fn unreadable(&mut self, body: &[u8], code: Code) -> Option<Problem> {
        let reply = self.client.send(body);
        if self.differs(Differs::UnreadableEnds) {
            assert_eq!(reply, Reply::Closed(code));
        } else if self.differs(Differs::UnreadableIsDropped) {
            assert_eq!(reply, Reply::Nothing);
        } else {
            let problem = reply.problem();
            assert_eq!(problem.code(), Some(code), "{problem:?}");
            return Some(problem);
        }
        None
    }

    /// Names of the commands that were pushed, where the transport has pushes.
    pub fn pushed_commands(&mut self) -> Option<Vec<String>> {
        if !self.differs(Differs::Pushes) {
            return None;
        }
        let pushes = self.client.pushes(true);
        assert!(pushes.iter().all(|push| push.agent_id == self.case && !push.beat_now));
        let commands = pushes.into_iter().flat_map(|push| push.commands);
        Some(commands.map(|command| command.id).collect())
    }

    /// Looks at the agent of this case.
    pub fn look<T>(&self, look: impl FnOnce(Found<'_>) -> T) -> T {
        self.gateway.shards().find(self.tenant, self.case, look).expect("the agent is known")
    }

    pub fn is_known(&self, agent_id: &str) -> bool {
        self.gateway.shards().find(self.tenant, agent_id, |_| ()).is_some()
    }

    /// Value of a counter.
    pub fn counted(&self, sample: &str) -> u64 {
        counter(self.gateway, sample)
    }

    /// Waits until something is true.
    pub fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_true(self) {
            assert!(begun.elapsed() < PATIENCE, "never: {what}");
            std::thread::yield_now();
        }
    }

    /// When the agent was heard last. A deadline that moves after this moves by some time.
    pub fn heard(&self) -> Millis {
        let receipt = self.look(|found| found.info.last_receipt).expect("it was heard");
        // Core time goes in milliseconds: wait for the next one.
        self.until("time passes", |world| world.look(|found| found.now) > receipt);
        receipt
    }

    /// Writes down what must be the same over every transport.
    fn note(&mut self, agent_id: &str, reply: &Reply) {
        let note = match reply {
            Reply::Directive(directive) => self.note_directive(agent_id, directive),
            Reply::Problem(problem) => note_problem(problem),
            Reply::Closed(code) => json!({ "code": code.as_str() }),
            Reply::Nothing | Reply::Unsent => panic!("no answer: {reply:?}"),
        };
        self.transcript.push(note);
    }

    /// Everything but the jitter, which follows from a key that each gateway draws for itself;
    /// that jitter is the same over every transport of one gateway is shown in `cross`.
    fn note_directive(&self, agent_id: &str, directive: &Directive) -> Value {
        let mut note = serde_json::to_value(directive).expect("JSON");
        let look = |found: Found<'_>| found.explained.expect("it was decided").decision;
        let decision = self.gateway.shards().find(self.tenant, agent_id, look).expect("known");
        let effective_ms = u64::from(decision.trace.effective_ms);
        let sent_ms = directive.next_interval_ms;
        assert!((effective_ms * 9 / 10..=effective_ms).contains(&sent_ms), "{note}");
        if directive.outcome() != Outcome::Stale {
            assert_eq!(sent_ms, u64::from(decision.next_interval_ms), "{note}");
        }
        note["next_interval_ms"] = json!(format!("up to {effective_ms}"));
        note
    }
}

/// Everything but what depends on time, and the words of a parser.
fn note_problem(problem: &Problem) -> Value {
    if problem.code() == Some(Code::Unauthenticated) {
        return json!({ "code": problem.code });
    }
    let mut note = serde_json::to_value(problem).expect("JSON");
    if problem.retry_after_ms.is_some() {
        note["retry_after_ms"] = json!("some time");
    }
    note
}
