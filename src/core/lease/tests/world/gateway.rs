//! The gateway of the world: what a shell does around the table, with its journal.

use super::*;

impl World {
    pub(super) fn start(&mut self) {
        self.epoch += 1;
        let clock = self.gateway_clock.read_ms(self.real);
        let events = self.log.clone();
        // Time that no record tells of is gone: core time goes on from the newest.
        self.started = (events.last().map_or(0, |event| event.at_ms), clock);
        let epoch = if self.mistake == Mistake::TokensAnew { 1 } else { self.epoch };
        let mut leases = Leases::new(epoch);
        let from = self.snapshot.as_ref().map_or(0, |snapshot| {
            snapshot.rows.iter().for_each(|row| leases.restore(TENANT, row));
            snapshot.from
        });
        events[from..].iter().for_each(|event| leases.apply(TENANT, event));
        match self.mistake {
            Mistake::TokensAnew => leases.last_token = 1 << Leases::COUNTER_BITS,
            Mistake::ForgetAll => leases = Leases::new(epoch),
            _ => {}
        }
        let now = self.now();
        let mut effects = Effects::default();
        leases.resume(now, &mut effects);
        assert!(effects.events.is_empty() && effects.answers.is_empty());
        self.fact(Fact::Started { at: now });
        for (_, row) in leases.export() {
            self.fact(Fact::Restored { name: row.name, token: row.token, ttl_ms: row.ttl_ms });
        }
        if self.mistake == Mistake::OldExpiry {
            let slots: Vec<u32> = leases.table.slots().collect();
            for slot in slots {
                let granted = events.iter().rev().find_map(|event| match &event.kind {
                    Some(EventKind::LeaseGranted(grant))
                        if grant.token == leases.table[slot].token =>
                    {
                        Some(event.at_ms)
                    }
                    _ => None,
                });
                let lease = &mut leases.table[slot];
                lease.expires =
                    Millis(granted.unwrap_or(now.0)).plus(lease.asked_ttl_ms.into()).max(now);
                leases.table.rearm(slot);
            }
        }
        self.leases = Some(leases);
        self.holders.iter_mut().for_each(|holder| holder.heard = None);
        (self.frozen, self.committing) = (false, false);
    }

    /// All that is not durable is gone; what was on its way to the disk may have arrived.
    pub(super) fn kill(&mut self) {
        let next = self.dice.within(5_000_000, 40_000_000);
        self.after(next, Item::Kill);
        if self.leases.take().is_none() {
            return;
        }
        let kept = self.dice.within(self.durable as u64, self.log.len() as u64) as usize;
        self.log.truncate(kept);
        self.durable = kept;
        self.snapshot = self.snapshot.take().filter(|snapshot| snapshot.upto <= kept);
        self.pending.clear();
        self.lines.clear();
        let down = self.dice.within(0, 9_000_000);
        self.after(down, Item::Start);
    }

    pub(super) fn arrive(&mut self, sent: Sent) {
        let Some(mut leases) = self.leases.take() else { return };
        let mut effects = Effects::default();
        self.handle(&mut leases, sent, &mut effects);
        self.leases = Some(leases);
        self.absorb(effects);
    }

