//! The checker: whether a recorded history of leases keeps the nine rules of their algebra.
//!
//! It knows nothing of the table that it judges. A history is a list of facts in the order of real
//! time, as somebody saw them who has a perfect clock: what the gateway did, by its own clock and
//! within its epochs, and what holders counted on. A rule that a history holds no facts for is
//! kept; so a client's view alone, or a journal alone, can be checked too.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Millis;

/// The nine rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No two holders count on the same lease at the same real time.
    Disjoint,
    /// Every grant has a larger token than all before, of any name, over restarts too.
    TokensRise,
    /// A lease is granted to another only after its expiry, release or revocation.
    NoEarlyGrant,
    /// No renewal lets a lease end earlier than it would have without.
    NeverShortens,
    /// A release ends a lease once: what was answered stays released, over restarts too.
    ReleasedOnce,
    /// A lease is released or renewed only by the token that it is held with.
    Guarded,
    /// No token passes a check once a newer one was granted.
    StaleRefused,
    /// A restart keeps every lease that was told, for its whole TTL from then on.
    RestartKeeps,
    /// Those in line are served in order, and only while they wait.
    LineInOrder,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::Disjoint,
        Self::TokensRise,
        Self::NoEarlyGrant,
        Self::NeverShortens,
        Self::ReleasedOnce,
        Self::Guarded,
        Self::StaleRefused,
        Self::RestartKeeps,
        Self::LineInOrder,
    ];
}

/// What was seen. `at` and `expires` are the gateway's core time; all other instants are real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A gateway began to serve; what it restored follows as [`Fact::Restored`].
    Started {
        /// Core time.
        at: Millis,
    },
    /// A lease that a gateway began with.
    Restored {
        /// Name of the lease.
        name: String,
        /// Its token.
        token: u64,
        /// Its TTL, in milliseconds.
        ttl_ms: u64,
    },
    /// The gateway decided to grant a lease, or to lengthen its TTL; nobody was told yet.
    Granted {
        /// Name of the lease.
        name: String,
        /// Its token.
        token: u64,
        /// Its TTL, in milliseconds.
        ttl_ms: u64,
        /// Core time.
        at: Millis,
    },
    /// The gateway told a holder of a grant; it may not have heard it.
    Confirmed {
        /// Name of the lease.
        name: String,
        /// Its token.
        token: u64,
        /// The TTL told, in milliseconds.
        ttl_ms: u64,
    },
    /// The gateway renewed a lease.
    Renewed {
        /// Name of the lease.
        name: String,
        /// The token of the request, or that which a directive names.
        token: u64,
        /// The TTL told, in milliseconds.
        ttl_ms: u64,
        /// Core time.
        at: Millis,
        /// When the lease ends now.
        expires: Millis,
    },
    /// The gateway ended a lease.
    Ended {
        /// Name of the lease.
        name: String,
        /// Its token.
        token: u64,
        /// `released`, `expired`, `revoked` or `undone`.
        reason: String,
        /// Core time.
        at: Millis,
    },
    /// A request took its place in line.
    Joined {
        /// Name of the lease.
        name: String,
        /// The place.
        waiter: u64,
        /// Who wants to hold it.
        holder: String,
    },
    /// A place in line was given up, or its request refused.
    Left {
        /// The place.
        waiter: u64,
    },
    /// A place in line was granted the lease.
    Served {
        /// The place.
        waiter: u64,
    },
    /// From now on a holder counts on a lease, until this real time.
    Counts {
        /// Name of the lease.
        name: String,
        /// The holder.
        holder: String,
        /// Its token.
        token: u64,
        /// Until when, in the unit of the history's instants.
        until: u64,
    },
    /// A holder sent a release, and counts on the lease no more.
    ReleaseSent {
        /// Name of the lease.
        name: String,
        /// The token.
        token: u64,
    },
    /// A holder was answered that a release is done.
    ReleaseAnswered {
        /// Name of the lease.
        name: String,
        /// The token.
        token: u64,
    },
    /// The gateway handled a check.
    Checked {
        /// Name of the lease.
        name: String,
        /// The token.
        token: u64,
        /// Whether it passed.
        passed: bool,
    },
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Index of the fact that broke it.
    pub index: usize,
    /// How, for people.
    pub text: String,
}

/// Checks a history: facts with their real time, in order.
#[must_use]
pub fn check(facts: &[(u64, Fact)]) -> Vec<Violation> {
    let mut checker = Checker::default();
    for (index, (now, fact)) in facts.iter().enumerate() {
        checker.index = index;
        checker.take(*now, fact);
    }
    checker.violations
}

/// What is known of the grant that a lease is held by, within one run of the gateway.
#[derive(Debug)]
struct Current {
    token: u64,
    /// No end by expiry before.
    ends: Millis,
}

