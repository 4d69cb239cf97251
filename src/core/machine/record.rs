//! What is kept of one agent: a compact hot record for every heartbeat, and a cold part that most
//! agents never need.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{Command, Health, IncidentKind, Registration, State, Status, event};

use super::stats::Stats;
use crate::cadence::{Bound, Guard};
use crate::{ActionId, AgentKey, Class, ClassId, Config, Millis, Plan, TenantId, VerdictSource};

/// The hot record: what a heartbeat reads and writes, and nothing else. Aligned so that it never
/// lies across more than three cache lines.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct Record {
    pub(super) name: Name,
    pub(super) hash: u64,
    pub(super) incarnation: u64,
    /// Newest sequence accepted.
    pub(super) sequence: u64,
    /// Receipt of the last heartbeat; registration of a `new` agent; leaving of a `stopped` one;
    /// after a restart, the restart and the agent's spread, which may lie ahead.
    pub(super) receipt: Millis,
    pub(super) stats: Stats,
    pub(super) guard: Guard,
    /// Longest interval sent since the last directive that the agent echoed.
    pub(super) in_force_ms: u32,
    /// Interval of the newest directive, before jitter.
    pub(super) effective_ms: u32,
    pub(super) generation: u32,
    /// Missing heartbeats of the present silence that an event has counted.
    pub(super) missed: u32,
    pub(super) source: VerdictSource,
    pub(super) tenant: TenantId,
    pub(super) class: ClassId,
    pub(super) standing: Standing,
    /// How far the newest directive's number lies behind the newest sequence.
    pub(super) lag: Lag,
    pub(super) bound: Bound,
    pub(super) flags: Flags,
    pub(super) cold: Option<Box<Cold>>,
}

const _: () = assert!(size_of::<Record>() <= 160, "a million agents each have one");

/// State (3 bits), health (2) and status (3): the closed sets of `wire` take four bytes each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing(u8);

const _: () = assert!(State::ALL.len() <= 8 && Health::ALL.len() <= 4 && Status::ALL.len() <= 8);

/// Name of an agent: in place up to 30 bytes, which holds a UUID's 24 letters and most names.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) enum Name {
    Short(u8, [u8; 30]),
    Long(Box<str>),
}

/// Distance of two numbers, as long as it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lag(u8);

/// Facts about an agent, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

/// What most agents never need.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Cold {
    pub(super) registration: Option<Registration>,
    pub(super) commands: Vec<Command>,
    /// Incidents so far.
    pub(super) incidents: u32,
    pub(super) incident: Option<Case>,
    /// The one open action; it may outlive its incident.
    pub(super) action: Option<OpenAction>,
    /// Smallest TTL of the leases that the agent holds, in milliseconds.
    pub(super) smallest_lease_ms: Option<u32>,
}

/// An incident under way.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: IncidentKind,
    pub(super) number: u32,
    pub(super) opened: Millis,
    pub(super) plan: Option<Plan>,
    /// Rungs started.
    pub(super) rungs: u8,
    /// Nothing is started before this; it also sets the agent's timer.
    pub(super) act_at: Option<Millis>,
}

/// An action whose outcome is not known yet.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct OpenAction {
    pub(super) id: ActionId,
    pub(super) executor: String,
    pub(super) incident: u32,
    pub(super) rung: u8,
    pub(super) wait_ms: u32,
}

impl Standing {
    pub(super) const fn new(state: State, health: Health, status: Status) -> Self {
        Self(state as u8 | (health as u8) << 3 | (status as u8) << 5)
    }

    const fn state(self) -> State {
        match self.0 & 7 {
            0 => State::New,
            1 => State::Alive,
            2 => State::Suspect,
            3 => State::Failed,
            _ => State::Stopped,
        }
    }

    const fn health(self) -> Health {
        match self.0 >> 3 & 3 {
            0 => Health::Healthy,
            1 => Health::Degraded,
            2 => Health::Unhealthy,
            _ => Health::Stalled,
        }
    }

    const fn status(self) -> Status {
        match self.0 >> 5 {
            0 => Status::Healthy,
            2 => Status::Busy,
            3 => Status::Recovering,
            4 => Status::Stopping,
            _ => Status::Degraded,
        }
    }
}

