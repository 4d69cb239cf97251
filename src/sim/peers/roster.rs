//! What every peer needs: who is known and how it stands, and deadlines that are moved at every
//! heartbeat.
//!
//! A deadline lives in the agent's record, and a queue holds one entry for each agent that counts:
//! it is moved only when it comes up, or when the deadline becomes earlier. So moving a deadline
//! later costs one store, and the queue is asked about once in the length of a deadline, not once a
//! heartbeat.

mod queue;

use queue::Queue;

use crate::server::{
    AgentIndex, Answer, Change, MS, Micros, Outbox, Protocol, Reply, Request, Standing,
};

/// No deadline.
const IDLE: Micros = Micros::MAX;

/// What a request is to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first of an agent, or of a run of it.
    First,
    /// Another one of the same run.
    Again,
    /// The agent has left with it; answered already.
    Left,
    /// Of a run that is over; answered already.
    Refused,
}

#[derive(Debug)]
struct Agent<T> {
    deadline: Micros,
    /// Instant of the one entry of the queue that counts; [`IDLE`] for none.
    queued: Micros,
    incarnation: u64,
    standing: Standing,
    own: T,
}

/// The agents of one server, each with what that server keeps of it.
#[derive(Debug)]
pub(super) struct Roster<T> {
    agents: Vec<Agent<T>>,
    queue: Queue,
}

impl<T: Default> Roster<T> {
    pub(super) fn new() -> Self {
        Self { agents: Vec::new(), queue: Queue::new() }
    }

    /// Takes note of a request, and answers it if the server has nothing to add.
    pub(super) fn arrive(&mut self, request: &Request, out: &mut Outbox) -> Arrival {
        self.grow(request.agent);
        let agent = &mut self.agents[request.agent as usize];
        let known = agent.standing != Standing::Unknown;
        let over = agent.standing == Standing::Stopped && request.incarnation == agent.incarnation;
        if known && (request.incarnation < agent.incarnation || over) {
            reply(request, Answer::Over, out);
            return Arrival::Refused;
        }
        let first = !known || request.incarnation > agent.incarnation;
        agent.incarnation = request.incarnation;
        if request.report.stopping {
            agent.deadline = IDLE;
            self.stand(request.agent, Standing::Stopped, out);
            reply(request, Answer::Over, out);
            return Arrival::Left;
        }
        if first { Arrival::First } else { Arrival::Again }
    }

    fn grow(&mut self, agent: AgentIndex) {
        let length = agent as usize + 1;
        if length > self.agents.len() {
            self.agents.resize_with(length, || Agent {
                deadline: IDLE,
                queued: IDLE,
                incarnation: 0,
                standing: Standing::Unknown,
                own: T::default(),
            });
        }
    }
}

impl<T> Roster<T> {
    /// How an agent stands.
    pub(super) fn standing(&self, agent: AgentIndex) -> Standing {
        self.agents.get(agent as usize).map_or(Standing::Unknown, |agent| agent.standing)
    }

    /// What the server keeps of an agent.
    ///
    /// # Panics
    /// If nothing of this agent ever arrived.
    pub(super) fn own(&mut self, agent: AgentIndex) -> &mut T {
        &mut self.agents[agent as usize].own
    }

    /// Agents that are alive or suspect.
    pub(super) fn watched(&self) -> Vec<AgentIndex> {
        let indices = (0..).zip(&self.agents);
        indices.filter(|(_, agent)| is_watched(agent.standing)).map(|(index, _)| index).collect()
    }

    /// Sets a deadline, or moves it.
    #[inline]
    pub(super) fn arm(&mut self, index: AgentIndex, deadline: Micros) {
        let agent = &mut self.agents[index as usize];
        agent.deadline = deadline;
        if deadline < agent.queued {
            agent.queued = deadline;
            self.queue.push((deadline, index));
        }
    }

    /// Gives out an agent whose deadline has come; it has none then.
    pub(super) fn expired(&mut self, now: Micros) -> Option<AgentIndex> {
        while let Some((at, index)) = self.queue.opened(now) {
            self.requeue(at, index);
        }
        while let Some((at, index)) = self.queue.due(now) {
            let agent = &mut self.agents[index as usize];
            if agent.queued == at && agent.deadline <= now {
                (agent.deadline, agent.queued) = (IDLE, IDLE);
                return Some(index);
            }
            self.requeue(at, index);
        }
        None
    }

    /// Puts an entry where its agent's deadline is now, if the entry counts.
    fn requeue(&mut self, at: Micros, index: AgentIndex) {
        let agent = &mut self.agents[index as usize];
        if agent.queued == at {
            agent.queued = agent.deadline;
            if agent.deadline != IDLE {
                self.queue.push((agent.deadline, index));
            }
        }
    }

    /// No deadline comes before this instant; it may be too early.
    #[inline]
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.queue.next()
    }

    /// Tells how an agent stands now, if that is new.
    #[inline]
    pub(super) fn stand(&mut self, index: AgentIndex, to: Standing, out: &mut Outbox) {
        let standing = &mut self.agents[index as usize].standing;
        if *standing != to {
            *standing = to;
            out.changes.push(Change { agent: index, to });
        }
    }

    /// Passes both edges from alive to failed.
    pub(super) fn fail(&mut self, index: AgentIndex, out: &mut Outbox) {
        if self.standing(index) == Standing::Alive {
            self.stand(index, Standing::Suspect, out);
        }
        self.stand(index, Standing::Failed, out);
    }

    /// Fails whose deadlines have come, and tells how many.
    pub(super) fn fail_expired(&mut self, now: Micros, out: &mut Outbox) -> u64 {
        let mut count = 0;
        while let Some(index) = self.expired(now) {
            self.fail(index, out);
            count += 1;
        }
        count
    }

    /// Loses all deadlines, as a process does that ends.
    pub(super) fn crash(&mut self) {
        self.queue.clear();
        for agent in &mut self.agents {
            (agent.deadline, agent.queued) = (IDLE, IDLE);
        }
    }
}

