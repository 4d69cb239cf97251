//! Why a policy, or a set of policies, cannot be used.

use crate::Pool;

/// Why a policy or a set cannot be used. Nothing has changed: the set in use stays in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A limit under which no policy could answer.
    #[error("limit {limit}: {reason}")]
    Limit {
        /// Name of the limit.
        limit: &'static str,
        /// What it must be.
        reason: &'static str,
    },
    /// The Wasm engine refused its settings.
    #[error("the Wasm engine does not start on this machine: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
    /// The bytes are no component.
    #[error("policy {policy}: not a WebAssembly component: {reason}")]
    NotAComponent {
        /// Name of the policy.
        policy: String,
        /// What the engine said.
        reason: String,
    },
    /// It is larger than those of its pool may be.
    #[error(
        "policy {policy}: {bytes} bytes, at most {most} in the pool {}{hint}", pool.as_str()
    )]
    TooLarge {
        /// Name of the policy.
        policy: String,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        most: usize,
        /// Its pool.
        pool: Pool,
        /// What would help; empty if nothing is known to.
        hint: &'static str,
    },
    /// It imports something that policies may not have.
    #[error(
        "policy {policy}: imports {import}; a policy may import nothing but \
         pulsegate:policy/log@1.0.0 and interfaces that hold only types"
    )]
    ForeignImport {
        /// Name of the policy.
        policy: String,
        /// What it imports.
        import: String,
    },
    /// It lacks an export that every policy must have, or answers no question at all.
    #[error("policy {policy}: does not export {export}")]
    MissingExport {
        /// Name of the policy.
        policy: String,
        /// What is missing.
        export: &'static str,
    },
    /// A function or a record has another type than the contract says.
    #[error("policy {policy}: {item} has another type than pulsegate:policy@1.0.0: {reason}")]
    WrongType {
        /// Name of the policy.
        policy: String,
        /// What has the wrong type.
        item: &'static str,
        /// Where it differs.
        reason: String,
    },
    /// It does not start: it traps, runs too long, or wants more memory than it may have.
    #[error("policy {policy}: does not start: {reason}")]
    Start {
        /// Name of the policy.
        policy: String,
        /// What happened.
        reason: String,
    },
    /// It refused its settings.
    #[error("policy {policy}: refuses its settings for class {class}: {reason}")]
    Settings {
        /// Name of the policy.
        policy: String,
        /// Class of the instance.
        class: String,
        /// What it said.
        reason: String,
    },
    /// Its description breaks the rules.
    #[error("policy {policy}: its description is not acceptable: {reason}")]
    Description {
        /// Name of the policy.
        policy: String,
        /// Which rule, and its limit.
        reason: String,
    },
    /// It does not answer an ordinary observation.
    #[error("policy {policy}: {function} fails on an ordinary observation: {reason}")]
    Canary {
        /// Name of the policy.
        policy: String,
        /// The function.
        function: &'static str,
        /// How it failed.
        reason: String,
    },
    /// It fails on an observation that any agent may make, or on an incident.
    #[error("policy {policy}: {function} fails for class {class} on {seen}: {reason}")]
    Faulty {
        /// Name of the policy.
        policy: String,
        /// The function.
        function: &'static str,
        /// Class of the agent.
        class: String,
        /// What it saw, as the test cases of a policy write it.
        seen: String,
        /// How it failed.
        reason: String,
    },
    /// It does not give the same answer to the same question.
    #[error(
        "policy {policy}: {function} does not always answer the same for class {class} on {seen}: \
         at first {first}, {how} {then}; an answer may depend on nothing but the question"
    )]
    Impure {
        /// Name of the policy.
        policy: String,
        /// The function.
        function: &'static str,
        /// Class of the agent.
        class: String,
        /// What it saw, as the test cases of a policy write it.
        seen: String,
        /// What it answered when it was asked first.
        first: String,
        /// In which way it was asked again.
        how: &'static str,
        /// What it answered then.
        then: String,
    },
    /// A name is taken, or is none.
    #[error("policy name {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A route names a policy that is not there.
    #[error("route {route}: there is no policy {policy:?}")]
    UnknownPolicy {
        /// Position of the route, from 1.
        route: usize,
        /// The name.
        policy: String,
    },
    /// A route asks a policy a question that it does not answer.
    #[error("route {route}: policy {policy:?} does not export {question}")]
    WrongQuestion {
        /// Position of the route, from 1.
        route: usize,
        /// Name of the policy.
        policy: String,
        /// `health`, `cadence` or `recovery`.
        question: &'static str,
    },
    /// A route names a class that is not there.
    #[error("route {route}: there is no class {class:?}")]
    UnknownClass {
        /// Position of the route, from 1.
        route: usize,
        /// The name.
        class: String,
    },
    /// More of something than a set may hold.
    #[error("{count} {what}, at most {most}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Error {
    /// The policy that it is about.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::NotAComponent { policy, .. }
            | Self::TooLarge { policy, .. }
            | Self::ForeignImport { policy, .. }
            | Self::MissingExport { policy, .. }
            | Self::WrongType { policy, .. }
            | Self::Start { policy, .. }
            | Self::Settings { policy, .. }
            | Self::Description { policy, .. }
            | Self::Canary { policy, .. }
            | Self::Faulty { policy, .. }
            | Self::Impure { policy, .. }
            | Self::UnknownPolicy { policy, .. }
            | Self::WrongQuestion { policy, .. } => Some(policy),
            Self::Name { name, .. } => Some(name),
            Self::Limit { .. }
            | Self::Engine { .. }
            | Self::UnknownClass { .. }
            | Self::TooMany { .. } => None,
        }
    }
}
