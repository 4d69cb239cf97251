//! A fleet, a network and a server on virtual time.
//!
//! ```text
//! timer → agent → network → server.handle → network → agent → timer …
//!         life and script: crashes, pauses, surges, partitions, outages
//!         server.handle_deadlines → changes of standing → observer
//! ```
//! Invariants: time never goes back; the same seed and options give the same history; whoever
//! watches ([`Observer`]) is told of everything and changes nothing.

use crate::agent::{Agent, NEVER, Running, Ways, Work};
use crate::clocks::Drift;
use crate::lives::{Fate, Life, Lives, Lots};
use crate::network::{Links, Network, Partition, SLOW};
use crate::queue::{Queue, Slab, What};
use crate::random::Random;
use crate::server::{
    AgentIndex, Answer, Change, LeaseTold, Micros, Outbox, Protocol, Reply, Request, Server,
};

/// Who watches a world.
pub trait Observer {
    /// An agent's process has started.
    fn started(&mut self, _now: Micros, _agent: AgentIndex) {}
    /// An agent's process has ended; gracefully, or as if killed.
    fn ended(&mut self, _now: Micros, _agent: AgentIndex, _graceful: bool) {}
    /// An agent stands still, or goes on.
    fn paused(&mut self, _now: Micros, _agent: AgentIndex, _paused: bool) {}
    /// An agent has much to do from now on, or no longer.
    fn surged(&mut self, _now: Micros, _agent: AgentIndex, _begins: bool) {}
    /// An attempt was sent; whether it will arrive, and soon.
    fn sent(&mut self, _now: Micros, _request: &Request, _good: bool) {}
    /// An attempt has arrived, and the server took it.
    fn arrived(&mut self, _now: Micros, _request: &Request) {}
    /// An attempt has arrived, and no server was there.
    fn refused(&mut self, _now: Micros, _request: &Request) {}
    /// An answer has arrived, and belonged to an open heartbeat.
    fn answered(&mut self, _now: Micros, _reply: &Reply) {}
    /// An agent stands otherwise with its server.
    fn changed(&mut self, _now: Micros, _change: Change) {}
    /// An agent counts on a lease until this instant.
    fn counts_on(&mut self, _now: Micros, _agent: AgentIndex, _told: LeaseTold, _until: Micros) {}
    /// The server has ended, or is there again.
    fn served(&mut self, _now: Micros, _up: bool) {}
    /// The server has stood still for so long.
    fn stalled(&mut self, _now: Micros, _lasted: Micros) {}
}

/// Nobody watches.
impl Observer for () {}

/// What happens to everybody, at its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// A partition begins.
    Cut(Partition),
    /// It ends.
    Mend,
    /// This share of the agents is killed and starts again within this time.
    Restart {
        /// Share of the agents, by a hash of their number.
        share: f64,
        /// They come back within this time, each at another.
        within: Micros,
    },
    /// The server is killed.
    Crash,
    /// The next one begins.
    Recover,
    /// The server is killed at the next moment at which something is not durable; the next one
    /// begins after so long.
    Kill(Micros),
    /// The server stands still for so long.
    Stall(Micros),
}

/// What a world is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Agents.
    pub agents: u32,
    /// They start within this time, each at another.
    pub start_within: Micros,
    /// The network.
    pub network: Network,
    /// Their clocks.
    pub drift: Drift,
    /// Their lives.
    pub lives: Lives,
    /// What happens to everybody, in order.
    pub script: Vec<(Micros, Act)>,
    /// Leases that agents want: each agent at most one, the first agents the first leases, so many
    /// agents for each.
    pub leases: u32,
    /// Agents that want the same lease.
    pub rivals: u32,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            seed: 1,
            agents: 100,
            start_within: 30 * crate::server::SECOND,
            network: Network::default(),
            drift: Drift::None,
            lives: Lives::default(),
            script: Vec::new(),
            leases: 0,
            rivals: 0,
        }
    }
}

/// A fleet, a network and a server.
pub struct World<S, O = ()> {
    now: Micros,
    seed: u64,
    queue: Queue,
    agents: Vec<Agent>,
    lives: Vec<Life>,
    lots: Lots,
    links: Links,
    drift: Drift,
    protocol: Protocol,
    random: Random,
    requests: Slab<Request>,
    replies: Slab<Reply>,
    script: std::vec::IntoIter<(Micros, Act)>,
    next_act: Option<Act>,
    /// The server runs.
    is_up: bool,
    /// Until when the server stands still.
    stalled_until: Micros,
    stalled_since: Micros,
    /// It is to be killed when it is busy, and to begin again after so long.
    aim: Option<Micros>,
    /// What arrived meanwhile.
    backlog: Vec<Request>,
    out: Outbox,
    /// Attempts that were handled.
    handled: u64,
    /// Attempts that were sent.
    sent: u64,
    /// Changes of direction of agents' intervals.
    turns: u64,
    /// The server.
    pub server: S,
    /// Who watches.
    pub observer: O,
}

