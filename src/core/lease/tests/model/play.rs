//! Holders who ask, renew, release, wait and beat; an operator; a journal that may be slow, stuck
//! or cut off by the end of a process.

use alloc::collections::BTreeMap;
use alloc::format;

use pulsegate_wire::lease::{CLOCK_DRIFT_PPM, holder_validity_ms};

use super::*;
use crate::testing::explorer::Model;

/// One thing that may happen. Holder and name come first; the last number is for how many units a
/// request was on its way, and a `bool` after it whether the answer arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    /// A unit of time goes by, and what is due is handled.
    Step,
    /// With a TTL, in units; in line or not.
    Acquire(u8, u8, u8, bool, u64),
    /// With the token that the holder has; for longer, or not.
    Renew(u8, u8, Option<u8>, u64, bool),
    /// With a token that does not hold it.
    RenewOld(u8),
    Release(u8, u8),
    ReleaseOld(u8),
    /// A heartbeat; fit, or not.
    Beat(u8, bool, u64, bool),
    Revoke(u8),
    /// The last who came gives up.
    Cancel,
    /// All that was told becomes durable, and is answered.
    Commit(bool),
    /// The oldest that waits for the journal has waited too long.
    TimeOut,
    Freeze(bool),
    Crash(u8),
}

/// What waits for the journal.
#[derive(Clone, Debug)]
struct Pending {
    holder: u8,
    name: u8,
    sent: Millis,
    /// Since when it waits.
    since: Millis,
    /// What was granted; nothing for a release.
    grant: Option<Grant>,
}

/// What a holder counts on: until when in the gateway's time, by the slowest clock of the holder
/// and the fastest of the gateway.
#[derive(Clone, Copy, Debug)]
struct Counts {
    token: u64,
    until: Millis,
    is_revoked: bool,
}

#[derive(Clone)]
pub(super) struct Moment {
    now: Millis,
    epoch: u32,
    leases: Leases,
    /// What a restart may find, the oldest first.
    finds: Vec<Leases>,
    pending: Vec<Pending>,
    waiting: Vec<(WaiterId, u8, u8, Millis)>,
    counts: BTreeMap<(u8, u8), Counts>,
    /// By name: token and TTL that the holder was told, until the end of the lease.
    told: BTreeMap<u8, (u64, u32)>,
    newest: u64,
}

pub(super) struct Play {
    pub(super) alphabet: Vec<Input>,
    pub(super) keeps: usize,
}

type Next = Result<Option<Moment>, String>;

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn key(name: u8) -> Key<'static> {
    Key { tenant: TENANT, name: ["x", "y"][usize::from(name)] }
}

fn holder_id(holder: u8) -> &'static str {
    ["a", "b", "c"][usize::from(holder)]
}

fn index(text: &str) -> u8 {
    match text.as_bytes()[0] {
        letter @ b'a'..=b'c' => letter - b'a',
        letter => letter - b'x',
    }
}

fn lease(leases: &Leases, name: u8) -> Option<&Lease> {
    leases.table.find(key(name)).map(|slot| &leases.table[slot])
}

impl Moment {
    fn wait(&mut self, holder: u8, name: u8, sent: Millis, grant: Option<Grant>) {
        self.pending.push(Pending { holder, name, sent, since: self.now, grant });
    }

    /// A holder has heard of its lease: of what it sent then, for so long.
    fn hear(
        &mut self,
        (holder, name): (u8, u8),
        token: u64,
        sent: Millis,
        counted_ms: u64,
    ) -> Result<(), String> {
        let slow = 1_000_000 - CLOCK_DRIFT_PPM;
        let real_ms =
            (holder_validity_ms(counted_ms) * (1_000_000 + CLOCK_DRIFT_PPM)).div_ceil(slow);
        let until = sent.plus(real_ms);
        let known = self.counts.get(&(holder, name)).copied();
        let is_old = known.is_some_and(|known| known.token > token);
        if until <= self.now || is_old {
            return Ok(());
        }
        let other = self.counts.iter().find(|((other, lease), counts)| {
            *lease == name && *other != holder && counts.until > self.now && !counts.is_revoked
        });
        expect(other.is_none(), || {
            let who = holder_id(holder);
            format!("{who} counts on {name} with {token}, and so does another: {other:?}")
        })?;
        let same = known.filter(|known| known.token == token);
        let until = same.map_or(until, |known| known.until.max(until));
        let is_revoked = same.is_some_and(|known| known.is_revoked);
        self.counts.insert((holder, name), Counts { token, until, is_revoked });
        Ok(())
    }

