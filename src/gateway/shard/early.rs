//! What may be handled before the handshake of its connection is complete (0-RTT).
//!
//! Whoever has recorded early data may send it once more, so nothing in it may do more than what
//! a slow network could have done: renew an agent that beats, once. The manual argues why that is
//! harmless (`compact`, Early data).

use pulsegate_core::{AgentInfo, Beat};
use pulsegate_wire::{State, Status};

use super::heartbeat::Incoming;

impl Incoming {
    /// Whether this is nothing but the renewal of an agent that is known as `info`: alive or
    /// suspect, in the same incarnation, with a higher sequence.
    pub(super) fn is_renewal(&self, info: Option<&AgentInfo<'_>>) -> bool {
        let Some(info) = info else { return false };
        let Self { beat, registration, acks, .. } = self;
        let beats = matches!(info.state, State::Alive | State::Suspect);
        let carries = registration.is_some() || !acks.is_empty() || beat.status == Status::Stopping;
        beats && !carries && is_next(beat, info.incarnation, info.sequence)
    }
}

/// A heartbeat without a count could be read twice, and one that was seen renews nothing.
fn is_next(beat: &Beat, incarnation: u64, sequence: u64) -> bool {
    beat.incarnation != 0 && beat.incarnation == incarnation && beat.sequence > sequence
}

#[cfg(test)]
mod tests {
    use pulsegate_core::{ClassId, Classes, Slot, TenantId};
    use pulsegate_wire::{CommandAck, Health, Heartbeat, Probe};

    use super::*;

    fn known(state: State) -> AgentInfo<'static> {
        AgentInfo {
            slot: Slot(1),
            tenant: TenantId(0),
            id: "a",
            state,
            health: Health::Healthy,
            status: Status::Healthy,
            class: ClassId(1),
            incarnation: 7,
            sequence: 41,
            interval_ms: 30_000,
            in_force_ms: 30_000,
            last_receipt: None,
            missed: 0,
            undurable: false,
            paused: false,
            witnessed: false,
            registration: None,
            recovery: None,
        }
    }

    fn renews(change: impl FnOnce(&mut Heartbeat), state: State) -> bool {
        let mut heartbeat = Heartbeat {
            agent_id: "a".into(),
            incarnation: 7,
            sequence: 42,
            ..Heartbeat::default()
        };
        change(&mut heartbeat);
        let incoming = Incoming::take(&mut heartbeat, &Classes::default());
        incoming.is_renewal(Some(&known(state)))
    }

    #[test]
    fn an_agent_that_beats_is_renewed() {
        assert!(renews(|_| {}, State::Alive));
        assert!(renews(|_| {}, State::Suspect));
        assert!(renews(|h| h.sequence = 50, State::Alive), "some were lost");
        assert!(renews(|h| h.metrics = Some(Default::default()), State::Alive));
        assert!(renews(|h| h.set_status(Status::Degraded), State::Alive));
    }

    #[test]
    fn an_agent_that_does_not_beat_is_not_brought_back() {
        for state in [State::New, State::Failed, State::Stopped] {
            assert!(!renews(|_| {}, state), "{state}");
        }
        let mut first = Heartbeat { agent_id: "a".into(), ..Heartbeat::default() };
        assert!(!Incoming::take(&mut first, &Classes::default()).is_renewal(None));
    }

    #[test]
    fn what_could_be_read_twice_is_no_renewal() {
        for (incarnation, sequence) in [(0, 42), (7, 0), (7, 41), (7, 40), (6, 42), (8, 1), (8, 42)]
        {
            let counted = |h: &mut Heartbeat| {
                (h.incarnation, h.sequence) = (incarnation, sequence);
            };
            assert!(!renews(counted, State::Alive), "{incarnation}, {sequence}");
        }
    }

    #[test]
    fn what_lasts_is_no_renewal() {
        assert!(!renews(|h| h.set_status(Status::Stopping), State::Alive));
        assert!(!renews(|h| h.command_acks = vec![CommandAck::default()], State::Alive));
        assert!(!renews(|h| h.class = Some("critical".into()), State::Alive));
        assert!(!renews(|h| drop(h.labels.insert("a".into(), "b".into())), State::Alive));
        assert!(!renews(|h| h.endpoint = Some("x".into()), State::Alive));
        assert!(!renews(|h| h.capabilities = vec!["x".into()], State::Alive));
        assert!(!renews(|h| h.probe = Some(Probe::default()), State::Alive));
    }
}
