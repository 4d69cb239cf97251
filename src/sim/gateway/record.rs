//! What a gateway's journal would record of heartbeats, handed to whoever wants to try policies on
//! it.

use pulsegate_core::{Decision, Event, Ticket, Verdict};

use super::Gateway;
use super::names::TENANT_NAME;
use crate::server::Request;

/// A heartbeat as it was handled.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Tenant of the agent.
    pub tenant: &'a str,
    /// Name of the agent.
    pub agent_id: &'a str,
    /// Class in force.
    pub class: &'a str,
    /// What the policies saw, and of which heartbeat.
    pub ticket: &'a Ticket,
    /// What they proposed.
    pub verdict: &'a Verdict,
    /// What was decided.
    pub decision: &'a Decision,
}

/// Keeps what was seen and decided.
pub trait Recorder {
    /// A heartbeat was decided. One whose verdict came late is not told.
    fn heartbeat(&mut self, taken: &Taken<'_>);
    /// Something happened to an agent.
    fn event(&mut self, event: &pulsegate_wire::Event);
}

impl Gateway {
    /// Has everything told to a recorder from now on.
    pub fn record_to(&mut self, recorder: impl Recorder + 'static) {
        self.recorder = Some(Box::new(recorder));
    }

    #[inline]
    pub(super) fn keep_heartbeat(
        &mut self,
        request: &Request,
        ticket: &Ticket,
        verdict: &Verdict,
        decision: &Decision,
    ) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.heartbeat(&Taken {
            tenant: TENANT_NAME,
            agent_id: self.names.key(request.agent).id,
            class: &self.options.core.classes[decision.class].name,
            ticket,
            verdict,
            decision,
        });
    }

    #[inline]
    pub(super) fn keep_events(&mut self, events: &[Event]) {
        let Some(recorder) = &mut self.recorder else { return };
        for event in events {
            let class = &self.options.core.classes[event.class].name;
            recorder.event(&event.to_wire(TENANT_NAME, class));
        }
    }
}
