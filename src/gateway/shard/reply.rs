//! A directive on its way out: borrowed from where its parts are kept, put straight into bytes.
//!
//! [`pulsegate_wire::Directive`] owns eight strings; building one for each heartbeat would cost as
//! much as deciding it. Both forms written here are held to that type by tests.

use pulsegate_core::Decision;
use pulsegate_policy::{PolicySet, SourceText};
use pulsegate_wire::{Command, EarlyRule, Health, LeaseGrant, Outcome};
use serde::Serialize;

use super::heartbeat::Decided;
use super::{json, protobuf as pb};
use crate::config::Directives;
use crate::durable::Mark;

/// Load of the fleet above which agents are told not to repeat unanswered heartbeats: repeats
/// would only add to it. Source: DESIGN §3.
const RETRY_LOAD: f64 = 0.8;

/// Share of its usual new work that a degraded agent should take on.
///
/// Larger: it may never catch up; smaller: capacity is wasted on a passing weakness. Unhealthy
/// and stalled agents should take none, healthy ones all (nothing is said). Source: chosen.
const THROTTLE_DEGRADED: f64 = 0.5;

/// The answer to one heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    number: u64,
    outcome: Outcome,
    next_interval_ms: u32,
    suspect_after_ms: u32,
    fail_after_ms: u32,
    beat_early: Option<Early<'a>>,
    retry: &'a [u32],
    explain: Why<'a>,
    commands: &'a [Command],
    leases: &'a [LeaseGrant],
    throttle: Option<f64>,
    until: Option<Mark>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Early<'a> {
    min_gap_ms: u32,
    spread_ms: u32,
    rules: &'a [EarlyRule],
}

#[derive(Clone, Copy, Debug)]
struct Why<'a> {
    reason: &'a str,
    bound: &'a str,
    policy: &'a str,
    policy_revision: &'a str,
}

impl<'a> Reply<'a> {
    /// Room for the JSON of an ordinary reply, so that the list grows once.
    const JSON_BYTES: usize = 384;

    pub(super) fn new(
        decided: &'a Decided,
        policies: &'a PolicySet,
        directives: &'a Directives,
        load: f64,
    ) -> Self {
        let rules = policies.early_rules(decided.assignment);
        let text = policies.text(decided.decision.source);
        let reply =
            Self::compose(&decided.decision, &decided.commands, text, rules, directives, load);
        Self { leases: &decided.leases, until: decided.until, ..reply }
    }

    fn compose(
        decision: &Decision,
        commands: &'a [Command],
        text: SourceText<'a>,
        rules: &'a [EarlyRule],
        directives: &'a Directives,
        load: f64,
    ) -> Self {
        let early = Early {
            min_gap_ms: directives.early_min_gap_ms,
            spread_ms: directives.early_spread_ms,
            rules,
        };
        Self {
            number: decision.number,
            outcome: decision.outcome,
            next_interval_ms: decision.next_interval_ms,
            suspect_after_ms: decision.suspect_after_ms,
            fail_after_ms: decision.fail_after_ms,
            beat_early: (!rules.is_empty()).then_some(early),
            retry: if load > RETRY_LOAD { &[] } else { &directives.retry_ms },
            explain: Why {
                reason: text.reason,
                bound: decision.trace.bound.as_str(),
                policy: text.policy,
                policy_revision: text.revision,
            },
            commands,
            leases: &[],
            throttle: throttle(decision.health),
            until: None,
        }
    }

    /// What became of the heartbeat.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What has to be durable before this is sent.
    #[must_use]
    pub fn until(&self) -> Option<Mark> {
        self.until
    }

    /// The same, without the texts for people.
    #[must_use]
    pub fn without_explain(self) -> Self {
        Self { explain: Why { reason: "", bound: "", policy: "", policy_revision: "" }, ..self }
    }

    /// The same, without commands: they are in every directive until they are acknowledged.
    #[must_use]
    pub fn without_commands(self) -> Self {
        Self { commands: &[], ..self }
    }

    /// The same, without the rules for early heartbeats: the agent keeps those that it knows.
    #[must_use]
    pub fn without_early_rules(self) -> Self {
        Self { beat_early: None, ..self }
    }

    /// The same, without leases: they are renewed all the same, and the agent, which does not know,
    /// counts on them for less long than it could.
    #[must_use]
    pub fn without_leases(self) -> Self {
        Self { leases: &[], ..self }
    }