    /// Takes in what a call caused. `released` is the token that a holder gave back in it.
    fn take(&mut self, before: &Leases, effects: Effects, asked: Asked) -> Result<(), String> {
        for event in &effects.events {
            expect(!self.leases.frozen, || format!("{event:?} cannot be recorded"))?;
            let mut find = self.finds.last().expect("something is found").clone();
            find.apply(TENANT, &event.to_wire("default"));
            self.finds.push(find);
            self.follow(before, event, asked)?;
        }
        for Answer { waiter, result } in effects.answers {
            let place = self.waiting.iter().position(|waiting| waiting.0 == waiter);
            let place = place.ok_or_else(|| format!("{waiter:?} does not wait"))?;
            let (_, holder, name, sent) = self.waiting.remove(place);
            if let Ok(grant) = result {
                let line = lease(&self.leases, name).map(|lease| &lease.line);
                let is_first = line.is_some_and(|line| line.iter().all(|other| other.id > waiter));
                expect(is_first, || format!("{waiter:?} was served before others"))?;
                self.wait(holder, name, sent, Some(grant));
            }
        }
        for change in &effects.holders {
            let last = effects.holders.iter().rev().find(|other| other.holder == change.holder);
            let known = self.leases.smallest_ttl_ms(change.tenant, &change.holder);
            expect(last.and_then(|last| last.smallest_ttl_ms) == known, || format!("{change:?}"))?;
        }
        Ok(())
    }

    fn follow(&mut self, before: &Leases, event: &Event, asked: Asked) -> Result<(), String> {
        match &event.kind {
            EventKind::LeaseGranted(granted) => {
                let name = index(&granted.name);
                if lease(before, name).is_some_and(|lease| lease.token == granted.token) {
                    return Ok(());
                }
                let newest = core::mem::replace(&mut self.newest, granted.token);
                expect(granted.token > newest, || format!("{event:?} after token {newest}"))
            }
            EventKind::LeaseEnded(ended) => {
                let name = index(&ended.name);
                let was = lease(before, name).filter(|lease| lease.token == ended.token);
                let was = was.ok_or_else(|| format!("{event:?} of a lease that is not there"))?;
                let counts = self.counts.iter().find(|(at, counts)| {
                    at.1 == name && counts.token == ended.token && counts.until > self.now
                });
                let is_free = counts.is_none_or(|(_, counts)| counts.is_revoked);
                let may = match ended.reason.as_str() {
                    "expired" => was.expires <= self.now && is_free,
                    "undone" => self.told.get(&name).is_none_or(|told| told.0 != ended.token),
                    "released" => asked == Asked::Release(ended.token) && is_free,
                    _ => asked == Asked::Revoke(name),
                };
                self.told.remove(&name);
                expect(may, || format!("{event:?} of {was:?}"))
            }
            other => Err(format!("{other:?} is about no lease")),
        }
    }

