//! A world for leases: holders with clocks of their own, a network that loses, delays and repeats,
//! a journal that may be slow or stuck, and a gateway that is killed and comes back. What
//! happens is recorded for the checker.
//!
//! Real time is in microseconds. Everything follows from one seed.

mod gateway;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::event::{self, EventKind, LeaseGranted};
use pulsegate_wire::lease::{CLOCK_DRIFT_PPM, holder_validity_ms};

use super::super::history::Fact;
use super::super::*;
use crate::cadence::mix;

/// A way to do it wrong, to see that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// Holders count the whole TTL, by clocks that may be slow.
    NoDrift,
    /// Holders count from when the answer came.
    CountFromAnswer,
    /// The time in line counts twice.
    WaitTwice,
    /// After a restart leases end when they would have ended without.
    OldExpiry,
    /// A restart begins with no leases.
    ForgetAll,
    /// Tokens are counted anew in each run.
    TokensAnew,
    /// Grants are told at once.
    TellAtOnce,
    /// Grants are told as they were asked for, undone or not.
    NoConfirm,
    /// Releases are told at once.
    ReleaseAtOnce,
    /// A release needs no token.
    AnyRelease,
    /// A renewal needs no token.
    AnyRenew,
    /// A renewal sets the end to now and half the TTL.
    Shorten,
    /// Leases end a tenth of their TTL early.
    EndEarly,
    /// A longer TTL is told at once.
    LengthenAtOnce,
    /// A check passes every token that was ever granted.
    CheckAny,
    /// The last in line is served first.
    LastFirst,
    /// A place that was given up stays in line.
    NoCancel,
    /// A repeated heartbeat is answered with every lease, and holders count from its repetition.
    RepeatAll,
}

/// Splitmix64: the same numbers from the same seed, everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From `low` to `high`, both included.
    pub(super) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// A clock that starts anywhere and runs wrong by up to the bound.
#[derive(Clone, Copy)]
struct Clock {
    offset_us: u64,
    ppm: u64,
}

impl Clock {
    fn roll(dice: &mut Dice) -> Self {
        let bound = CLOCK_DRIFT_PPM;
        // Mostly the extremes, where promises break first.
        let ppm = match dice.within(0, 2) {
            0 => 1_000_000 - bound,
            1 => 1_000_000 + bound,
            _ => 1_000_000 - bound + dice.within(0, 2 * bound),
        };
        Self { offset_us: dice.within(0, 10_000_000), ppm }
    }

    fn read_ms(self, real: u64) -> u64 {
        (self.offset_us + (u128::from(real) * u128::from(self.ppm) / 1_000_000) as u64) / 1_000
    }

    /// The first real microsecond at which it reads this, or a little later.
    fn real_at(self, ms: u64) -> u64 {
        let us = u128::from((ms * 1_000).saturating_sub(self.offset_us));
        (us * 1_000_000).div_ceil(u128::from(self.ppm)) as u64
    }
}

#[derive(Clone, Debug)]
enum Ask {
    Acquire { ttl_ms: u32, wait_us: u64 },
    Renew { token: u64, ttl_ms: Option<u32> },
    Release { token: u64 },
    Check { token: u64 },
    Heartbeat { sequence: u64, is_fit: bool },
}

/// A request under way, with the instant of its sending on its sender's clock.
#[derive(Clone, Debug)]
struct Sent {
    holder: usize,
    name: usize,
    sent_ms: u64,
    ask: Ask,
}

#[derive(Clone, Debug)]
enum Item {
    Arrive(Sent),
    /// Name, token, time to count, for a holder; when it sent what this answers.
    Answer(usize, Vec<(usize, u64, u64)>, u64),
    Act(usize),
    Timers,
    Commit,
    TimeOut(u64),
    GiveUp(WaiterId),
    Freeze,
    Thaw,
    Snapshot,
    Operator,
    Kill,
    Start,
}

/// What waits for the journal.
struct Pending {
    upto: usize,
    sent: Sent,
    /// What was granted; nothing for a release.
    grant: Option<Grant>,
}

struct Snapshot {
    from: usize,
    upto: usize,
    rows: Vec<LeaseGranted>,
}

