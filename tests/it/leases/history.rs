//! The checker of `core` over what really happened: threads that ask over HTTP, and a gateway that
//! is killed under them and comes back.
//!
//! Two histories are judged. One is what the holders saw: until when each counted on a lease by its
//! own clock, and what became of its releases. The other is what the journal says, with what was
//! restored and which grants were told. The order of each is that of real time; what the one knows
//! of the order of the other is not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pulsegate_core::Millis;
use pulsegate_core::lease::history::{Fact, check};
use pulsegate_wire::lease::{CheckView, LeaseHold, LeasePage, Released, holder_validity_ms};
use pulsegate_wire::view::WatchPage;
use pulsegate_wire::{Event, EventKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::process::Scratch;
use crate::process::{Serving, eventually};

const NAMES: [&str; 2] = ["leader", "writer"];
const THREADS: usize = 4;
const TTL_MS: u64 = 3_000;
/// How long holders ask before the kill, and after it: longer than a TTL, so that those who hold
/// nothing any more lose what the kill left them with.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(5);

/// What all holders share.
struct World {
    address: Mutex<String>,
    seen: Mutex<Vec<(u64, Fact)>>,
    told: Mutex<BTreeMap<u64, (String, u64)>>,
    began: Instant,
    is_over: AtomicBool,
}

impl World {
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Writes a fact down; the time is read under the lock, so that facts are in its order.
    fn note(&self, fact: Fact) {
        let mut seen = self.seen.lock().unwrap();
        seen.push((self.now_ms(), fact));
    }

    /// One request on a connection of its own; `None` for anything but a whole answer of success.
    fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: &Value) -> Option<T> {
        let address = self.address.lock().unwrap().clone();
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok()).flatten()
    }

    fn lease<T: DeserializeOwned>(&self, name: &str, what: &str, body: &Value) -> Option<T> {
        self.ask("POST", &format!("/v1/leases/{name}/{what}"), body)
    }

    /// Takes a lease as its holder does: it counts from the sending.
    fn hold(&self, name: &str, what: &str, body: &Value) -> Option<LeaseHold> {
        let sent_ms = self.now_ms();
        let hold: LeaseHold = self.lease(name, what, body)?;
        let until = sent_ms + holder_validity_ms(hold.counted_ms());
        self.told.lock().unwrap().insert(hold.token, (hold.name.clone(), hold.ttl_ms));
        self.note(Fact::Counts {
            name: hold.name.clone(),
            holder: hold.holder.clone(),
            token: hold.token,
            until,
        });
        Some(hold)
    }

    fn release(&self, name: &str, token: u64) {
        self.note(Fact::ReleaseSent { name: name.into(), token });
        let body = json!({"token": token});
        // Who is not answered asks again: it can be repeated.
        while self.lease::<Released>(name, "release", &body).is_none() {
            if self.is_over.load(SeqCst) {
                return;
            }
            std::thread::yield_now();
        }
        self.note(Fact::ReleaseAnswered { name: name.into(), token });
        self.check(name, token);
    }

    fn check(&self, name: &str, token: u64) {
        let path = format!("/v1/leases/{name}/check?token={token}");
        if let Some(view) = self.ask::<CheckView>("GET", &path, &Value::Null) {
            self.note(Fact::Checked { name: name.into(), token, passed: view.valid });
        }
    }

    /// A thread's life, as a new holder in each turn: most leases are given back, some renewed
    /// before, and one in each run of the gateway is left to expire.
    fn live(&self, place: usize) {
        let mut turn = place;
        let mut left = 0;
        while !self.is_over.load(SeqCst) {
            turn += 1;
            let name = NAMES[turn % NAMES.len()];
            let holder = format!("{place}-{turn}");
            let body = json!({"holder": holder, "ttl_ms": TTL_MS, "wait_ms": 400});
            let Some(hold) = self.hold(name, "acquire", &body) else { continue };
            let epoch = hold.token >> 32;
            if place == 0 && turn > 8 && left < epoch {
                left = epoch;
                continue;
            }
            if turn.is_multiple_of(4) {
                self.hold(name, "renew", &json!({"token": hold.token}));
            }
            self.release(name, hold.token);
        }
    }

    /// What a gateway that has just begun to serve holds.
    fn restored(&self) -> Vec<Fact> {
        let page: LeasePage = self.ask("GET", "/v1/leases", &Value::Null).expect("a page");
        let rows = page.leases.into_iter();
        rows.map(|lease| Fact::Restored {
            name: lease.name,
            token: lease.token,
            ttl_ms: lease.ttl_ms,
        })
        .collect()
    }

    /// Everything that the journal holds of leases and starts.
    fn journal(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut since = "0-0".to_owned();
        loop {
            let kinds = "kind=lease_granted&kind=lease_ended&kind=gateway_started";
            let path = format!("/v1/watch?wait=1&since={since}&{kinds}");
            let page: WatchPage = self.ask("GET", &path, &Value::Null).expect("a page");
            if page.events.is_empty() {
                return events;
            }
            events.extend(page.events);
            since = page.next;
        }
    }

    /// The journal's history: what was restored stands behind each start, and what was told
    /// behind its grant, before anything could end it.
    fn recorded(&self, mut restored: Vec<Vec<Fact>>) -> Vec<(u64, Fact)> {
        let sent = self.seen.lock().unwrap().clone();
        let sent = sent.into_iter().filter(|(_, fact)| matches!(fact, Fact::ReleaseSent { .. }));
        let mut facts: Vec<Fact> = sent.map(|(_, fact)| fact).collect();
        let told = self.told.lock().unwrap();
        for event in self.journal() {
            let at = Millis(event.at_ms);
            match event.kind {
                Some(EventKind::GatewayStarted(_)) => {
                    facts.push(Fact::Started { at });
                    facts.append(&mut restored.remove(0));
                }
                Some(EventKind::LeaseGranted(lease)) => {
                    let (name, token, ttl_ms) = (lease.name, lease.token, lease.ttl_ms);
                    facts.push(Fact::Granted { name: name.clone(), token, ttl_ms, at });
                    if told.get(&token).is_some_and(|(of, _)| *of == name) {
                        facts.push(Fact::Confirmed { name, token, ttl_ms });
                    }
                }
                Some(EventKind::LeaseEnded(lease)) => facts.push(Fact::Ended {
                    name: lease.name,
                    token: lease.token,
                    reason: lease.reason,
                    at,
                }),
                _ => {}
            }
        }
        facts.into_iter().map(|fact| (0, fact)).collect()
    }
}