    /// What has to hold in every state.
    fn check(&self, before: &Leases) -> Result<(), String> {
        let table = &self.leases.table;
        let rows = |leases: &Leases| {
            let mut rows: Vec<_> = leases.export().map(|(_, row)| row).collect();
            rows.sort_by(|one, other| one.name.cmp(&other.name));
            rows
        };
        let found = rows(self.finds.last().expect("something is found"));
        // A longer TTL that was taken back stays recorded: a restart is late at worst.
        let live = rows(&self.leases);
        let is_recorded = live.len() == found.len()
            && live.iter().zip(&found).all(|(live, found)| {
                (&live.name, &live.holder, live.token) == (&found.name, &found.holder, found.token)
                    && live.ttl_ms <= found.ttl_ms
            });
        expect(self.leases.frozen || is_recorded, || {
            format!("recorded is {found:?}, and there is {live:?}")
        })?;
        let mut line = 0;
        for slot in table.slots() {
            let lease = &table[slot];
            let name = index(&lease.name);
            line += lease.line.len();
            expect(table.find(key(name)) == Some(slot), || format!("{name} is not found"))?;
            expect(lease.timer <= lease.expires, || format!("{lease:?} fires too late"))?;
            expect(table.held_by(TENANT, &lease.holder).contains(&slot), || format!("{lease:?}"))?;
            expect(lease.asked_ttl_ms >= lease.told_ttl_ms, || format!("{lease:?}"))?;
            let is_in_order = lease.line.iter().is_sorted_by_key(|waiter| waiter.id);
            expect(is_in_order, || format!("the line of {lease:?}"))?;
            if let Some(was) = self::lease(before, name).filter(|was| was.token == lease.token) {
                let is_kept = lease.undone || lease.expires >= was.expires;
                expect(is_kept, || format!("{was:?} was shortened to {lease:?}"))?;
            }
        }
        let places = (line, self.waiting.len(), self.leases.counts().1);
        expect(line == places.1 && line == places.2, || format!("{places:?} wait"))?;
        let told_held = self.told.iter().all(|(&name, &(token, ttl_ms))| {
            lease(&self.leases, name)
                .is_some_and(|lease| lease.token == token && lease.told_ttl_ms >= ttl_ms)
        });
        expect(told_held, || format!("{:?} were told, and do not hold", self.told))?;
        let early = self.counts.iter().find(|(at, counts)| {
            let name = at.1;
            let held = lease(&self.leases, name).filter(|lease| lease.token == counts.token);
            !counts.is_revoked
                && counts.until > self.now
                && held.is_none_or(|held| held.expires < counts.until)
        });
        expect(early.is_none(), || format!("{early:?} outlasts its lease"))
    }
}

/// What was asked for, by which a lease may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Release(u64),
    Revoke(u8),
}

impl Play {
    fn call<T>(
        &self,
        moment: &Moment,
        asked: Asked,
        call: impl FnOnce(&mut Leases, Millis, &mut Effects) -> T,
    ) -> Result<(Moment, T, bool), String> {
        let mut next = moment.clone();
        let mut effects = Effects::default();
        let answer = call(&mut next.leases, next.now, &mut effects);
        let is_silent = effects.is_empty();
        next.take(&moment.leases, effects, asked)?;
        Ok((next, answer, is_silent))
    }

    fn end(&self, mut next: Moment, before: &Leases) -> Next {
        let now = next.now;
        next.counts.retain(|_, counts| counts.until > now);
        next.check(before)?;
        let spare = next.finds.len().saturating_sub(self.keeps + 1);
        next.finds.drain(..spare);
        Ok(Some(next))
    }

    /// A grant: told at once, or once it is durable.
    fn granted(
        next: &mut Moment,
        (holder, name): (u8, u8),
        sent: Millis,
        grant: Grant,
        hears: bool,
    ) -> Result<(), String> {
        if grant.waits {
            next.wait(holder, name, sent, Some(grant));
            return Ok(());
        }
        next.told.insert(name, (grant.token, grant.ttl_ms));
        if hears {
            next.hear((holder, name), grant.token, sent, grant.ttl_ms.into())?;
        }
        Ok(())
    }