#[derive(Default)]
struct Holder {
    sequence: u64,
    /// Receipt of the newest heartbeat in this run, and its sequence.
    heard: Option<(u64, Millis)>,
    /// Tokens by lease, as far as it counts on them, and until when on its clock.
    holds: BTreeMap<usize, (u64, u64)>,
    released: BTreeSet<u64>,
}

/// The world.
pub(super) struct World {
    dice: Dice,
    mistake: Mistake,
    real: u64,
    items: BTreeMap<(u64, u64), Item>,
    order: u64,
    pub(super) facts: Vec<(u64, Fact)>,
    clocks: Vec<Clock>,
    holders: Vec<Holder>,
    gateway_clock: Clock,
    /// Core time and the gateway's clock at the last start.
    started: (u64, u64),
    epoch: u32,
    leases: Option<Leases>,
    log: Vec<event::Event>,
    durable: usize,
    committing: bool,
    frozen: bool,
    slow: bool,
    pending: BTreeMap<u64, Pending>,
    lines: BTreeMap<WaiterId, Sent>,
    snapshot: Option<Snapshot>,
    tokens: Vec<(usize, u64)>,
}

const HOLDERS: usize = 4;
const NAMES: usize = 2;
const TENANT: TenantId = TenantId(3);
const HORIZON_US: u64 = 120_000_000;

fn name(index: usize) -> String {
    format!("lease-{index}")
}

fn holder_id(index: usize) -> String {
    format!("holder-{index}")
}

fn index_of(name: &str) -> usize {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("a name of this world")
}

impl World {
    pub(super) fn new(seed: u64, mistake: Mistake) -> Self {
        let mut dice = Dice::new(seed);
        let clocks = (0..HOLDERS).map(|_| Clock::roll(&mut dice)).collect();
        let gateway_clock = Clock::roll(&mut dice);
        let mut world = Self {
            dice,
            mistake,
            real: 0,
            items: BTreeMap::new(),
            order: 0,
            facts: Vec::new(),
            clocks,
            holders: (0..HOLDERS).map(|_| Holder::default()).collect(),
            gateway_clock,
            started: (0, 0),
            epoch: 0,
            leases: None,
            log: Vec::new(),
            durable: 0,
            committing: false,
            frozen: false,
            slow: false,
            pending: BTreeMap::new(),
            lines: BTreeMap::new(),
            snapshot: None,
            tokens: Vec::new(),
        };
        world.after(0, Item::Start);
        world.after(0, Item::Timers);
        for holder in 0..HOLDERS {
            world.after(1_000, Item::Act(holder));
        }
        for (item, longest) in
            [(Item::Freeze, 40), (Item::Snapshot, 20), (Item::Operator, 60), (Item::Kill, 30)]
        {
            let wait = world.dice.within(1_000_000, longest * 1_000_000);
            world.after(wait, item);
        }
        world
    }

    /// Runs the world to its end.
    pub(super) fn run(mut self) -> Vec<(u64, Fact)> {
        while let Some(((real, _), item)) = self.items.pop_first() {
            if real > HORIZON_US {
                break;
            }
            self.real = real;
            self.happen(item);
        }
        self.facts
    }

    fn after(&mut self, us: u64, item: Item) {
        self.order += 1;
        self.items.insert((self.real + us, self.order), item);
    }

    fn fact(&mut self, fact: Fact) {
        self.facts.push((self.real, fact));
    }

