//! What happens on the stage: every input of the demo changes its state here, is counted, and
//! becomes a line for people.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pulsegate_core::{Classes, Event, EventKind, IncidentKind};
use pulsegate_wire::{Health, State};

use super::agent::{Order, Report};
use super::config::Speed;
use super::control::Restart;
use super::fleet::{Fleet, Member, Phase};
use super::scenario::Happening;
use super::supervisor::{News, Place, Supervisor};
use super::tally::{Share, Surge, Tally, Trouble, TroubleKind, note};
use crate::cli::text::duration;

/// Queue below which a surge is over, in pieces.
const CALM: u64 = 20;
/// Real time after which an agent that left comes back.
const REJOIN_AFTER: Duration = Duration::from_secs(10);
/// Lines kept for the view.
const LINES: usize = 200;

/// Something to do later.
enum Due {
    Resume(Place),
    Start(usize),
}

/// The demo's state.
pub(super) struct Stage {
    pub(super) speed: Speed,
    pub(super) classes: Classes,
    pub(super) fleet: Fleet,
    pub(super) supervisor: Supervisor,
    pub(super) tally: Tally,
    pub(super) started: Instant,
    /// What happened lately, in words, oldest first, with the number of lines ever written.
    pub(super) lines: VecDeque<String>,
    pub(super) written: u64,
    later: Vec<(Instant, Due)>,
}

impl Stage {
    pub(super) fn new(
        speed: Speed,
        classes: Classes,
        fleet: Fleet,
        supervisor: Supervisor,
        started: Instant,
    ) -> Self {
        Self {
            speed,
            classes,
            fleet,
            supervisor,
            tally: Tally::default(),
            started,
            lines: VecDeque::new(),
            written: 0,
            later: Vec::new(),
        }
    }

    /// Starts a process for an agent.
    pub(super) async fn start(&mut self, index: usize) -> std::io::Result<()> {
        self.enter(index, Phase::Starting);
        self.fleet.members[index].report = Report::default();
        self.supervisor.start(index, &self.fleet.members[index]).await
    }

    /// The fleet is there: heartbeats and time are compared from here on, because everybody's
    /// first heartbeats would weigh too much in a short run.
    pub(super) fn begin(&mut self, now: Instant) {
        self.account_all(now);
        self.tally.begin();
    }