    fn handle(&mut self, leases: &mut Leases, sent: Sent, effects: &mut Effects) {
        let (now, lease) = (self.now(), name(sent.name));
        let key = Key { tenant: TENANT, name: &lease };
        match sent.ask.clone() {
            Ask::Acquire { ttl_ms, wait_us } => {
                let holder = &holder_id(sent.holder);
                let request = Request { key, holder, ttl_ms, wait: wait_us > 0 };
                match leases.acquire(now, &request, effects) {
                    Ok(Acquired::Granted(grant)) => {
                        self.note_events(effects);
                        self.granted(leases, sent, grant, effects);
                    }
                    Ok(Acquired::Waiting(waiter)) => {
                        self.note_events(effects);
                        let holder = holder.clone();
                        self.fact(Fact::Joined { name: lease, waiter: waiter.0, holder });
                        self.lines.insert(waiter, sent);
                        self.after(wait_us, Item::GiveUp(waiter));
                        if self.mistake == Mistake::LastFirst {
                            let slot = leases.table.place(waiter).expect("it has just joined");
                            leases.table[slot].line.make_contiguous().reverse();
                        }
                    }
                    Err(_) => {}
                }
            }
            Ask::Renew { token, ttl_ms } => {
                let current = leases.info(now, key).map_or(token, |info| info.token);
                let used = if self.mistake == Mistake::AnyRenew { current } else { token };
                if let Ok(mut grant) = leases.renew(now, key, used, ttl_ms, effects) {
                    grant.token = token;
                    self.note_events(effects);
                    self.granted(leases, sent, grant, effects);
                }
            }
            Ask::Release { token } => {
                let current = leases.info(now, key).map_or(token, |info| info.token);
                let used = if self.mistake == Mistake::AnyRelease { current } else { token };
                if leases.release(now, key, used, effects).is_ok() {
                    if self.mistake == Mistake::ReleaseAtOnce {
                        self.note_events(effects);
                        self.fact(Fact::ReleaseAnswered { name: lease.clone(), token });
                    }
                    let upto = self.log.len() + effects.events.len();
                    self.wait(Pending { upto, sent, grant: None });
                }
            }
            Ask::Check { token } => {
                let passed = match self.mistake {
                    Mistake::CheckAny => leases.info(now, key).is_some_and(|i| token <= i.token),
                    _ => matches!(leases.check(now, key, token), Check::Valid { .. }),
                };
                self.fact(Fact::Checked { name: lease, token, passed });
            }
            Ask::Heartbeat { sequence, is_fit } => self.beat(leases, &sent, sequence, is_fit),
        }
    }

    fn beat(&mut self, leases: &mut Leases, sent: &Sent, sequence: u64, is_fit: bool) {
        let (now, holder) = (self.now(), holder_id(sent.holder));
        let mut directive = Vec::new();
        let mut sent_ms = sent.sent_ms;
        match self.holders[sent.holder].heard {
            Some((newest, _)) if sequence < newest => return,
            Some((newest, receipt)) if sequence == newest => {
                let since = match self.mistake {
                    Mistake::RepeatAll => Millis(0),
                    _ => receipt,
                };
                leases.renewed_since(now, TENANT, &holder, since, &mut directive);
                if self.mistake == Mistake::RepeatAll {
                    sent_ms = self.clocks[sent.holder].read_ms(self.real);
                }
            }
            _ => {
                self.holders[sent.holder].heard = Some((sequence, now));
                leases.renew_held(now, TENANT, &holder, is_fit, &mut directive);
                for lease in &directive {
                    self.tamper(leases, &lease.name, lease.ttl_ms);
                    self.note_renewal(leases, &lease.name, lease.token, lease.ttl_ms);
                }
            }
        }
        let told = directive.iter().map(|l| (index_of(&l.name), l.token, l.ttl_ms)).collect();
        self.reply(sent.holder, told, sent_ms);
    }

    fn tamper(&mut self, leases: &mut Leases, lease: &str, ttl_ms: u64) {
        let now = self.now();
        let Some(slot) = leases.table.find(Key { tenant: TENANT, name: lease }) else { return };
        let place = &mut leases.table[slot];
        match self.mistake {
            Mistake::Shorten => place.expires = now.plus(ttl_ms / 2),
            Mistake::EndEarly => place.expires = place.expires.min(now.plus(ttl_ms * 9 / 10)),
            _ => return,
        }
        leases.table.rearm(slot);
    }

    fn note_renewal(&mut self, leases: &Leases, lease: &str, token: u64, ttl_ms: u64) {
        let Some(slot) = leases.table.find(Key { tenant: TENANT, name: lease }) else { return };
        let expires = leases.table[slot].expires;
        let at = self.now();
        self.fact(Fact::Renewed { name: lease.into(), token, ttl_ms, at, expires });
    }

    /// A grant to a request that is here: told now, or once it is durable.
    fn granted(
        &mut self,
        leases: &mut Leases,
        sent: Sent,
        mut grant: Grant,
        effects: &mut Effects,
    ) {
        assert!(effects.events.is_empty(), "they are in the journal already");
        self.tamper(leases, &grant.name, grant.ttl_ms.into());
        let at_once = match self.mistake {
            Mistake::TellAtOnce => true,
            Mistake::LengthenAtOnce => matches!(sent.ask, Ask::Renew { .. }),
            _ => false,
        };
        grant.waits &= !at_once;
        if grant.waits {
            let upto = self.log.len();
            return self.wait(Pending { upto, sent, grant: Some(grant) });
        }
        if at_once {
            leases.confirm(self.now(), &grant, effects);
            let Grant { name, token, ttl_ms, .. } = grant.clone();
            self.fact(Fact::Confirmed { name, token, ttl_ms: ttl_ms.into() });
        } else {
            self.note_renewal(leases, &grant.name, grant.token, grant.ttl_ms.into());
        }
        self.tell(&sent, &grant);
    }