    fn acquire(&self, moment: &Moment, at: (u8, u8), ttl: u8, wait: bool, age: u64) -> Next {
        if moment.pending.len() >= PENDING || moment.waiting.len() >= PLACES && wait {
            return Ok(None);
        }
        let sent = Millis(moment.now.0 - age * UNIT_MS);
        let ttl_ms = u32::from(ttl) * UNIT_MS as u32;
        let request = Request { key: key(at.1), holder: holder_id(at.0), ttl_ms, wait };
        let (mut next, answer, _) =
            self.call(moment, Asked::Nothing, |leases, now, e| leases.acquire(now, &request, e))?;
        match answer {
            Ok(Acquired::Granted(grant)) => Self::granted(&mut next, at, sent, grant, true)?,
            Ok(Acquired::Waiting(waiter)) => next.waiting.push((waiter, at.0, at.1, sent)),
            Err(Refusal::Held { .. } | Refusal::ReadOnly) => {}
            Err(other) => return Err(format!("{other:?}")),
        }
        self.end(next, &moment.leases)
    }

    fn renew(&self, moment: &Moment, at: (u8, u8), ttl: Option<u8>, age: u64, hears: bool) -> Next {
        let Some(held) = moment.counts.get(&at) else { return Ok(None) };
        if moment.pending.len() >= PENDING {
            return Ok(None);
        }
        let sent = Millis(moment.now.0 - age * UNIT_MS);
        let ttl_ms = ttl.map(|units| u32::from(units) * UNIT_MS as u32);
        let token = held.token;
        let (mut next, answer, _) = self.call(moment, Asked::Nothing, |leases, now, effects| {
            leases.renew(now, key(at.1), token, ttl_ms, effects)
        })?;
        match answer {
            Ok(grant) => {
                expect(grant.token == token, || format!("{grant:?} by token {token}"))?;
                Self::granted(&mut next, at, sent, grant, hears)?;
            }
            // Who still counts on its lease is not refused, unless it was taken away.
            Err(_) => expect(held.is_revoked || moment.leases.frozen, || format!("{answer:?}"))?,
        }
        self.end(next, &moment.leases)
    }

    /// Renewal or release by a token that does not hold the lease: nothing changes.
    fn stale(&self, moment: &Moment, name: u8, releases: bool) -> Next {
        let Some(held) = lease(&moment.leases, name) else { return Ok(None) };
        let (token, is_over) = (held.token - 1, held.is_over(moment.now));
        let (next, is_done, is_silent) = self.call(moment, Asked::Nothing, |leases, now, e| {
            if releases {
                leases.release(now, key(name), token, e) == Ok(true)
            } else {
                leases.renew(now, key(name), token, None, e).is_ok()
            }
        })?;
        expect(!is_done && (is_silent || is_over), || format!("token {token} did something"))?;
        self.end(next, &moment.leases)
    }

    fn release(&self, moment: &Moment, at: (u8, u8)) -> Next {
        let Some(held) = moment.counts.get(&at) else { return Ok(None) };
        if moment.pending.len() >= PENDING {
            return Ok(None);
        }
        let token = held.token;
        let mut begun = moment.clone();
        begun.counts.remove(&at);
        let (mut next, answer, _) =
            self.call(&begun, Asked::Release(token), |leases, now, e| {
                leases.release(now, key(at.1), token, e)
            })?;
        if answer.is_ok() {
            let again =
                next.leases.clone().release(next.now, key(at.1), token, &mut Effects::default());
            expect(again == Ok(false), || format!("released again: {again:?}"))?;
            next.wait(at.0, at.1, moment.now, None);
        }
        self.end(next, &moment.leases)
    }

    fn beat(&self, moment: &Moment, holder: u8, is_fit: bool, age: u64, hears: bool) -> Next {
        let sent = Millis(moment.now.0 - age * UNIT_MS);
        let (mut next, directive, _) = self.call(moment, Asked::Nothing, |leases, now, _| {
            let mut directive = Vec::new();
            leases.renew_held(now, TENANT, holder_id(holder), is_fit, &mut directive);
            directive
        })?;
        expect(is_fit || directive.is_empty(), || "one that is not fit was renewed".into())?;
        for told in directive {
            let name = index(&told.name);
            next.told.insert(name, (told.token, told.ttl_ms as u32));
            if hears {
                next.hear((holder, name), told.token, sent, told.ttl_ms)?;
            }
        }
        self.end(next, &moment.leases)
    }