    /// Appends the JSON form.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(Self::JSON_BYTES);
        out.extend_from_slice(b"{\"number\":");
        json::number(out, self.number);
        out.extend_from_slice(b",\"outcome\":");
        json::text(out, self.outcome.as_str());
        let times: [(&[u8], u32); 3] = [
            (b",\"next_interval_ms\":", self.next_interval_ms),
            (b",\"suspect_after_ms\":", self.suspect_after_ms),
            (b",\"fail_after_ms\":", self.fail_after_ms),
        ];
        for (key, time_ms) in times {
            out.extend_from_slice(key);
            json::number(out, time_ms);
        }
        if let Some(early) = &self.beat_early {
            out.extend_from_slice(b",\"beat_early\":");
            json::any(out, early);
        }
        self.write_retry(out);
        let texts: [(&[u8], &str); 4] = [
            (b",\"explain\":{\"reason\":", self.explain.reason),
            (b",\"bound\":", self.explain.bound),
            (b",\"policy\":", self.explain.policy),
            (b",\"policy_revision\":", self.explain.policy_revision),
        ];
        for (key, text) in texts {
            out.extend_from_slice(key);
            json::text(out, text);
        }
        out.push(b'}');
        if !self.commands.is_empty() {
            out.extend_from_slice(b",\"commands\":");
            json::any(out, self.commands);
        }
        if !self.leases.is_empty() {
            out.extend_from_slice(b",\"leases\":");
            json::any(out, self.leases);
        }
        if let Some(share) = self.throttle {
            out.extend_from_slice(b",\"throttle\":");
            json::any(out, &share);
        }
        out.push(b'}');
    }

    fn write_retry(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"retry\":[");
        for (place, &delay_ms) in self.retry.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            json::number(out, delay_ms);
        }
        out.push(b']');
    }

    /// Appends the protobuf form.
    pub fn write_protobuf(&self, out: &mut Vec<u8>) {
        pb::uint(out, 1, self.number);
        pb::uint(out, 2, self.outcome as u64);
        pb::uint(out, 3, self.next_interval_ms.into());
        pb::uint(out, 4, self.suspect_after_ms.into());
        pb::uint(out, 5, self.fail_after_ms.into());
        if let Some(early) = &self.beat_early {
            pb::message(out, 6, |out| early.write_protobuf(out));
        }
        if !self.retry.is_empty() {
            pb::message(out, 7, |out| {
                self.retry.iter().for_each(|&delay| pb::varint(out, delay.into()));
            });
        }
        if !self.explain.bound.is_empty() {
            pb::message(out, 8, |out| {
                pb::text(out, 1, self.explain.reason);
                pb::text(out, 2, self.explain.bound);
                pb::text(out, 3, self.explain.policy);
                pb::text(out, 4, self.explain.policy_revision);
            });
        }
        for command in self.commands {
            pb::message(out, 9, |out| {
                pb::text(out, 1, &command.id);
                pb::uint(out, 2, u64::from(command.kind.unsigned_abs()));
                pb::text(out, 3, &command.name);
            });
        }
        for lease in self.leases {
            pb::message(out, 10, |out| {
                pb::text(out, 1, &lease.name);
                pb::uint(out, 2, lease.token);
                pb::uint(out, 3, lease.ttl_ms);
            });
        }
        if let Some(share) = self.throttle {
            pb::double(out, 11, share);
        }
    }
}

impl Early<'_> {
    fn write_protobuf(&self, out: &mut Vec<u8>) {
        pb::uint(out, 1, self.min_gap_ms.into());
        pb::uint(out, 2, self.spread_ms.into());
        for rule in self.rules {
            pb::message(out, 3, |out| {
                pb::text(out, 1, &rule.metric);
                rule.above.into_iter().for_each(|above| pb::double(out, 2, above));
                rule.below.into_iter().for_each(|below| pb::double(out, 3, below));
                if rule.rearm != 0.0 {
                    pb::double(out, 4, rule.rearm);
                }
            });
        }
    }
}

/// Advice for work upstream, by health.
fn throttle(health: Health) -> Option<f64> {
    match health {
        Health::Healthy => None,
        Health::Degraded => Some(THROTTLE_DEGRADED),
        Health::Unhealthy | Health::Stalled => Some(0.0),
    }
}

#[cfg(test)]
mod tests;