impl Record {
    /// An agent of which nothing is known yet. The registry sets its generation.
    pub(super) fn new(
        now: Millis,
        key: AgentKey<'_>,
        class: ClassId,
        state: State,
        interval_ms: u32,
    ) -> Self {
        Self {
            name: Name::new(key.id),
            hash: key.hash,
            incarnation: 0,
            sequence: 0,
            receipt: now,
            stats: Stats::default(),
            guard: Guard::new(interval_ms),
            in_force_ms: interval_ms,
            effective_ms: interval_ms,
            generation: 0,
            missed: 0,
            source: VerdictSource::default(),
            tenant: key.tenant,
            class,
            standing: Standing::new(state, Health::Healthy, Status::Healthy),
            lag: Lag::UNKNOWN,
            bound: Bound::None,
            flags: Flags::default().with(Flags::FRESH),
            cold: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.standing.state()
    }

    pub(super) fn health(&self) -> Health {
        self.standing.health()
    }

    pub(super) fn status(&self) -> Status {
        self.standing.status()
    }

    pub(super) fn set_status(&mut self, status: Status) {
        self.standing = Standing::new(self.state(), self.health(), status);
    }

    /// What is durable of it, in numbers.
    pub(super) fn durable(&self) -> event::Standing {
        event::Standing {
            state: self.state() as i32,
            health: self.health() as i32,
            incarnation: self.incarnation,
            interval_ms: self.guard.stored_ms(),
            in_force_ms: self.in_force_ms,
            paused: self.flags.has(Flags::PAUSED),
            since_ms: self.receipt.0,
            heard: self.flags.has(Flags::HEARD),
            leaving: self.status() == Status::Stopping,
        }
    }

    /// Smallest TTL of the leases that it holds, in milliseconds.
    pub(super) fn smallest_lease_ms(&self) -> Option<u32> {
        self.cold.as_ref().and_then(|cold| cold.smallest_lease_ms)
    }

    /// Number of the newest directive; 0 when none is known.
    pub(super) fn directive(&self) -> u64 {
        self.lag.behind(self.sequence).unwrap_or(0)
    }

    /// When the agent has failed, or will have.
    pub(super) fn fails_at(&self, class: &Class, config: &Config) -> Millis {
        if self.flags.has(Flags::HEARD) {
            self.due().plus(class.fail_grace_ms.into())
        } else {
            self.receipt.plus(config.startup_grace_ms.into())
        }
    }

    /// When recovery may act without a second witness.
    pub(super) fn acts_at(&self, class: &Class, config: &Config) -> Millis {
        if self.flags.has(Flags::HEARD) {
            self.due().plus(class.act_grace_ms.max(class.fail_grace_ms).into())
        } else {
            self.fails_at(class, config)
        }
    }

    /// When the next heartbeat is due at the latest, by all that was sent.
    pub(super) fn due(&self) -> Millis {
        self.receipt.plus(self.in_force_ms.into())
    }

    /// Heartbeats missing in a silence up to `now`. The second of slack is the network's.
    pub(super) fn missed_at(&self, now: Millis) -> u32 {
        let silence = now.since(self.receipt).saturating_sub(1_000);
        let in_force = u64::from(self.in_force_ms);
        if silence < in_force || in_force == 0 || !self.flags.has(Flags::HEARD) {
            return 0;
        }
        u32::try_from(silence / in_force).unwrap_or(u32::MAX)
    }
}

impl Name {
    pub(super) fn new(id: &str) -> Self {
        let mut bytes = [0; 30];
        match bytes.get_mut(..id.len()) {
            Some(place) => {
                place.copy_from_slice(id.as_bytes());
                Self::Short(id.len() as u8, bytes)
            }
            None => Self::Long(id.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(text) => text.as_bytes(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            // It was a text when it was copied, and copied whole.
            Self::Short(..) => core::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(..) => 0,
            Self::Long(text) => text.len(),
        }
    }
}

impl Lag {
    pub(super) const ZERO: Self = Self(0);
    pub(super) const UNKNOWN: Self = Self(u8::MAX);

    pub(super) fn grown_by(self, distance: u64) -> Self {
        let lag = u64::from(self.0).saturating_add(distance);
        if self == Self::UNKNOWN { self } else { Self(u8::try_from(lag).unwrap_or(u8::MAX)) }
    }

    fn behind(self, number: u64) -> Option<u64> {
        (self != Self::UNKNOWN).then(|| number.saturating_sub(self.0.into()))
    }
}

impl Flags {
    /// At least one heartbeat has come.
    pub(super) const HEARD: Self = Self(1 << 0);
    /// An operator paused it.
    pub(super) const PAUSED: Self = Self(1 << 1);
    /// A heartbeat waits for its verdict.
    pub(super) const PENDING: Self = Self(1 << 2);
    /// The newest directive was spread over the whole interval.
    pub(super) const SPREAD: Self = Self(1 << 3);
    /// The next directive is the first of its run, within a storm of starts.
    pub(super) const STORM: Self = Self(1 << 4);
    /// A second witness has confirmed the present silence.
    pub(super) const WITNESSED: Self = Self(1 << 5);
    /// The slot is in use.
    pub(super) const USED: Self = Self(1 << 6);
    /// No directive was ever decided.
    pub(super) const FRESH: Self = Self(1 << 7);
    /// It turned suspect or failed while the machine was frozen: shown, and not acted upon.
    pub(super) const UNDURABLE: Self = Self(1 << 8);
    /// Its silence counts from a restart, and not from a heartbeat.
    pub(super) const RESUMED: Self = Self(1 << 9);
    /// Before `resume`: its failure was recorded, and no incident after it.
    pub(super) const UNTREATED: Self = Self(1 << 10);
    /// Before `resume`: it was recorded in a class that has another name now.
    pub(super) const MOVED: Self = Self(1 << 11);
    /// A process before may have told it something else under the number of the newest directive.
    pub(super) const DOUBTFUL: Self = Self(1 << 12);

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }

    pub(super) const fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }
}

impl Cold {
    /// What was told of the agent, if anything.
    pub(super) fn known(&self) -> Option<Registration> {
        self.registration.clone().filter(|known| *known != Registration::default())
    }

    /// Bytes that it occupies, roughly: containers by their contents.
    pub(super) fn bytes(&self) -> usize {
        let registration = self.registration.as_ref().map_or(0, |registration| {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let pairs = registration.labels.iter().map(|(key, value)| key.len() + value.len() + 64);
            let words = registration.capabilities.iter().map(|word| word.len() + 24);
            text(&registration.class)
                + text(&registration.endpoint)
                + pairs.sum::<usize>()
                + words.sum::<usize>()
                + registration.probe.as_ref().map_or(0, |probe| probe.path.len())
        });
        let command =
            |command: &Command| size_of::<Command>() + command.id.len() + command.name.len();
        let plan = |case: &Case| {
            case.plan.as_ref().map_or(0, |plan| {
                plan.reason.len()
                    + plan.rungs.iter().map(|rung| 32 + rung.executor.len()).sum::<usize>()
            })
        };
        size_of::<Self>()
            + registration
            + self.commands.iter().map(command).sum::<usize>()
            + self.incident.as_ref().map_or(0, plan)
    }
}