impl<S: Server, O: Observer> World<S, O> {
    /// A fleet that starts, before a server.
    #[must_use]
    pub fn new(setting: &Setting, server: S, observer: O) -> Self {
        let mut script = setting.script.clone();
        script.sort_by_key(|(at, _)| *at);
        let mut world = Self {
            now: 0,
            seed: setting.seed,
            queue: Queue::default(),
            agents: vec![Agent::new(); setting.agents as usize],
            lives: Vec::new(),
            lots: Lots::new(setting.lives.clone(), setting.seed),
            links: Links::new(setting.network.clone(), setting.agents, setting.seed),
            drift: setting.drift,
            protocol: server.protocol(),
            random: Random::new(setting.seed, "agents"),
            requests: Slab::default(),
            replies: Slab::default(),
            script: script.into_iter(),
            next_act: None,
            is_up: true,
            stalled_until: 0,
            stalled_since: 0,
            aim: None,
            backlog: Vec::new(),
            out: Outbox::default(),
            handled: 0,
            sent: 0,
            turns: 0,
            server,
            observer,
        };
        world.people(setting);
        world.plan_act();
        world
    }

    /// Gives every agent its first start, and what it wants.
    fn people(&mut self, setting: &Setting) {
        let mut starts = Random::new(setting.seed, "starts");
        for index in 0..setting.agents {
            let start = starts.below(setting.start_within.max(1));
            let mut life = self.lots.birth(start);
            life.process = (start, Fate::Start);
            self.lives.push(life);
            self.set_life(index);
            let agent = &mut self.agents[index as usize];
            agent.report.queue_depth = setting.lives.have_queue.then_some(0);
            agent.report.active_tasks = setting.lives.tasks;
            agent.work.active = setting.lives.tasks.unwrap_or(0);
            let lease = index.checked_div(setting.rivals).filter(|&lease| lease < setting.leases);
            agent.wants = lease;
        }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Attempts that the server has handled.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// Attempts that were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Changes of direction of agents' intervals.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Whether an agent runs.
    #[must_use]
    pub fn running(&self, agent: AgentIndex) -> Running {
        self.agents[agent as usize].running
    }

    /// Number of agents.
    #[must_use]
    pub fn agents(&self) -> u32 {
        self.agents.len() as u32
    }

    /// Leases that somebody wants.
    #[must_use]
    pub fn leases_wanted(&self) -> usize {
        let wanted: std::collections::BTreeSet<u32> =
            self.agents.iter().filter_map(|agent| agent.wants).collect();
        wanted.len()
    }

    /// The interval that an agent keeps, in milliseconds, and the run that keeps it.
    #[must_use]
    pub fn interval(&self, agent: AgentIndex) -> (u32, u64) {
        let agent = &self.agents[agent as usize];
        (agent.interval_ms, agent.incarnation)
    }

    /// From now on everything goes well: nothing is lost or cut off, nobody dies, whoever is down
    /// or paused goes on, and the server runs.
    pub fn heal(&mut self) {
        self.links.heal();
        self.lots.heal();
        self.drift = Drift::None;
        self.script = Vec::new().into_iter();
        self.next_act = None;
        self.aim = None;
        if self.stalled_until != 0 {
            self.go_on();
        }
        if !self.is_up {
            self.act(Act::Recover);
        }
        for index in 0..self.agents() {
            let life = &mut self.lives[index as usize];
            life.process.0 = if life.process.1 == Fate::Start { self.now } else { NEVER };
            life.pause.0 = if life.pause.1 == Fate::Resume { self.now } else { NEVER };
            life.work.0 = if life.work.1 == Fate::Calm { self.now } else { NEVER };
            self.set_life(index);
        }
    }

    /// Lets time pass until this instant.
    pub fn run_until(&mut self, until: Micros) {
        while self.step(until) {}
    }

    /// Lets the next thing happen, if it does so by `until`; otherwise time comes to that.
    #[inline]
    pub fn step(&mut self, until: Micros) -> bool {
        let deadline = self.deadline();
        let event = self.queue.next_at().unwrap_or(NEVER);
        let next = deadline.min(event);
        if next > until {
            self.now = self.now.max(until);
            return false;
        }
        self.now = self.now.max(next);
        if deadline <= event {
            if self.stalled_until == 0 {
                self.server.handle_deadlines(self.now, &mut self.out);
                self.deliver();
            } else {
                self.go_on();
            }
        } else if let Some((_, what)) = self.queue.pop() {
            self.happen(what);
        }
        if self.aim.is_some() {
            self.aim();
        }
        true
    }

    /// Kills a server that is to be killed, and is busy.
    #[cold]
    fn aim(&mut self) {
        if let Some(lasts) = self.aim.filter(|_| self.is_up && self.server.is_busy()) {
            self.aim = None;
            self.act(Act::Crash);
            self.queue.push(self.now + lasts, What::Recover);
        }
    }

    #[inline]
    fn deadline(&self) -> Micros {
        if !self.is_up {
            return NEVER;
        }
        if self.stalled_until != 0 {
            return self.stalled_until;
        }
        self.server.next_deadline().unwrap_or(NEVER)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Timer(agent) => self.timer(agent),
            What::Request(place) => {
                let request = self.requests.take(place);
                self.arrive(&request);
            }
            What::Reply(place) => {
                let reply = self.replies.take(place);
                self.answer(&reply);
            }
            What::Life(agent) => self.live(agent),
            What::Recover => self.act(Act::Recover),
            What::Act => {
                if let Some(act) = self.next_act.take() {
                    self.act(act);
                    self.plan_act();
                }
            }
        }
    }

