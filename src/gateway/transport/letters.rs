//! Which heartbeats are kept as dead letters.
//!
//! A heartbeat that is refused is answered, and its sender knows what to do: beat again later, as
//! a newer incarnation, with another field. Two kinds are lost all the same, and are kept:
//! - one of a schema that is not known here: its agent is newer than the gateway, and goes on being
//!   refused until the gateway is replaced;
//! - one that came after a newer one of the same agent (`stale`) and told something beside being a
//!   sign of life that is not known: registration fields, or that a command was carried out. Agents
//!   tell those once. Its metrics are not missed: the newer ones are known already.
//!
//! Never kept: what could not be parsed, what came without a credential where one is asked for, and
//! early data, which somebody may have recorded and may repeat.

use pulsegate_core::TenantId;
use pulsegate_journal::DeadLetter;
use pulsegate_wire::{Code, Problem};

use super::Shared;
use crate::admission::{self, Format};
use crate::durable::REORDERED;
use crate::telemetry::Transport;

/// How a heartbeat came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) tenant: TenantId,
    pub(super) transport: Transport,
    pub(super) format: Format,
    /// Before the handshake of its connection was complete.
    pub(super) is_early: bool,
}

impl Shared {
    /// A heartbeat was refused.
    pub(super) fn refused(&self, sent: Sent, body: &[u8], problem: &Problem) {
        if is_kept(problem) {
            self.keep(sent, body, Code::SchemaUnsupported.as_str(), &problem.detail);
        }
    }

    /// A heartbeat came after a newer one of its agent.
    pub(super) fn overtaken(&self, sent: Sent, body: &[u8]) {
        let Ok(heartbeat) = admission::heartbeat(sent.format, body) else { return };
        if self.shards.is_news(sent.tenant, heartbeat) {
            let detail = "a newer heartbeat of the agent had come before; what this one told \
                          beside that is not known";
            self.keep(sent, body, REORDERED, detail);
        }
    }

    fn keep(&self, sent: Sent, body: &[u8], reason: &str, detail: &str) {
        if sent.is_early {
            return;
        }
        let config = self.shards.config_guard();
        let is_kept = self.durable.keep_letter(DeadLetter {
            tenant: config.tenants.name(sent.tenant).to_owned(),
            source: "heartbeat".to_owned(),
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            body: body.to_vec(),
            transport: sent.transport.as_str().to_owned(),
            media_type: sent.format.media_type().to_owned(),
            agent_id: admission::named(sent.format, body),
            ..DeadLetter::default()
        });
        self.telemetry.dead_letter(is_kept);
    }
}

/// Whether a heartbeat with this problem is kept.
pub(super) fn is_kept(problem: &Problem) -> bool {
    problem.code() == Some(Code::SchemaUnsupported)
}
