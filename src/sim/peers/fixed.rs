//! The rule that everybody starts with: a fixed interval, and a fixed time of silence.
//!
//! [`Fixed::missed`] is the common form, *k missed heartbeats*: agents send each heartbeat once.
//! Source: VRRP's three advertisement intervals (RFC 5798), BFD's detection multiplier (RFC 5880).
//! [`Fixed::with_retries`] is the honest baseline: the intervals and graces of our default
//! class, attempts that are repeated, but one interval for ever. What the gateway's policies add
//! is the distance from this one.
//!
//! Assumed: after a restart each agent is given the whole time of silence again.

use super::roster::{Arrival, Roster, direct, once_every};
use crate::server::{Micros, Outbox, Protocol, Request, SECOND, Server, Standing};

/// A fixed interval, and fixed times of silence.
#[derive(Debug)]
pub struct Fixed {
    interval: Micros,
    /// Silence that makes suspect, counted from the last receipt.
    suspect_after: Micros,
    /// Silence that makes failed; not shorter.
    fail_after: Micros,
    retry_ms: Vec<u32>,
    /// With the instant of the last receipt.
    roster: Roster<Micros>,
}

impl Fixed {
    /// Failed after `missed` intervals of silence; nothing is sent twice.
    #[must_use]
    pub fn missed(interval: Micros, missed: u64) -> Self {
        let silence = interval * missed;
        Self {
            interval,
            suspect_after: silence,
            fail_after: silence,
            retry_ms: Vec::new(),
            roster: Roster::new(),
        }
    }

    /// 30 s, suspect 20 s and failed 61 s after the due time, attempts at +1, +3, +7 and +15 s.
    /// Source: the default class of the gateway.
    #[must_use]
    pub fn with_retries() -> Self {
        Self {
            interval: 30 * SECOND,
            suspect_after: (30 + 20) * SECOND,
            fail_after: (30 + 61) * SECOND,
            retry_ms: vec![1_000, 2_000, 4_000, 8_000],
            roster: Roster::new(),
        }
    }
}

impl Server for Fixed {
    fn protocol(&self) -> Protocol {
        Protocol {
            retry_ms: self.retry_ms.clone(),
            retry_spread: if self.retry_ms.is_empty() { 0.0 } else { 0.2 },
            ..once_every(self.interval)
        }
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let (Arrival::First | Arrival::Again) = self.roster.arrive(request, out) else {
            return;
        };
        *self.roster.own(request.agent) = now;
        self.roster.arm(request.agent, now + self.suspect_after);
        self.roster.stand(request.agent, Standing::Alive, out);
        direct(request, self.interval, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        while let Some(agent) = self.roster.expired(now) {
            let fail_at = *self.roster.own(agent) + self.fail_after;
            if fail_at <= now {
                self.roster.fail(agent, out);
            } else {
                self.roster.stand(agent, Standing::Suspect, out);
                self.roster.arm(agent, fail_at);
            }
        }
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            *self.roster.own(agent) = now;
            let suspect = self.roster.standing(agent) == Standing::Suspect;
            let silence = if suspect { self.fail_after } else { self.suspect_after };
            self.roster.arm(agent, now + silence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::driver::{Story, stopping};

    #[test]
    fn three_missed_heartbeats_are_ninety_seconds_of_silence() {
        let mut story = Story::of(Fixed::missed(30 * SECOND, 3));
        story.beat(0, 0);
        story.beat(30 * SECOND, 0);
        assert_eq!(story.standing_at(120 * SECOND - 1, 0), Standing::Alive);
        assert_eq!(story.standing_at(120 * SECOND, 0), Standing::Failed);
        story.beat(121 * SECOND, 0);
        assert_eq!(story.standing_at(121 * SECOND, 0), Standing::Alive);
        assert_eq!(story.intervals, [30_000; 3]);
        assert!(story.server.protocol().retry_ms.is_empty());
    }

    #[test]
    fn the_baseline_suspects_after_twenty_and_fails_after_sixty_one_seconds_past_due() {
        let mut story = Story::of(Fixed::with_retries());
        story.beat(0, 0);
        assert_eq!(story.standing_at(50 * SECOND - 1, 0), Standing::Alive);
        assert_eq!(story.standing_at(50 * SECOND, 0), Standing::Suspect);
        assert_eq!(story.standing_at(91 * SECOND - 1, 0), Standing::Suspect);
        assert_eq!(story.standing_at(91 * SECOND, 0), Standing::Failed);
        let retries: u32 = story.server.protocol().retry_ms.iter().sum();
        assert_eq!(retries, 15_000, "the last attempt is well within the grace");
    }

    #[test]
    fn who_has_left_is_not_failed() {
        let mut story = Story::of(Fixed::missed(10 * SECOND, 3));
        story.beat(0, 0);
        story.send(5 * SECOND, &stopping(0));
        assert_eq!(story.standing_at(1_000 * SECOND, 0), Standing::Stopped);
    }

    #[test]
    fn a_restart_gives_the_whole_silence_again() {
        let mut story = Story::of(Fixed::with_retries());
        story.beat(0, 0);
        story.beat(10 * SECOND, 1);
        assert_eq!(story.standing_at(55 * SECOND, 0), Standing::Suspect);
        story.server.crash(56 * SECOND);
        assert_eq!(story.server.next_deadline(), None);
        story.restart(100 * SECOND);
        assert_eq!(story.standing_at(149 * SECOND, 1), Standing::Alive);
        assert_eq!(story.standing_at(150 * SECOND, 1), Standing::Suspect);
        assert_eq!(story.standing_at(190 * SECOND, 0), Standing::Suspect);
        assert_eq!(story.standing_at(191 * SECOND, 0), Standing::Failed);
    }
}
