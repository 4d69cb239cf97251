//! The manual: how agents, operators and authors of policies work with Pulsegate.
//!
//! | page | for |
//! |---|---|
//! | [`getting_started`] | everybody: from a clone to a paced fleet |
//! | [`protocol`] | authors of agents: heartbeat, directive, errors, field by field |
//! | [`compact`] | authors of clients: the compact protocol over QUIC, byte by byte |
//! | [`silence`] | operators: what the gateway concludes from silence, and when |
//! | [`cadence`] | operators, authors of policies: what becomes of a proposed interval |
//! | [`policies`] | authors of policies: the contract, what may change in it, which agents |
//! | [`first_policy`] | authors of policies: from nothing to a checked component in five minutes |
//! | [`observation`] | authors of policies: what a policy sees, field by field |
//! | [`hints`] | authors of policies: what the guards make of what it proposes |
//! | [`policy_limits`] | authors of policies: memory and time, and what a call costs |
//! | [`testing_policies`] | authors of policies: one observation, cases, the check, the bench |
//! | [`replay`] | authors of policies: what one would have done to last night's traffic |
//! | [`distribution`] | operators, authors of policies: registries, digests, signatures |
//! | [`rollout`] | operators: shadow, canary, enforce, and back |
//! | [`languages`] | authors of policies: Rust, C, JavaScript or Python, and what each costs |
//! | [`recovery`] | operators: what is done about an agent in trouble |
//! | [`leases`] | whoever must be the only one: holders, and what they protect |
//! | [`journal`] | operators: what survives a restart, watching, dead letters, backups |
//! | [`operating`] | operators: configuration, listeners, metrics, reload, shutdown |
//! | [`simulator`] | whoever wants to see it fail: faults, rules, one seed one history |
//! | [`science`] | whoever compares: detection, mistakes and cost beside other systems |
//! | [`model`] | whoever wants it proved: every state of small configurations |
//! | [`adversary`] | whoever doubts the cadence guard |
//! | [`figures`] | whoever wants to measure it |
//!
//! Tables of limits, errors, classes and metrics on these pages are held to the code by tests.

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("compact.md")]
pub mod compact {}

#[doc = include_str!("silence.md")]
pub mod silence {}

#[doc = include_str!("cadence.md")]
pub mod cadence {}

#[doc = include_str!("policies.md")]
pub mod policies {}

#[doc = include_str!("first_policy.md")]
pub mod first_policy {}

#[doc = include_str!("observation.md")]
pub mod observation {}

#[doc = include_str!("hints.md")]
pub mod hints {}

#[doc = include_str!("policy_limits.md")]
pub mod policy_limits {}

#[doc = include_str!("testing_policies.md")]
pub mod testing_policies {}
#[doc = include_str!("replay.md")]
pub mod replay {}
#[doc = include_str!("distribution.md")]
pub mod distribution {}
#[doc = include_str!("rollout.md")]
pub mod rollout {}
#[doc = include_str!("languages.md")]
pub mod languages {}

#[doc = include_str!("recovery.md")]
pub mod recovery {}

#[doc = include_str!("leases.md")]
pub mod leases {}

#[doc = include_str!("journal.md")]
pub mod journal {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("simulator.md")]
pub mod simulator {}

#[doc = include_str!("science.md")]
pub mod science {}

#[doc = include_str!("model.md")]
pub mod model {}

#[doc = include_str!("adversary.md")]
pub mod adversary {}

#[doc = include_str!("figures.md")]
pub mod figures {}

#[cfg(test)]
mod tests;