    fn tell(&mut self, sent: &Sent, grant: &Grant) {
        self.tokens.push((sent.name, grant.token));
        let waited_ms = match self.mistake {
            Mistake::WaitTwice => grant.waited_ms * 2,
            _ => grant.waited_ms,
        };
        let counted_ms = u64::from(grant.ttl_ms) + waited_ms;
        self.reply(sent.holder, [(sent.name, grant.token, counted_ms)].into(), sent.sent_ms);
    }

    fn wait(&mut self, pending: Pending) {
        self.order += 1;
        let id = self.order;
        self.pending.insert(id, pending);
        self.after(1_000_000, Item::TimeOut(id));
    }

    /// Answers what has become durable.
    fn settle(&mut self) {
        let Some(mut leases) = self.leases.take() else { return };
        let ready: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.upto <= self.durable)
            .map(|(id, _)| *id)
            .collect();
        let mut effects = Effects::default();
        for id in ready {
            let Some(Pending { sent, grant, .. }) = self.pending.remove(&id) else { continue };
            match (grant, &sent.ask) {
                (Some(grant), _) => {
                    let told = match self.mistake {
                        Mistake::NoConfirm => Some(grant.clone()),
                        _ => leases.confirm(self.now(), &grant, &mut effects),
                    };
                    if let Some(told) = told {
                        let Grant { name, token, ttl_ms, .. } = told.clone();
                        self.fact(Fact::Confirmed { name, token, ttl_ms: ttl_ms.into() });
                        self.tell(&sent, &told);
                    }
                }
                (None, Ask::Release { token }) => {
                    self.fact(Fact::ReleaseAnswered { name: name(sent.name), token: *token });
                }
                (None, other) => panic!("{other:?} waits for nothing"),
            }
        }
        self.leases = Some(leases);
        self.absorb(effects);
    }

    pub(super) fn time_out(&mut self, id: u64) {
        let Some(Pending { grant, sent, upto }) = self.pending.remove(&id) else { return };
        let Some(mut leases) = self.leases.take() else { return };
        let mut effects = Effects::default();
        match grant {
            Some(grant) if self.mistake == Mistake::NoConfirm => {
                // It is taken back, and told all the same once it is durable.
                leases.undo(self.now(), &grant, &mut effects);
                self.pending.insert(id, Pending { upto, sent, grant: Some(grant) });
            }
            Some(grant) => leases.undo(self.now(), &grant, &mut effects),
            None => {}
        }
        self.leases = Some(leases);
        self.absorb(effects);
    }

    pub(super) fn give_up(&mut self, waiter: WaiterId) {
        let Some(leases) = self.leases.as_mut() else { return };
        let was_there = match self.mistake {
            Mistake::NoCancel => leases.table.place(waiter).is_some(),
            _ => leases.cancel(waiter),
        };
        if was_there {
            self.fact(Fact::Left { waiter: waiter.0 });
            if self.mistake != Mistake::NoCancel {
                self.lines.remove(&waiter);
            }
        }
    }

    pub(super) fn timers(&mut self) {
        let deadline = self.leases.as_ref().and_then(Leases::next_deadline);
        let exact = deadline.map_or(0, |deadline| {
            let (core, clock) = self.started;
            let at = self.gateway_clock.real_at(clock + deadline.since(Millis(core)));
            at.saturating_sub(self.real)
        });
        // Often to the moment, sometimes late.
        let late = self.dice.within(1_000, 60_000);
        let wait = if exact > 0 && self.dice.percent(80) { exact.min(late) } else { late };
        self.after(wait, Item::Timers);
        let Some(mut leases) = self.leases.take() else { return };
        let mut effects = Effects::default();
        let limit = self.dice.within(1, 3) as usize;
        let now = self.now();
        let deadline = leases.next_deadline();
        leases.handle_deadlines(now, limit, &mut effects);
        let is_early = deadline.is_none_or(|deadline| deadline > now);
        assert!(!is_early || effects.is_empty(), "something ended before the next deadline");
        self.leases = Some(leases);
        self.absorb(effects);
    }

    pub(super) fn revoke(&mut self) {
        let next = self.dice.within(10_000_000, 60_000_000);
        self.after(next, Item::Operator);
        let lease = name(self.dice.within(0, NAMES as u64 - 1) as usize);
        let Some(mut leases) = self.leases.take() else { return };
        let mut effects = Effects::default();
        let _ = leases.revoke(self.now(), Key { tenant: TENANT, name: &lease }, &mut effects);
        self.leases = Some(leases);
        self.absorb(effects);
    }

    pub(super) fn freeze(&mut self, on: bool) {
        let next = self.dice.within(3_000_000, 40_000_000);
        let lasts = self.dice.within(100_000, 7_000_000);
        if on {
            self.after(lasts, Item::Thaw);
        } else {
            self.after(next, Item::Freeze);
            self.slow = self.dice.percent(30);
        }
        if let Some(leases) = self.leases.as_mut() {
            self.frozen = on;
            leases.set_frozen(on);
        }
        self.commit_later();
    }

    pub(super) fn take_snapshot(&mut self) {
        let next = self.dice.within(3_000_000, 30_000_000);
        self.after(next, Item::Snapshot);
        let Some(leases) = self.leases.as_ref() else { return };
        let upto = self.log.len();
        let rows = leases.export().map(|(_, row)| row).collect();
        // It began a little before these rows were taken.
        let from = upto - self.dice.within(0, upto.min(5) as u64) as usize;
        self.snapshot = Some(Snapshot { from, upto, rows });
    }

    fn commit_later(&mut self) {
        if !self.committing && !self.frozen && self.durable < self.log.len() {
            self.committing = true;
            let longest = if self.slow { 2_500_000 } else { 8_000 };
            let delay = self.dice.within(500, longest);
            self.after(delay, Item::Commit);
        }
    }

    pub(super) fn commit(&mut self) {
        if !core::mem::take(&mut self.committing) || self.frozen || self.leases.is_none() {
            return;
        }
        // What was appended while the commit ran may be in it or not.
        self.durable = self.dice.within(self.durable as u64 + 1, self.log.len() as u64) as usize;
        self.settle();
        self.commit_later();
    }

    /// Appends what happened, and records it.
    fn note_events(&mut self, effects: &mut Effects) {
        for event in effects.events.drain(..) {
            assert!(!self.frozen, "{event:?} cannot be recorded");
            self.log.push(event.to_wire("default"));
            match event.kind {
                EventKind::LeaseGranted(LeaseGranted { name, token, ttl_ms, .. }) => {
                    self.fact(Fact::Granted { name, token, ttl_ms, at: event.at });
                }
                EventKind::LeaseEnded(event::LeaseEnded { name, token, reason, .. }) => {
                    self.fact(Fact::Ended { name, token, reason, at: event.at });
                }
                other => panic!("{other:?} is about no lease"),
            }
        }
    }

    fn absorb(&mut self, mut effects: Effects) {
        self.note_events(&mut effects);
        for Answer { waiter, result } in effects.answers.drain(..) {
            match result {
                Ok(grant) => {
                    self.fact(Fact::Served { waiter: waiter.0 });
                    let sent = self.lines.remove(&waiter).expect("it stood in line");
                    let upto = self.log.len();
                    self.order += 1;
                    self.pending.insert(self.order, Pending { upto, sent, grant: Some(grant) });
                    self.after(1_000_000, Item::TimeOut(self.order));
                }
                Err(_) => {
                    self.lines.remove(&waiter);
                    self.fact(Fact::Left { waiter: waiter.0 });
                }
            }
        }
        self.check_holders(&effects);
        self.commit_later();
        if self.pending.values().any(|pending| pending.upto <= self.durable) {
            self.settle();
        }
    }

    /// What was told of holders is what the table says.
    fn check_holders(&self, effects: &Effects) {
        let Some(leases) = &self.leases else { return };
        for change in &effects.holders {
            let last = effects.holders.iter().rev().find(|other| other.holder == change.holder);
            let known = leases.smallest_ttl_ms(change.tenant, &change.holder);
            assert_eq!(last.and_then(|last| last.smallest_ttl_ms), known, "{change:?}");
        }
    }
}