/// Whether a server waits for this agent's heartbeats.
const fn is_watched(standing: Standing) -> bool {
    matches!(standing, Standing::Alive | Standing::Suspect)
}

/// Agents that send once an interval.
pub(super) fn once_every(interval: Micros) -> Protocol {
    let first_interval_ms = u32::try_from(interval / MS).unwrap_or(u32::MAX);
    Protocol { first_interval_ms, ..Protocol::default() }
}

/// Answers with an interval.
#[inline]
pub(super) fn direct(request: &Request, interval: Micros, out: &mut Outbox) {
    let interval_ms = u32::try_from(interval / MS).unwrap_or(u32::MAX);
    let number = request.sequence;
    reply(request, Answer::Directive { number, interval_ms, lease: None }, out);
}

fn reply(request: &Request, answer: Answer, out: &mut Outbox) {
    let Request { agent, incarnation, sequence, .. } = *request;
    out.replies.push(Reply { agent, incarnation, sequence, answer });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Report;

    fn request(incarnation: u64, stopping: bool) -> Request {
        Request {
            incarnation,
            report: Report { stopping, ..Report::default() },
            ..Request::default()
        }
    }

    fn roster_of(agents: AgentIndex) -> Roster<()> {
        let mut roster = Roster::new();
        for agent in 0..agents {
            roster.arrive(&Request { agent, ..Request::default() }, &mut Outbox::default());
        }
        roster
    }

    #[test]
    fn a_deadline_fires_once_where_it_was_moved_to_last() {
        let mut roster = roster_of(3);
        roster.arm(0, 10);
        roster.arm(1, 20);
        roster.arm(2, 30);
        roster.arm(0, 40);
        roster.arm(2, 15);
        assert_eq!(roster.expired(14), None);
        assert_eq!((roster.expired(15), roster.expired(15)), (Some(2), None));
        assert_eq!((roster.expired(39), roster.expired(39)), (Some(1), None));
        assert_eq!((roster.expired(40), roster.expired(1_000)), (Some(0), None));
        assert_eq!(roster.next_deadline(), None);
    }

    /// Against the plainest of models, with deadlines that move both ways, up to 60 µs, 6 s and
    /// 30 min ahead: in the open slot, over the ring and beyond it.
    #[test]
    fn any_order_of_moves_fires_what_a_plain_list_would() {
        [1, 100_003, 30_000_001].into_iter().for_each(fires_as_a_plain_list);
    }

    fn fires_as_a_plain_list(step: Micros) {
        let mut random = crate::random::Random::new(3, "roster");
        let mut roster = roster_of(20);
        let mut plain = [IDLE; 20];
        for now in (0..20_000).map(|steps| steps * step) {
            if random.happens(0.001) {
                roster.crash();
                plain = [IDLE; 20];
            }
            let agent = random.below(20) as AgentIndex;
            let deadline = now + 1 + random.below(60 * step);
            roster.arm(agent, deadline);
            plain[agent as usize] = deadline;
            let mut fired: Vec<_> = std::iter::from_fn(|| roster.expired(now)).collect();
            fired.sort_unstable();
            let due = (0..20).filter(|index| plain[*index as usize] <= now);
            assert_eq!(fired, due.collect::<Vec<_>>());
            fired.iter().for_each(|index| plain[*index as usize] = IDLE);
            assert_eq!(roster.next_deadline().is_none(), plain == [IDLE; 20]);
            let earliest = plain.iter().min().copied().unwrap_or(IDLE);
            assert!(roster.next_deadline().is_none_or(|next| next <= earliest));
        }
    }

    #[test]
    fn a_run_that_is_over_is_refused_and_a_newer_one_begins_anew() {
        let mut roster = Roster::<()>::new();
        let out = &mut Outbox::default();
        assert_eq!(roster.arrive(&request(5, false), out), Arrival::First);
        roster.stand(0, Standing::Alive, out);
        assert_eq!(roster.arrive(&request(5, false), out), Arrival::Again);
        assert_eq!(roster.arrive(&request(4, false), out), Arrival::Refused);
        assert_eq!(roster.arrive(&request(5, true), out), Arrival::Left);
        assert_eq!(roster.arrive(&request(5, false), out), Arrival::Refused);
        assert_eq!(roster.arrive(&request(6, false), out), Arrival::First);
        assert_eq!(out.replies.len(), 3);
        assert!(out.replies.iter().all(|reply| reply.answer == Answer::Over));
    }

    #[test]
    fn failing_passes_every_edge_in_order() {
        let mut roster = roster_of(1);
        let out = &mut Outbox::default();
        roster.stand(0, Standing::Alive, out);
        roster.fail(0, out);
        roster.fail(0, out);
        let seen: Vec<_> = out.changes.iter().map(|change| change.to).collect();
        assert_eq!(seen, [Standing::Alive, Standing::Suspect, Standing::Failed]);
    }
}