/// How many of these facts there are.
fn count(facts: &[(u64, Fact)], is_meant: impl Fn(&Fact) -> bool) -> usize {
    facts.iter().filter(|(_, fact)| is_meant(fact)).count()
}

#[test]
fn a_history_with_a_kill_in_it_keeps_the_rules_of_leases() {
    let scratch = Scratch::new("history");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let world = World {
        address: Mutex::new(gateway.address()),
        seen: Mutex::default(),
        told: Mutex::default(),
        began: Instant::now(),
        is_over: AtomicBool::new(false),
    };
    let at_first = world.restored();
    let (at_second, gateway) = std::thread::scope(|scope| {
        for place in 0..THREADS {
            let world = &world;
            scope.spawn(move || world.live(place));
        }
        let later = |length: Duration| {
            let from = Instant::now();
            eventually("time passes", || (from.elapsed() >= length).then_some(()));
        };
        later(BEFORE);
        drop(gateway);
        let gateway = Serving::start_durable(scratch.path(), &[]);
        // Holders know nothing of the new one yet: what it lists is what it has restored.
        let listing = World {
            address: Mutex::new(gateway.address()),
            seen: Mutex::default(),
            told: Mutex::default(),
            began: world.began,
            is_over: AtomicBool::new(false),
        };
        let restored = listing.restored();
        *world.address.lock().unwrap() = gateway.address();
        later(AFTER);
        world.is_over.store(true, SeqCst);
        (restored, gateway)
    });
    let recorded = world.recorded(vec![at_first, at_second]);
    drop(gateway);
    let seen = world.seen.into_inner().unwrap();
    assert_eq!(check(&seen), []);
    assert_eq!(check(&recorded), []);
    // It has seen enough to be worth something.
    assert!(count(&seen, |fact| matches!(fact, Fact::Counts { .. })) > 40, "{}", seen.len());
    assert!(count(&seen, |fact| matches!(fact, Fact::ReleaseAnswered { .. })) > 20);
    let is_expiry = |fact: &Fact| matches!(fact, Fact::Ended { reason, .. } if reason == "expired");
    assert!(count(&recorded, is_expiry) > 0, "nobody was left to expire");
    assert_eq!(count(&recorded, |fact| matches!(fact, Fact::Started { .. })), 2);
    for epoch in [1, 2] {
        let is_of =
            |fact: &Fact| matches!(fact, Fact::Confirmed { token, .. } if token >> 32 == epoch);
        assert!(count(&recorded, is_of) > 10, "in epoch {epoch}");
    }
}