    fn plan_act(&mut self) {
        if let Some((at, act)) = self.script.next() {
            self.next_act = Some(act);
            self.queue.push(at.max(self.now), What::Act);
        }
    }

    // --- agents

    /// What an agent does now, with its own clock and chance.
    #[inline]
    fn with<R>(
        &mut self,
        index: AgentIndex,
        act: impl FnOnce(&mut Agent, &mut Ways<'_>) -> R,
    ) -> R {
        let (drift, seed, now) = (self.drift, self.seed, self.now);
        let stretch = |span| drift.true_span(seed, index, now, span);
        let mut ways =
            Ways { protocol: &self.protocol, random: &mut self.random, stretch: &stretch };
        act(&mut self.agents[index as usize], &mut ways)
    }

    fn timer(&mut self, index: AgentIndex) {
        let agent = &mut self.agents[index as usize];
        if agent.timer_at <= self.now {
            agent.timer_at = NEVER;
        }
        self.poll(index);
    }

    /// Lets an agent do what it wants to do now, and sets its timer.
    #[inline]
    fn poll(&mut self, index: AgentIndex) {
        let now = self.now;
        let request = self.with(index, |agent, ways| agent.poll(now, ways));
        let mut is_answered_soon = false;
        if let Some(mut request) = request {
            request.agent = index;
            request.sent_at = now;
            is_answered_soon = self.send(&request);
        }
        self.set_timer(index, is_answered_soon);
    }

    /// An attempt goes out. Whether its arrival comes before the agent wants to do anything else.
    #[inline]
    fn send(&mut self, request: &Request) -> bool {
        let fate = self.links.request(self.now, request.agent);
        self.sent += 1;
        let is_good = fate[0].is_some_and(|at| at <= self.now + SLOW);
        self.observer.sent(self.now, request, is_good);
        for at in fate.into_iter().flatten() {
            let place = self.requests.insert(*request);
            self.queue.push(at, What::Request(place));
        }
        fate[0].is_some_and(|at| at < self.agents[request.agent as usize].wants_timer_at())
    }

    /// Queues the agent's timer, if none is queued that comes in time. While an attempt or its
    /// answer is sure to arrive before that, the arrival looks after the timer.
    #[inline]
    fn set_timer(&mut self, index: AgentIndex, is_answered_soon: bool) {
        let agent = &mut self.agents[index as usize];
        if agent.running != Running::Up || is_answered_soon {
            return;
        }
        let at = agent.wants_timer_at();
        if at < agent.timer_at && at != NEVER {
            agent.timer_at = at;
            self.queue.push(at.max(self.now), What::Timer(index));
        }
    }

    fn answer(&mut self, reply: &Reply) {
        let (index, now) = (reply.agent, self.now);
        match self.running(index) {
            Running::Up => {}
            Running::Paused => {
                // It lies in a buffer until the process goes on.
                let (resumes, _) = self.lives[index as usize].pause;
                let place = self.replies.insert(*reply);
                return self.queue.push(resumes.max(now) + 1, What::Reply(place));
            }
            Running::Down | Running::Left => return,
        }
        let before = self.agents[index as usize].holds;
        if self.with(index, |agent, ways| agent.receive(now, reply, ways)) {
            self.observer.answered(now, reply);
            let agent = &self.agents[index as usize];
            if let Some((told, until)) = agent.holds.filter(|_| agent.holds != before) {
                self.observer.counts_on(now, index, told, until);
            }
            if agent.running == Running::Down {
                self.die(index, false);
            } else if agent.report.stopping && matches!(reply.answer, Answer::Directive { .. }) {
                self.die(index, true);
            }
        }
        self.poll(index);
    }

    // --- the server

    #[inline]
    fn arrive(&mut self, request: &Request) {
        if !self.is_up {
            self.observer.refused(self.now, request);
            return self.set_timer(request.agent, false);
        }
        if self.stalled_until != 0 {
            self.backlog.push(*request);
            return self.set_timer(request.agent, false);
        }
        self.handle(request);
    }

    #[inline]
    fn handle(&mut self, request: &Request) {
        self.handled += 1;
        self.observer.arrived(self.now, request);
        self.server.handle(self.now, request, &mut self.out);
        let is_answered = self.deliver_to(request.agent);
        self.set_timer(request.agent, is_answered);
    }

    /// Hands out what a call of the server caused.
    fn deliver(&mut self) {
        self.deliver_to(AgentIndex::MAX);
    }

    /// The same; whether this agent gets an answer before it wants to do anything else.
    #[inline]
    fn deliver_to(&mut self, asking: AgentIndex) -> bool {
        let mut is_answered = false;
        let mut out = std::mem::take(&mut self.out);
        for reply in out.replies.drain(..) {
            let fate = self.links.reply(self.now, reply.agent);
            for at in fate.into_iter().flatten() {
                let place = self.replies.insert(reply);
                self.queue.push(at, What::Reply(place));
            }
            is_answered |= reply.agent == asking
                && fate[0].is_some_and(|at| at < self.agents[asking as usize].wants_timer_at());
        }
        for change in out.changes.drain(..) {
            self.observer.changed(self.now, change);
        }
        self.turns += std::mem::take(&mut out.turns);
        let restarts = std::mem::take(&mut out.restarts);
        self.out = out;
        for agent in restarts {
            self.replace(agent);
        }
        is_answered
    }

    /// The server goes on after it stood still. Its timers and what arrived meanwhile race; here
    /// the timers win, which is the worse order.
    fn go_on(&mut self) {
        let lasted = self.now - self.stalled_since;
        self.stalled_until = 0;
        self.server.stalled(self.now, lasted);
        self.observer.stalled(self.now, lasted);
        self.server.handle_deadlines(self.now, &mut self.out);
        self.deliver();
        for request in std::mem::take(&mut self.backlog) {
            self.handle(&request);
        }
    }

    // --- lives

    fn live(&mut self, index: AgentIndex) {
        let now = self.now;
        let life = self.lives[index as usize];
        if life.queued_at <= now {
            self.lives[index as usize].queued_at = NEVER;
        }
        for (at, fate) in [life.process, life.pause, life.work] {
            if at <= now {
                self.befall(index, fate);
            }
        }
        self.set_life(index);
    }

    /// Queues what happens next to an agent, if nothing is queued that comes in time.
    fn set_life(&mut self, index: AgentIndex) {
        let life = &mut self.lives[index as usize];
        let next = life.next_at();
        if next < life.queued_at {
            life.queued_at = next;
            self.queue.push(next.max(self.now), What::Life(index));
        }
    }

    fn befall(&mut self, index: AgentIndex, fate: Fate) {
        let now = self.now;
        let place = index as usize;
        match fate {
            Fate::Start => {
                self.begin(index);
                self.lives[place].process = self.lots.next_end(now);
            }
            Fate::Warn => {
                self.agents[place].report.degraded = true;
                self.lives[place].process = self.lots.after_warning(now);
            }
            Fate::Crash => self.die(index, false),
            Fate::Leave => {
                if self.running(index) == Running::Up {
                    self.agents[place].report.stopping = true;
                    self.agents[place].due = now;
                    // Should nobody ever answer, it goes all the same.
                    self.lives[place].process = (now + crate::server::MINUTE, Fate::Crash);
                    self.poll(index);
                } else {
                    self.die(index, false);
                }
            }
            Fate::Pause => {
                let up = self.running(index) == Running::Up;
                self.lives[place].pause =
                    if up { self.lots.next_resume(now) } else { self.lots.next_pause(now) };
                if up {
                    self.agents[place].running = Running::Paused;
                    self.observer.paused(now, index, true);
                }
            }
            Fate::Resume => {
                self.lives[place].pause = self.lots.next_pause(now);
                if self.running(index) == Running::Paused {
                    self.agents[place].running = Running::Up;
                    self.observer.paused(now, index, false);
                    self.poll(index);
                }
            }
            Fate::Surge => {
                let depth = self.lots.lives.surges.map_or(0, |surges| surges.depth);
                self.lives[place].work = self.lots.next_calm(now);
                let active = self.lots.lives.tasks.unwrap_or(0) + 1;
                self.work(index, Work { depth, active });
            }
            Fate::Calm => {
                self.lives[place].work = self.lots.next_surge(now);
                let active = self.lots.lives.tasks.unwrap_or(0);
                self.work(index, Work { depth: 0, active });
            }
        }
    }

    fn work(&mut self, index: AgentIndex, work: Work) {
        let now = self.now;
        self.agents[index as usize].work = work;
        if self.running(index) == Running::Up {
            self.observer.surged(now, index, work.depth > 0);
            self.with(index, |agent, ways| agent.watch(now, ways));
            self.poll(index);
        }
    }

    fn begin(&mut self, index: AgentIndex) {
        let now = self.now;
        if matches!(self.running(index), Running::Up | Running::Paused) {
            self.observer.ended(now, index, false);
        }
        let incarnation = self.agents[index as usize].incarnation + 1;
        self.with(index, |agent, ways| agent.start(now, incarnation, ways));
        self.observer.started(now, index);
        self.poll(index);
    }

    /// The process ends as if killed; another will start, unless nobody ever dies here.
    fn die(&mut self, index: AgentIndex, graceful: bool) {
        let ran = !matches!(self.running(index), Running::Left)
            && self.lives[index as usize].process.1 != Fate::Start;
        self.agents[index as usize].running = if graceful { Running::Left } else { Running::Down };
        if ran {
            self.observer.ended(self.now, index, graceful);
            self.lives[index as usize].process = self.lots.next_start(self.now);
            self.set_life(index);
        }
    }

    /// Recovery has started the agent anew.
    fn replace(&mut self, index: AgentIndex) {
        self.begin(index);
        let life = &mut self.lives[index as usize];
        life.process = self.lots.next_end(self.now);
        if life.pause.1 == Fate::Resume {
            life.pause = self.lots.next_pause(self.now);
        }
        self.set_life(index);
    }

    // --- the script

    /// Does something to everybody now.
    pub fn act(&mut self, act: Act) {
        match act {
            Act::Cut(partition) => self.links.partition = Some(partition),
            Act::Mend => self.links.partition = None,
            Act::Restart { share, within } => self.restart_many(share, within),
            Act::Crash if self.is_up => {
                self.is_up = false;
                (self.stalled_until, self.stalled_since) = (0, 0);
                self.backlog.clear();
                self.server.crash(self.now);
                self.observer.served(self.now, false);
            }
            Act::Recover if !self.is_up => {
                self.is_up = true;
                self.observer.served(self.now, true);
                self.server.restart(self.now, &mut self.out);
                self.deliver();
            }
            Act::Kill(lasts) => self.aim = Some(lasts),
            Act::Stall(lasts) if self.is_up && self.stalled_until == 0 => {
                self.stalled_since = self.now;
                self.stalled_until = self.now + lasts.max(1);
            }
            Act::Crash | Act::Recover | Act::Stall(_) => {}
        }
    }

    fn restart_many(&mut self, share: f64, within: Micros) {
        let now = self.now;
        let chosen = Partition { share, salt: now, to_server: false, to_agents: false };
        let mut starts = Random::new(self.seed ^ now, "restart");
        for index in 0..self.agents() {
            if !chosen.holds(index) || self.running(index) != Running::Up {
                continue;
            }
            self.observer.ended(now, index, false);
            self.agents[index as usize].running = Running::Down;
            let at = now + starts.below(within.max(1));
            self.lives[index as usize].process = (at, Fate::Start);
            self.set_life(index);
        }
    }
}