    fn step(&self, moment: &Moment) -> Next {
        let mut begun = moment.clone();
        begun.now = begun.now.plus(UNIT_MS);
        let is_late = |at: Millis| begun.now.since(at) > u64::from(PATIENCE) * UNIT_MS;
        for waiter in begun.waiting.extract_if(.., |waiting| is_late(waiting.3)) {
            expect(begun.leases.cancel(waiter.0), || format!("{waiter:?} is not there"))?;
        }
        let before = begun.leases.clone();
        let too_slow = |pending: &mut Pending| begun.now.since(pending.since) > SLOWEST * UNIT_MS;
        let late: Vec<_> = begun.pending.extract_if(.., too_slow).collect();
        let (next, ..) = self.call(&begun, Asked::Nothing, |leases, now, effects| {
            let grants = late.iter().filter_map(|pending| pending.grant.as_ref());
            grants.for_each(|grant| leases.undo(now, grant, effects));
            while leases.handle_deadlines(now, 1, effects) {}
        })?;
        let over =
            next.leases.table.slots().find(|&slot| next.leases.table[slot].is_over(next.now));
        expect(over.is_none() || next.leases.frozen, || "a lease is over and goes on".into())?;
        let deadline = next.leases.next_deadline();
        expect(deadline.is_none_or(|at| at > next.now), || format!("{deadline:?} has passed"))?;
        self.end(next, &before)
    }

    fn commit(&self, moment: &Moment, hears: bool) -> Next {
        let mut next = moment.clone();
        if next.leases.frozen || next.finds.len() == 1 && next.pending.is_empty() {
            return Ok(None);
        }
        next.finds.drain(..moment.finds.len() - 1);
        for Pending { holder, name, sent, grant, .. } in core::mem::take(&mut next.pending) {
            let Some(grant) = grant else { continue };
            let (after, told, _) = self.call(&next, Asked::Nothing, |leases, now, effects| {
                leases.confirm(now, &grant, effects)
            })?;
            next = after;
            let Some(told) = told else { continue };
            let known = next.told.get(&name).filter(|known| known.0 == told.token);
            let longest = known.map_or(0, |known| known.1).max(told.ttl_ms);
            next.told.insert(name, (told.token, longest));
            if hears {
                let counted_ms = u64::from(told.ttl_ms) + told.waited_ms;
                next.hear((holder, name), told.token, sent, counted_ms)?;
            }
        }
        self.end(next, &moment.leases)
    }

    fn time_out(&self, moment: &Moment) -> Next {
        let mut begun = moment.clone();
        if begun.pending.is_empty() {
            return Ok(None);
        }
        let Some(grant) = begun.pending.remove(0).grant else {
            return self.end(begun, &moment.leases);
        };
        let (next, ..) = self.call(&begun, Asked::Nothing, |leases, now, effects| {
            leases.undo(now, &grant, effects);
        })?;
        self.end(next, &moment.leases)
    }

    fn revoke(&self, moment: &Moment, name: u8) -> Next {
        let mut begun = moment.clone();
        let frozen = begun.leases.frozen;
        for (_, counts) in begun.counts.iter_mut().filter(|(at, _)| at.1 == name && !frozen) {
            counts.is_revoked = true;
        }
        let (next, ..) = self.call(&begun, Asked::Revoke(name), |leases, now, effects| {
            let _ = leases.revoke(now, key(name), effects);
        })?;
        self.end(next, &moment.leases)
    }

    fn freeze(&self, moment: &Moment, on: bool) -> Next {
        if moment.leases.frozen == on {
            return Ok(None);
        }
        let (next, ..) = self.call(moment, Asked::Nothing, |leases, now, effects| {
            leases.set_frozen(on);
            while !on && leases.handle_deadlines(now, 1, effects) {}
        })?;
        self.end(next, &moment.leases)
    }