    /// Does what is due.
    pub(super) async fn handle_tick(&mut self, now: Instant) {
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, due) in due {
            match due {
                Due::Resume(place) => self.resume(place),
                Due::Start(index) => self.start_or_tell(index).await,
            }
        }
    }

    /// Lets something happen to an agent that fits; says whether there was one.
    pub(super) async fn handle_happening(&mut self, happening: Happening, number: u64) -> bool {
        // One tenth of the fleet may be down at once: more would be a mass failure, which
        // recovery answers differently.
        let down = [Phase::Paused, Phase::Resumed, Phase::Down];
        let crowded = self.fleet.count(&down) >= (self.fleet.members.len() / 10).max(2);
        if crowded && matches!(happening, Happening::Crash | Happening::Hang | Happening::Hiccup) {
            return false;
        }
        let well = |member: &Member| {
            member.phase == Phase::Well && member.surge.is_none() && member.report.heartbeats > 1
        };
        let index = match happening {
            // A background agent is missed only after minutes: one in eight is enough to see it.
            Happening::Crash | Happening::Hang | Happening::Stall if !number.is_multiple_of(8) => {
                self.fleet.pick(number / 8, |member| well(member) && member.class != "background")
            }
            Happening::Hiccup => {
                self.fleet.pick(number, |member| well(member) && member.class == "normal")
            }
            _ => self.fleet.pick(number, well),
        };
        match index {
            Some(index) => self.befall(index, happening).await,
            None => return false,
        }
        true
    }

    async fn befall(&mut self, index: usize, happening: Happening) {
        match happening {
            Happening::Surge(pieces) => self.surge(index, pieces).await,
            Happening::Crash => {
                self.fall(index, Phase::Down, TroubleKind::Crash);
                self.supervisor.kill(index).await;
                self.say(index, "crashes (killed)");
            }
            Happening::Hang => {
                self.fall(index, Phase::Down, TroubleKind::Hang);
                self.supervisor.pause(index);
                self.say(index, "hangs (stopped)");
            }
            Happening::Stall => {
                self.fall(index, Phase::Stalled, TroubleKind::Stall);
                self.supervisor.tell(index, Order::Stall).await;
                self.say(index, "gets nothing done any more, but goes on beating");
            }
            Happening::Hiccup => self.hiccup(index),
            Happening::Leave => {
                self.enter(index, Phase::Leaving);
                self.tally.left += 1;
                self.supervisor.tell(index, Order::Leave).await;
                self.say(index, "leaves gracefully");
            }
        }
    }

    async fn surge(&mut self, index: usize, pieces: f64) {
        self.account(index, Instant::now());
        let early_before = self.fleet.members[index].report.early;
        self.fleet.members[index].surge = Some(self.tally.surges.len());
        let at = Instant::now();
        self.tally.surges.push(Surge { at, early_before, early: None, tightened: None });
        self.supervisor.tell(index, Order::Surge(pieces)).await;
    }

    fn fall(&mut self, index: usize, phase: Phase, kind: TroubleKind) {
        self.enter(index, phase);
        let class = self.classes.find(self.fleet.members[index].class);
        let class = &self.classes[class.unwrap_or_default()];
        let promise = Duration::from_millis(class.detect_within_ms.into());
        self.fleet.members[index].trouble = Some(self.tally.troubles.len());
        self.tally.troubles.push(Trouble::new(kind, Instant::now(), promise));
    }

    fn hiccup(&mut self, index: usize) {
        self.enter(index, Phase::Paused);
        let class = &self.classes[self.classes.normal()];
        let interval = self.fleet.members[index].report.interval_ms;
        // Long enough to be suspect where the interval allows it, too short to fail.
        let pause = (interval + u64::from(class.suspect_grace_ms) * 3 / 2)
            .min(u64::from(class.fail_grace_ms) * 9 / 10);
        let place = self.supervisor.place(index);
        self.later.push((Instant::now() + Duration::from_millis(pause), Due::Resume(place)));
        self.tally.hiccups += 1;
        self.supervisor.pause(index);
        self.say(index, &format!("is stopped for {}", duration(pause)));
    }

    fn resume(&mut self, place: Place) {
        let is_paused = self.fleet.members[place.index].phase == Phase::Paused;
        if is_paused && self.supervisor.is_current(place) {
            self.enter(place.index, Phase::Resumed);
            self.supervisor.resume(place.index);
        }
    }

    async fn start_or_tell(&mut self, index: usize) {
        if let Err(error) = self.start(index).await {
            self.say(index, &format!("could not be started: {error}"));
        }
    }

    /// Takes what a process tells.
    pub(super) async fn handle_news(&mut self, news: News) {
        match news {
            News::Report(place, report) if self.supervisor.is_current(place) => {
                self.handle_report(place.index, report);
            }
            News::Gone(place) if self.supervisor.is_current(place) => self.gone(place.index).await,
            _ => {}
        }
    }

    fn handle_report(&mut self, index: usize, report: Report) {
        let now = Instant::now();
        let member = &mut self.fleet.members[index];
        let before = member.report.heartbeats + member.report.retries;
        let new = (report.heartbeats + report.retries).saturating_sub(before);
        let sent = Share { time: Duration::ZERO, heartbeats: new };
        self.tally.add(member.class, member.surge.is_some(), sent);
        member.report = report;
        // What a stopped process wrote before it was stopped is no sign that it goes on.
        if matches!(member.phase, Phase::Starting | Phase::Resumed) {
            self.back(index, now);
        }
        self.follow_surge(index, now);
        self.explain_move(index);
    }

    /// An agent that was away is answered again.
    fn back(&mut self, index: usize, now: Instant) {
        self.enter(index, Phase::Well);
        let Some(trouble) = self.fleet.members[index].trouble.take() else { return };
        let trouble = &mut self.tally.troubles[trouble];
        note(&mut trouble.back, trouble.at, now);
        let after = trouble.back.unwrap_or_default();
        let by = if trouble.asked.is_some() { "restarted by exec" } else { "restarted" };
        let after = duration(after.as_millis() as u64);
        self.say(index, &format!("{by}, back {after} after its fall"));
    }

    fn follow_surge(&mut self, index: usize, now: Instant) {
        let member = &self.fleet.members[index];
        let Some(surge) = member.surge else { return };
        let (early, queue, rising) =
            (member.report.early, member.report.queue, member.report.rising);
        let surge = &mut self.tally.surges[surge];
        if early > surge.early_before {
            note(&mut surge.early, surge.at, now);
        }
        if queue < CALM && !rising && surge.at.elapsed() > Duration::from_secs(1) {
            self.account(index, now);
            self.fleet.members[index].surge = None;
        }
    }

    /// Says why an interval moved: the event tells that it did, the directive tells why.
    fn explain_move(&mut self, index: usize) {
        let member = &mut self.fleet.members[index];
        let Some((from, to)) = member.moved.take() else { return };
        let (report, in_surge) = (&member.report, member.surge.is_some());
        if to >= from && !in_surge {
            return;
        }
        let trend = if report.rising { "rising" } else { "falling" };
        let text = format!(
            "queue {} and {trend}: {} → {} ({}: {})",
            report.queue,
            duration(from.into()),
            duration(to.into()),
            report.policy,
            report.reason
        );
        self.say(index, &text);
    }

    async fn gone(&mut self, index: usize) {
        let phase = self.fleet.members[index].phase;
        self.supervisor.reap(index).await;
        match phase {
            Phase::Down | Phase::Left => {}
            Phase::Leaving => {
                self.enter(index, Phase::Left);
                self.later.push((Instant::now() + REJOIN_AFTER, Due::Start(index)));
            }
            // It did what the command `restart` asks for: end, and be started again.
            _ => {
                self.say(index, "ended, and is started again");
                self.later.push((Instant::now(), Due::Start(index)));
                self.enter(index, Phase::Starting);
            }
        }
    }

    /// An executor's program asks for a new process.
    pub(super) async fn handle_restart(&mut self, wish: Restart) {
        let mut done = false;
        if let Some(index) = self.fleet.find(&wish.agent) {
            let now = Instant::now();
            if let Some(trouble) = self.fleet.members[index].trouble {
                let trouble = &mut self.tally.troubles[trouble];
                note(&mut trouble.asked, trouble.at, now);
            }
            match self.start(index).await {
                Ok(()) => done = true,
                Err(error) => self.say(index, &format!("could not be started: {error}")),
            }
        }
        // A program that has given up waiting needs no answer.
        let _heard = wish.done.send(done);
    }

    /// Takes a fact from the gateway.
    pub(super) fn handle_event(&mut self, event: &Event) {
        let Some(index) = self.fleet.find(&event.agent_id) else { return };
        let now = Instant::now();
        let member = &mut self.fleet.members[index];
        match &event.kind {
            EventKind::Registered { state, .. } => member.state = Some(*state),
            EventKind::Heard | EventKind::Restarted { .. } => member.state = Some(State::Alive),
            EventKind::Suspected { last_receipt, .. } => {
                member.state = Some(State::Suspect);
                self.suspected(index, event.at.since(*last_receipt), now);
            }
            EventKind::Failed { last_receipt, .. } => {
                member.state = Some(State::Failed);
                self.failed(index, event.at.since(*last_receipt), now);
            }
            EventKind::Recovered { from, silent_ms, .. } => {
                member.state = Some(State::Alive);
                self.tally.hiccups_returned += u64::from(member.hiccup_suspected);
                member.hiccup_suspected = false;
                if *from == State::Suspect && member.trouble.is_none() {
                    let silence = duration(*silent_ms);
                    self.say(index, &format!("beats again after {silence}: suspect → alive"));
                }
            }
            EventKind::Stopped => {
                member.state = Some(State::Stopped);
                self.tally.left_noticed += 1;
            }
            EventKind::Forgotten { .. } => member.state = None,
            EventKind::HealthChanged { to, .. } => self.judged(index, *to, now),
            EventKind::CadenceMoved { from_ms, to_ms, turned, .. } => {
                self.moved(index, (*from_ms, *to_ms), *turned, now);
            }
            EventKind::IncidentOpened { kind: IncidentKind::Health, .. } => {
                self.say(index, "stays unwell: recovery begins");
            }
            EventKind::ActionStarted { .. } => self.tally.actions_started += 1,
            EventKind::ActionEnded { outcome, executor, .. } => {
                let done = *outcome == pulsegate_core::ActionOutcome::Done;
                if !done && executor == "restart" {
                    self.tally.actions_failed += 1;
                    self.say(index, "could not be restarted by exec");
                }
            }
            _ => {}
        }
    }

    fn suspected(&mut self, index: usize, silent_ms: u64, now: Instant) {
        let member = &mut self.fleet.members[index];
        let silence = duration(silent_ms);
        if let Some(trouble) = member.trouble.map(|trouble| &mut self.tally.troubles[trouble]) {
            note(&mut trouble.suspect, trouble.at, now);
        } else if matches!(member.phase, Phase::Paused | Phase::Resumed) {
            member.hiccup_suspected = true;
            self.tally.hiccups_suspected += 1;
        } else if matches!(member.phase, Phase::Well | Phase::Starting) {
            self.tally.false_suspicions += 1;
            self.say(index, &format!("silent for {silence}, though nothing was done to it"));
            return;
        }
        self.say(index, &format!("silent for {silence}: alive → suspect"));
    }

    fn failed(&mut self, index: usize, silent_ms: u64, now: Instant) {
        if let Some(trouble) = self.fleet.members[index].trouble {
            let trouble = &mut self.tally.troubles[trouble];
            note(&mut trouble.failed, trouble.at, now);
        }
        self.say(index, &format!("silent for {}: suspect → failed", duration(silent_ms)));
    }

    fn judged(&mut self, index: usize, health: Health, now: Instant) {
        let member = &mut self.fleet.members[index];
        member.health = health;
        if health != Health::Stalled {
            return;
        }
        if let Some(trouble) = member.trouble {
            let trouble = &mut self.tally.troubles[trouble];
            note(&mut trouble.stalled, trouble.at, now);
        }
        self.say(index, "makes no progress: judged stalled");
    }

    fn moved(&mut self, index: usize, (from, to): (u32, u32), turned: bool, now: Instant) {
        self.tally.moves += 1;
        self.tally.turns += u64::from(turned);
        let member = &mut self.fleet.members[index];
        let first = member.moved.map_or(from, |(first, _)| first);
        member.moved = Some((first, to));
        if let Some(surge) = member.surge.filter(|_| to < from) {
            let surge = &mut self.tally.surges[surge];
            note(&mut surge.tightened, surge.at, now);
        }
    }

    /// Accounts for the time up to now of an agent that beats.
    fn account(&mut self, index: usize, now: Instant) {
        let member = &mut self.fleet.members[index];
        let time = now.saturating_duration_since(member.since);
        member.since = now;
        if matches!(member.phase, Phase::Well | Phase::Stalled) {
            let lived = Share { time, heartbeats: 0 };
            self.tally.add(member.class, member.surge.is_some(), lived);
        }
    }

    /// Accounts for everybody's time up to now.
    pub(super) fn account_all(&mut self, now: Instant) {
        for index in 0..self.fleet.members.len() {
            self.account(index, now);
        }
    }

    fn enter(&mut self, index: usize, phase: Phase) {
        self.account(index, Instant::now());
        let member = &mut self.fleet.members[index];
        member.phase = phase;
        if phase != Phase::Well {
            member.surge = None;
        }
    }

    fn say(&mut self, index: usize, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("{seconds:6.1} s  {}  {text}", self.fleet.members[index].id);
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.written += 1;
    }
}