#[derive(Debug, Default)]
struct Checker {
    index: usize,
    violations: Vec<Violation>,
    started: Millis,
    newest_token: u64,
    current: BTreeMap<String, Current>,
    /// By name, the newest grant that was told, with its TTL, until its end was decided.
    told: BTreeMap<String, (u64, u64)>,
    /// By name, the newest token ever told.
    newest_told: BTreeMap<String, u64>,
    /// Told when the gateway stopped, and not restored yet by the one that started.
    missing: BTreeMap<String, (u64, u64)>,
    /// By name and token: who counts on it until when.
    counts: BTreeMap<String, BTreeMap<u64, (String, u64)>>,
    revoked: BTreeSet<u64>,
    release_sent: BTreeSet<(String, u64)>,
    release_answered: BTreeSet<(String, u64)>,
    lines: BTreeMap<String, Vec<(u64, String)>>,
    /// The holder that was served last, by name, until the lease ends.
    served: BTreeMap<String, String>,
}

impl Checker {
    fn hold(&mut self, rule: Rule, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation { rule, index: self.index, text: text() });
        }
    }

    fn take(&mut self, now: u64, fact: &Fact) {
        if !matches!(fact, Fact::Restored { .. }) {
            self.end_of_restoring();
        }
        match fact {
            Fact::Started { at } => self.start(*at),
            Fact::Restored { name, token, ttl_ms } => self.restored(name, *token, *ttl_ms),
            Fact::Granted { name, token, ttl_ms, at } => self.granted(name, *token, *ttl_ms, *at),
            Fact::Confirmed { name, token, ttl_ms } => self.confirmed(name, *token, *ttl_ms),
            Fact::Renewed { name, token, ttl_ms, at, expires } => {
                self.renewed(name, *token, at.plus(*ttl_ms), *expires);
                self.tell_current(name, *token, *ttl_ms);
            }
            Fact::Ended { name, token, reason, at } => self.ended(name, *token, reason, *at),
            Fact::Joined { name, waiter, holder } => {
                self.lines.entry(name.clone()).or_default().push((*waiter, holder.clone()));
            }
            Fact::Left { waiter } => self.left(*waiter),
            Fact::Served { waiter } => self.serve(*waiter),
            Fact::Counts { name, holder, token, until } => {
                self.counts_on(now, name, holder, *token, *until);
                self.tell_current(name, *token, 0);
            }
            Fact::ReleaseSent { name, token } => {
                self.release_sent.insert((name.clone(), *token));
                self.counts.get_mut(name).map(|tokens| tokens.remove(token));
            }
            Fact::ReleaseAnswered { name, token } => {
                self.release_answered.insert((name.clone(), *token));
            }
            Fact::Checked { name, token, passed } => self.checked(name, *token, *passed),
        }
    }

    fn start(&mut self, at: Millis) {
        self.started = at;
        self.current.clear();
        self.lines.clear();
        self.served.clear();
        self.missing = self.told.clone();
    }

    fn restored(&mut self, name: &str, token: u64, ttl_ms: u64) {
        let answered = self.release_answered.contains(&(name.into(), token));
        self.hold(Rule::ReleasedOnce, !answered, || {
            format!("token {token} of {name} was released, and is back after the restart")
        });
        if let Some((told, told_ms)) = self.missing.remove(name) {
            self.hold(Rule::RestartKeeps, token >= told, || {
                format!("{name} is back with token {token}, though {told} was told")
            });
            self.hold(Rule::RestartKeeps, token > told || ttl_ms >= told_ms, || {
                format!("{name} is back for {ttl_ms} ms, though {told_ms} ms were told")
            });
        }
        let ends = self.started.plus(ttl_ms);
        self.current.insert(name.into(), Current { token, ends });
    }

    /// What was told and is not there after a restart is lost.
    fn end_of_restoring(&mut self) {
        for (name, (token, _)) in core::mem::take(&mut self.missing) {
            self.told.remove(&name);
            self.hold(Rule::RestartKeeps, false, || {
                format!("token {token} of {name} was told, and is gone after the restart")
            });
        }
    }

    fn granted(&mut self, name: &str, token: u64, ttl_ms: u64, at: Millis) {
        let ends = at.plus(ttl_ms);
        if let Some(current) = self.current.get_mut(name) {
            if current.token == token {
                current.ends = current.ends.max(ends);
                return;
            }
            let other = current.token;
            self.hold(Rule::NoEarlyGrant, false, || {
                format!("{name} was granted with {token} while it was held with {other}")
            });
        }
        let newest = self.newest_token;
        self.hold(Rule::TokensRise, token > newest, || {
            format!("{name} was granted with {token} after {newest}")
        });
        self.newest_token = newest.max(token);
        self.current.insert(name.into(), Current { token, ends });
    }

    fn confirmed(&mut self, name: &str, token: u64, ttl_ms: u64) {
        let is_current = self.current.get(name).is_some_and(|current| current.token == token);
        self.hold(Rule::NoEarlyGrant, is_current, || {
            format!("token {token} of {name} was told after its end")
        });
        self.tell(name, token, ttl_ms);
    }

    /// Whoever is told of a renewal, or counts on a lease, was told of its grant, however.
    fn tell_current(&mut self, name: &str, token: u64, ttl_ms: u64) {
        if self.current.get(name).is_some_and(|current| current.token == token) {
            self.tell(name, token, ttl_ms);
        }
    }

    fn tell(&mut self, name: &str, token: u64, ttl_ms: u64) {
        let told = self.told.entry(name.into()).or_insert((token, ttl_ms));
        let longest_ms = if told.0 == token { told.1.max(ttl_ms) } else { ttl_ms };
        *told = (token, longest_ms);
        let newest = self.newest_told.entry(name.into()).or_default();
        *newest = token.max(*newest);
    }

    fn renewed(&mut self, name: &str, token: u64, ends: Millis, expires: Millis) {
        let answered = self.release_answered.contains(&(name.into(), token));
        let current = self.current.get_mut(name).filter(|current| current.token == token);
        let is_current = current.is_some();
        let before = current.map_or(ends, |current| {
            current.ends = current.ends.max(ends);
            current.ends
        });
        self.hold(Rule::Guarded, is_current && !answered, || {
            format!("{name} was renewed with {token}, which does not hold it")
        });
        self.hold(Rule::NeverShortens, expires >= before, || {
            format!("{name} ends at {} after a renewal, not at {}", expires.0, before.0)
        });
    }

    fn ended(&mut self, name: &str, token: u64, reason: &str, at: Millis) {
        self.served.remove(name);
        let current = self.current.remove(name).filter(|current| current.token == token);
        let (was_current, ends) = current.map_or((false, at), |current| (true, current.ends));
        match reason {
            "released" => {
                let sent = self.release_sent.contains(&(name.into(), token));
                self.hold(Rule::Guarded, sent, || {
                    format!("{name} was released with {token}, which nobody asked for")
                });
                self.hold(Rule::ReleasedOnce, was_current, || {
                    format!("{name} was released with {token}, which did not hold it")
                });
            }
            "expired" => {
                self.hold(Rule::NoEarlyGrant, at >= ends, || {
                    format!("{name} expired at {}, before {}", at.0, ends.0)
                });
            }
            "revoked" => {
                self.revoked.insert(token);
            }
            _ => {
                let told = self.told.get(name).is_some_and(|told| told.0 == token);
                self.hold(Rule::NoEarlyGrant, !told, || {
                    format!("the grant {token} of {name} was undone after it was told")
                });
            }
        }
        if self.told.get(name).is_some_and(|told| told.0 <= token) {
            self.told.remove(name);
        }
    }

    fn left(&mut self, waiter: u64) {
        for line in self.lines.values_mut() {
            line.retain(|(other, _)| *other != waiter);
        }
    }

    fn serve(&mut self, waiter: u64) {
        let found = self.lines.iter().find_map(|(name, line)| {
            let place = line.iter().position(|(other, _)| *other == waiter)?;
            Some((name.clone(), place, line[place].1.clone()))
        });
        let Some((name, place, holder)) = found else {
            return self.hold(Rule::LineInOrder, false, || {
                format!("place {waiter} was served, and did not wait")
            });
        };
        // Later places of the holder that is served are served with its first.
        let is_joined = self.served.get(&name) == Some(&holder);
        self.hold(Rule::LineInOrder, place == 0 || is_joined, || {
            format!("place {waiter} for {name} was served before others who came earlier")
        });
        self.left(waiter);
        self.served.insert(name, holder);
    }

    fn counts_on(&mut self, now: u64, name: &str, holder: &str, token: u64, until: u64) {
        let tokens = self.counts.entry(name.into()).or_default();
        let revoked = &self.revoked;
        let other = tokens.iter().find(|(other, (who, until))| {
            **other != token
                && who != holder
                && *until > now
                && !revoked.contains(other)
                && !revoked.contains(&token)
        });
        let other = other.map(|(token, (who, until))| (*token, who.clone(), *until));
        let mine = tokens.entry(token).or_insert((holder.into(), until));
        mine.1 = mine.1.max(until);
        if let Some((other, who, end)) = other {
            self.hold(Rule::Disjoint, false, || {
                let first = format!("{who} counts on {name} with {other} until {end}");
                format!("{first}, and {holder} with {token}")
            });
        }
    }

    fn checked(&mut self, name: &str, token: u64, passed: bool) {
        let newest = self.newest_told.get(name).copied().unwrap_or_default();
        self.hold(Rule::StaleRefused, !passed || token >= newest, || {
            format!("token {token} of {name} passed a check after {newest} was granted")
        });
        let is_released = self.release_answered.contains(&(name.into(), token));
        self.hold(Rule::ReleasedOnce, !passed || !is_released, || {
            format!("token {token} of {name} passed a check after its release")
        });
    }
}