    fn crash(&self, moment: &Moment, lost: usize) -> Next {
        if lost >= moment.finds.len() {
            return Ok(None);
        }
        let find = moment.finds[moment.finds.len() - 1 - lost].clone();
        for (&name, &(token, ttl_ms)) in &moment.told {
            let found = lease(&find, name);
            let is_kept = found.is_some_and(|found| {
                found.token > token || found.token == token && found.asked_ttl_ms >= ttl_ms
            });
            expect(is_kept, || format!("token {token} of {name} was told, found is {found:?}"))?;
        }
        let mut next = moment.clone();
        next.epoch += 1;
        let mut leases = Leases::new(next.epoch);
        find.export().for_each(|(tenant, row)| leases.restore(tenant, &row));
        leases.resume(next.now, &mut Effects::default());
        let whole = leases.table.iter().all(|lease| {
            lease.expires == next.now.plus(lease.asked_ttl_ms.into()) && lease.line.is_empty()
        });
        expect(whole, || format!("{leases:?} after a restart"))?;
        // A restart tells by its TTLs what was asked for; holders know what they were told.
        next.told.clear();
        (next.leases, next.finds) = (leases, [find].into());
        (next.pending, next.waiting) = (Vec::new(), Vec::new());
        let before = next.leases.clone();
        self.end(next, &before)
    }
}

impl Model for Play {
    type State = Moment;
    type Input = Input;

    fn initial(&mut self) -> Moment {
        Moment {
            now: Millis(1_000 * UNIT_MS),
            epoch: 1,
            leases: Leases::new(1),
            finds: [Leases::new(0)].into(),
            pending: Vec::new(),
            waiting: Vec::new(),
            counts: BTreeMap::new(),
            told: BTreeMap::new(),
            newest: 0,
        }
    }

    fn inputs(&self, _: &Moment, inputs: &mut Vec<Input>) {
        inputs.extend_from_slice(&self.alphabet);
    }

    fn next(&mut self, moment: &Moment, input: Input) -> Next {
        match input {
            Input::Step => self.step(moment),
            Input::Acquire(holder, name, ttl, wait, age) => {
                self.acquire(moment, (holder, name), ttl, wait, age)
            }
            Input::Renew(holder, name, ttl, age, hears) => {
                self.renew(moment, (holder, name), ttl, age, hears)
            }
            Input::RenewOld(name) => self.stale(moment, name, false),
            Input::Release(holder, name) => self.release(moment, (holder, name)),
            Input::ReleaseOld(name) => self.stale(moment, name, true),
            Input::Beat(holder, is_fit, age, hears) => {
                self.beat(moment, holder, is_fit, age, hears)
            }
            Input::Revoke(name) => self.revoke(moment, name),
            Input::Cancel => {
                let mut next = moment.clone();
                let Some((waiter, ..)) = next.waiting.pop() else { return Ok(None) };
                expect(next.leases.cancel(waiter), || format!("{waiter:?} is not there"))?;
                self.end(next, &moment.leases)
            }
            Input::Commit(hears) => self.commit(moment, hears),
            Input::TimeOut => self.time_out(moment),
            Input::Freeze(on) => self.freeze(moment, on),
            Input::Crash(lost) => self.crash(moment, lost.into()),
        }
    }

    fn form(&self, moment: &Moment, form: &mut Vec<u8>) {
        form::form(moment, form);
    }

    fn schedules(&self) -> usize {
        1
    }

    /// Nobody asks for anything more, and the journal works: whoever waits is answered.
    fn goes_on(&self, moment: &Moment, _: usize) -> Option<Input> {
        let is_settled = moment.waiting.is_empty() && moment.pending.is_empty();
        Some(if is_settled {
            return None;
        } else if moment.leases.frozen {
            Input::Freeze(false)
        } else if !moment.pending.is_empty() {
            Input::Commit(true)
        } else {
            Input::Step
        })
    }
}

