//! What can be wrong before the first heartbeat; afterwards nothing is an error for the agent.

/// Why an agent could not be started. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the gateway cannot be used.
    #[error("the gateway's address {url:?} cannot be used: {why}")]
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The agent's name or one of its registration fields breaks a rule of the protocol.
    #[error("{field}: {detail}")]
    Field {
        /// The field, such as `agent_id` or `labels.region`.
        field: String,
        /// The rule.
        detail: String,
    },
    /// The bearer token holds bytes that a header cannot carry.
    #[error("the token holds characters that a header cannot carry")]
    Token,
    /// The file of certificate authorities cannot be used.
    #[error("the certificate authorities in {path} cannot be used: {why}")]
    Authorities {
        /// The file as given.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no async runtime here, and no thread could be started to carry one.
    #[error("no thread could be started for the heartbeats")]
    Thread(#[source] std::io::Error),
}
