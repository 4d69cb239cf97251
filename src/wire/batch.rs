//! Many heartbeats in one request, for relays.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Directive, Heartbeat, Problem};

/// The body of `POST /v1/heartbeats/batch`: at most 1,000 heartbeats.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Batch {
    /// One agent's heartbeats are handled in this order; agents are independent.
    #[prost(message, repeated, tag = "1")]
    pub heartbeats: Vec<Heartbeat>,
}

/// The answer to a batch: one item for each heartbeat, in the same order.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// What became of each.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<BatchItem>,
}

/// What became of one heartbeat of a batch: either a directive or a problem.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchItem {
    /// The agent, as the heartbeat named it.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// The answer, when it was handled.
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directive: Option<Directive>,
    /// Why it was not handled.
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}