/// What decides how it goes on: tokens and places in line by their order, instants from now.
mod form {
    use super::*;

    pub(super) fn form(moment: &Moment, form: &mut Vec<u8>) {
        let now = moment.now;
        let tokens = tokens(moment);
        let rank = |token: u64| (tokens.len() - tokens.partition_point(|&t| t < token)) as u8;
        form.push(moment.leases.frozen.into());
        table(form, now, &moment.leases, &rank);
        for find in &moment.finds {
            form.push(b'f');
            table(form, now, find, &rank);
        }
        form.push(b'p');
        for Pending { holder, name, sent, since, grant } in &moment.pending {
            form.extend([*holder, *name, grant.is_some().into()]);
            instant(form, now, *sent);
            instant(form, now, *since);
            if let Some(grant) = grant {
                form.push(rank(grant.token));
                form.extend(grant.ttl_ms.to_le_bytes());
                form.extend((grant.waited_ms as u32).to_le_bytes());
            }
        }
        form.push(b'w');
        for (_, holder, name, sent) in &moment.waiting {
            form.extend([*holder, *name]);
            instant(form, now, *sent);
        }
        form.push(b'c');
        for ((holder, name), counts) in &moment.counts {
            form.extend([*holder, *name, rank(counts.token), counts.is_revoked.into()]);
            instant(form, now, counts.until);
        }
        form.push(b't');
        for (name, (token, ttl_ms)) in &moment.told {
            form.extend([*name, rank(*token)]);
            form.extend(ttl_ms.to_le_bytes());
        }
    }

    /// Every token that anything is compared with, in order.
    fn tokens(moment: &Moment) -> Vec<u64> {
        let tables = moment.finds.iter().chain([&moment.leases]);
        let mut tokens: Vec<u64> =
            tables.flat_map(|leases| leases.table.iter().map(|lease| lease.token)).collect();
        let grants = moment.pending.iter().filter_map(|pending| pending.grant.as_ref());
        tokens.extend(grants.map(|grant| grant.token));
        tokens.extend(moment.counts.values().map(|counts| counts.token));
        tokens.extend(moment.told.values().map(|told| told.0));
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    fn instant(form: &mut Vec<u8>, now: Millis, at: Millis) {
        form.extend((at.0.wrapping_sub(now.0) as u32).to_le_bytes());
    }

    /// The leases by name, the order of their timers, and their places in the slab, which order
    /// timers of one instant.
    fn table(form: &mut Vec<u8>, now: Millis, leases: &Leases, rank: &impl Fn(u64) -> u8) {
        for name in 0..NAMES {
            let Some(lease) = lease(leases, name) else {
                form.push(u8::MAX);
                continue;
            };
            form.extend(leases.table.find(key(name)).map(|slot| slot as u8));
            form.extend([index(&lease.holder), rank(lease.token), lease.undone.into()]);
            form.extend(lease.told_ttl_ms.to_le_bytes());
            form.extend(lease.asked_ttl_ms.to_le_bytes());
            // Before it is resumed it ends at the end of time.
            if lease.expires != Millis(u64::MAX) {
                // Whatever is over is over; only the order in which it ends is left.
                instant(form, now, lease.expires.max(now));
                instant(form, now, lease.timer.max(now));
            }
            form.push(lease.line.len() as u8);
            for waiter in &lease.line {
                form.push(index(&waiter.holder));
                form.extend(waiter.ttl_ms.to_le_bytes());
                instant(form, now, waiter.since);
            }
        }
        let mut timers: Vec<_> =
            leases.table.slots().map(|slot| (leases.table[slot].timer, slot)).collect();
        timers.sort_unstable();
        form.extend(timers.iter().map(|timer| index(&leases.table[timer.1].name)));
        form.extend(leases.table.free().iter().map(|&slot| slot as u8));
    }
}