    /// Core time, as the gateway reads it now.
    fn now(&self) -> Millis {
        let (core, clock) = self.started;
        Millis(core + self.gateway_clock.read_ms(self.real) - clock)
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Arrive(sent) => self.arrive(sent),
            Item::Answer(holder, leases, sent_ms) => self.hear(holder, &leases, sent_ms),
            Item::Act(holder) => self.act(holder),
            Item::Timers => self.timers(),
            Item::Commit => self.commit(),
            Item::TimeOut(id) => self.time_out(id),
            Item::GiveUp(waiter) => self.give_up(waiter),
            Item::Freeze => self.freeze(true),
            Item::Thaw => self.freeze(false),
            Item::Snapshot => self.take_snapshot(),
            Item::Operator => self.revoke(),
            Item::Kill => self.kill(),
            Item::Start => self.start(),
        }
    }

    // What holders do.

    fn act(&mut self, holder: usize) {
        let wait = self.dice.within(20_000, 1_500_000);
        self.after(wait, Item::Act(holder));
        let name = self.dice.within(0, NAMES as u64 - 1) as usize;
        let lease = self::name(name);
        let sent_ms = self.clocks[holder].read_ms(self.real);
        let held = self.holders[holder].holds.get(&name).copied();
        let ask = match (self.dice.within(0, 99), held) {
            (0..=39, _) => {
                self.holders[holder].sequence += 1;
                let sequence = self.holders[holder].sequence;
                Ask::Heartbeat { sequence, is_fit: self.dice.percent(85) }
            }
            (40..=49, _) => match self.dice.within(0, self.tokens.len() as u64) as usize {
                0 => return,
                chosen => Ask::Check { token: self.tokens[chosen - 1].1 },
            },
            (50..=64, Some((token, _))) => {
                let longer = self.dice.percent(30).then(|| self.dice.within(3_000, 12_000) as u32);
                Ask::Renew { token, ttl_ms: longer }
            }
            (65..=79, Some((token, _))) => {
                self.holders[holder].holds.remove(&name);
                self.holders[holder].released.insert(token);
                self.fact(Fact::ReleaseSent { name: lease, token });
                Ask::Release { token }
            }
            // Somebody who is late: a token that it does not hold any more.
            (80..=84, _) if !self.holders[holder].released.is_empty() => {
                let tokens = &self.holders[holder].released;
                let chosen = self.dice.within(0, tokens.len() as u64 - 1) as usize;
                let token = tokens.iter().nth(chosen).copied().expect("within");
                if self.dice.percent(50) {
                    Ask::Renew { token, ttl_ms: None }
                } else {
                    Ask::Release { token }
                }
            }
            _ => Ask::Acquire {
                ttl_ms: self.dice.within(3_000, 8_000) as u32,
                wait_us: if self.dice.percent(60) { self.dice.within(0, 8_000_000) } else { 0 },
            },
        };
        let name = match ask {
            Ask::Check { token } => {
                self.tokens.iter().find(|known| known.1 == token).map_or(name, |known| known.0)
            }
            _ => name,
        };
        self.send(Sent { holder, name, sent_ms, ask });
    }

    /// Over the network: lost, late, or twice.
    fn send(&mut self, sent: Sent) {
        for _ in 0..if self.dice.percent(12) { 2 } else { 1 } {
            if !self.dice.percent(10) {
                let delay = self.delay();
                self.after(delay, Item::Arrive(sent.clone()));
            }
        }
    }

    fn delay(&mut self) -> u64 {
        match self.dice.within(0, 9) {
            0 => self.dice.within(0, 5_000_000),
            1..=3 => 0,
            _ => self.dice.within(0, 60_000),
        }
    }

    /// Back over the network.
    fn reply(&mut self, holder: usize, leases: Vec<(usize, u64, u64)>, sent_ms: u64) {
        if !self.dice.percent(10) {
            let delay = self.delay();
            self.after(delay, Item::Answer(holder, leases, sent_ms));
        }
    }

    fn hear(&mut self, holder: usize, leases: &[(usize, u64, u64)], sent_ms: u64) {
        let clock = self.clocks[holder];
        for &(lease, token, counted_ms) in leases {
            let is_old = self.holders[holder].holds.get(&lease).is_some_and(|held| held.0 > token);
            if self.holders[holder].released.contains(&token) || is_old {
                continue;
            }
            let validity_ms = match self.mistake {
                Mistake::NoDrift => counted_ms,
                _ => holder_validity_ms(counted_ms),
            };
            let from_ms = match self.mistake {
                Mistake::CountFromAnswer => clock.read_ms(self.real),
                _ => sent_ms,
            };
            let until_ms = from_ms + validity_ms;
            if clock.read_ms(self.real) >= until_ms {
                continue;
            }
            let held = self.holders[holder].holds.entry(lease).or_insert((token, 0));
            *held = (token, if held.0 == token { held.1.max(until_ms) } else { until_ms });
            let until = clock.real_at(held.1);
            self.fact(Fact::Counts { name: name(lease), holder: holder_id(holder), token, until });
        }
    }
}
