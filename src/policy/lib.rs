//! The Wasm host of policies: loads components, runs them within limits, and falls back to the
//! built-in policy in the same heartbeat when one misbehaves.
//!
//! An [`Engine`] compiles; a [`PolicySet`] is an immutable choice of policies and of the agents
//! that each one judges and paces, shared by all threads; a [`Worker`] holds one thread's warm
//! instances. A fault never costs a heartbeat.
//!
//! This room may touch `wire` and `core` (observation, verdict) and wasmtime. It knows neither
//! tokio nor the gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{
    ClassId, Classes, Incident, Observation, Plan, TenantId, Verdict, VerdictSource,
};
use pulsegate_wire::EarlyRule;

/// Limits of every policy.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest call, rounded up to ticks of 1 ms; 3 ms.
    pub call: Duration,
    /// Largest linear memory of an instance, in bytes; 16 MiB.
    pub memory_bytes: usize,
    /// Policy time of a whole batch; then the built-in policy answers; 10 ms.
    pub batch: Duration,
    /// Faults within `breaker_window` that open the breaker of a policy; 10.
    pub breaker_faults: u32,
    /// Window of the breaker; 60 s.
    pub breaker_window: Duration,
}

/// A policy to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name in configuration, explanations and metrics.
    pub name: String,
    /// The component.
    pub bytes: Vec<u8>,
    /// Settings, handed to `configure` as JSON.
    pub settings: serde_json::Value,
}

/// Which agents a rule is about; what is `None` or empty matches all.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Tenant by index.
    pub tenant: Option<TenantId>,
    /// Classes by name.
    pub classes: Vec<String>,
    /// Labels that must all be there with these values.
    pub labels: BTreeMap<String, String>,
}

/// A rule of the configuration: the first that matches an agent decides, for each of the three
/// questions apart. `builtin` names the built-in policy.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Which agents.
    pub agents: Match,
    /// Policy that judges them.
    pub health: Option<String>,
    /// Policy that paces them.
    pub cadence: Option<String>,
    /// Policy that plans their recovery.
    pub recovery: Option<String>,
}

/// Which policies judge, pace and recover an agent: an index into a [`PolicySet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment(pub u16);

/// What a policy keeps with an agent: its memory columns, tagged by its revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Revision that wrote each part: of the health policy and of the cadence policy.
    pub revision: [u64; 2],
    /// At most eight numbers each.
    pub columns: [[f64; 8]; 2],
}

/// How a call ended when it did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It trapped: a panic, an unreachable, too much memory.
    Trap,
    /// It ran longer than allowed.
    Timeout,
    /// It answered with something that is no answer.
    BadAnswer,
    /// Its breaker is open: it was not called.
    BreakerOpen,
}

/// One call of a policy, for telemetry.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Index of the policy in the set.
    pub policy: u16,
    /// How long it took, where this call was measured (one in sixteen is).
    pub elapsed: Option<Duration>,
    /// How it went wrong, if it did.
    pub fault: Option<Fault>,
}

/// The verdict on one heartbeat and how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation {
    /// What core decides on.
    pub verdict: Verdict,
    /// Who judged health, and why.
    pub health_source: VerdictSource,
    /// The calls made: health, then cadence.
    pub calls: [Option<Call>; 2],
}

/// One heartbeat of a batch.
#[derive(Debug)]
pub struct Item<'a> {
    /// Which policies.
    pub assignment: Assignment,
    /// Class of the agent.
    pub class: ClassId,
    /// What they see.
    pub observation: Observation,
    /// Custom metrics of the heartbeat.
    pub custom: &'a BTreeMap<String, f64>,
    /// Memory columns, kept with the agent.
    pub memory: &'a mut Memory,
}

/// Names and texts behind a [`VerdictSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceText<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// Its revision: the first 12 hexadecimal digits of its digest; empty for the built-in one.
    pub revision: &'a str,
    /// The reason.
    pub reason: &'a str,
}

/// Compiles components; keeps the clock that interrupts runaway calls.
#[derive(Debug)]
pub struct Engine;

/// An immutable choice of policies, shared by all threads.
#[derive(Debug)]
pub struct PolicySet;

/// One thread's warm instances.
#[derive(Debug)]
pub struct Worker;

/// Why a policy or a set cannot be used; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a component, or one that does not keep the contract.
    #[error("policy {policy}: {reason}")]
    Refused {
        /// Name of the policy.
        policy: String,
        /// Why.
        reason: String,
    },
}

#[allow(unused_variables, missing_docs, reason = "signatures first")]
impl Engine {
    pub fn new(limits: Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

#[allow(unused_variables, missing_docs, reason = "signatures first")]
impl PolicySet {
    /// Loads every policy, warms it up and runs a canary call; then resolves the routes.
    /// `executors` are the ids of the configured executors with their default wait in ms, told
    /// to policies when they are configured and proposed by the built-in plan.
    pub fn load(
        engine: &Engine,
        classes: &Classes,
        sources: Vec<Source>,
        routes: Vec<Route>,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Differs between any two sets of one process: an [`Assignment`] belongs to one set.
    pub fn generation(&self) -> u64 {
        unimplemented!()
    }
    pub fn assign(
        &self,
        tenant: TenantId,
        class: ClassId,
        labels: &BTreeMap<String, String>,
    ) -> Assignment {
        unimplemented!()
    }
    pub fn text(&self, source: VerdictSource) -> SourceText<'_> {
        unimplemented!()
    }
    /// Rules for early heartbeats of an assignment's policies, at most eight.
    pub fn early_rules(&self, assignment: Assignment) -> &[EarlyRule] {
        unimplemented!()
    }
    /// Names by policy index; the first is `builtin`.
    pub fn names(&self) -> &[String] {
        unimplemented!()
    }
}

#[allow(unused_variables, missing_docs, reason = "signatures first")]
impl Worker {
    pub fn new() -> Self {
        unimplemented!()
    }
    pub fn evaluate(
        &mut self,
        set: &PolicySet,
        assignment: Assignment,
        class: ClassId,
        observation: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> Evaluation {
        unimplemented!()
    }
    /// Evaluates a batch through the rows form, grouped by policy, answers in the same order.
    pub fn evaluate_batch(
        &mut self,
        set: &PolicySet,
        items: &mut [Item<'_>],
        answers: &mut Vec<Evaluation>,
    ) {
        unimplemented!()
    }
    pub fn propose(
        &mut self,
        set: &PolicySet,
        assignment: Assignment,
        incident: &Incident,
    ) -> (Plan, Option<Call>) {
        unimplemented!()
    }
}

/// The reference policies, built for Wasm with this crate and embedded.
pub mod reference {
    /// Names and components of the reference policies.
    pub const ALL: &[(&str, &[u8])] = &[];
}
