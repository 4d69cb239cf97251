//! What a restart does to leases, and what a gateway that keeps nothing promises.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{acquire, ask, beat, check, granted, listed};
use crate::process::{Serving, pulsegate, stdout};
use crate::support::Client;

/// A directory of one test, removed when it is over.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(test: &str) -> Self {
        let name = format!("pulsegate-it-{}-lease-{test}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn connect(gateway: &Serving) -> Client {
    Client::connect(gateway.address().parse().expect("an address"))
}

#[test]
fn over_a_kill_every_lease_that_was_told_holds_for_its_whole_ttl_and_tokens_rise() {
    let scratch = Scratch::new("kill");
    let gateway = Serving::start_durable(&scratch.0, &[]);
    let mut client = connect(&gateway);
    beat(&mut client, 1, "");
    let kept = granted(&acquire(&mut client, "kept", "worker-1", 30_000), "worker-1");
    let lost = granted(&acquire(&mut client, "lost", "a", 3_000), "a");
    let released = granted(&acquire(&mut client, "released", "a", 30_000), "a");
    let answer = ask(&mut client, "released", "release", &json!({"token": released}));
    assert_eq!(answer.json()["released"], true);
    // Dropping it kills it: nothing is written down on the way out.
    drop(gateway);
    let before = Instant::now();
    let gateway = Serving::start_durable(&scratch.0, &[]);
    let mut client = connect(&gateway);
    // What was told is there, what was released is not.
    assert_eq!(check(&mut client, "kept", kept), "valid");
    assert_eq!(check(&mut client, "lost", lost), "valid");
    assert_eq!(check(&mut client, "released", released), "free");
    assert_eq!(acquire(&mut client, "kept", "b", 3_000).problem(), "lease_held");
    // The holder goes on by its token, and its heartbeats renew again.
    let renewed = ask(&mut client, "kept", "renew", &json!({"token": kept}));
    assert_eq!(granted(&renewed, "worker-1"), kept);
    let directive = beat(&mut client, 2, "");
    assert_eq!(directive["leases"][0]["token"], kept);
    assert!(directive["next_interval_ms"].as_u64() <= Some(10_000), "{directive}");
    // Nobody else holds what nobody renewed before the whole TTL has passed once more.
    let body = json!({"holder": "b", "ttl_ms": 3_000, "wait_ms": 25_000});
    let next = granted(&ask(&mut client, "lost", "acquire", &body), "b");
    let passed = before.elapsed();
    assert!(passed >= Duration::from_millis(2_999), "{passed:?}");
    assert!(next > kept.max(lost).max(released), "{next}");
    assert!(next >> 32 > kept >> 32, "the epoch of a start stands above all of its grants");
    assert_eq!(check(&mut client, "lost", lost), "superseded");
}

#[test]
fn a_snapshot_holds_leases_and_the_command_lists_them() {
    let scratch = Scratch::new("snapshot");
    let gateway = Serving::start_durable(&scratch.0, &[]);
    let token = granted(&acquire(&mut connect(&gateway), "leader", "a", 30_000), "a");
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
    let gateway = Serving::start_durable(&scratch.0, &[]);
    let listed = listed(&mut connect(&gateway)).expect("it is there");
    assert_eq!((&listed["token"], &listed["holder"]), (&json!(token), &json!("a")));
    let shown = gateway.ask(&["leases"]);
    assert_eq!(shown["leases"][0]["token"], token);
    let table = stdout(&pulsegate(&["leases", "--url", &gateway.url]));
    assert!(table.starts_with("LEASE   HOLDER"), "{table}");
    assert!(table.contains(&token.to_string()), "{table}");
}

#[test]
fn who_waits_in_line_is_answered_when_the_gateway_ends() {
    let gateway = Serving::start("127.0.0.1:0");
    let mut client = connect(&gateway);
    granted(&acquire(&mut client, "leader", "a", 60_000), "a");
    let mut waiting = connect(&gateway);
    let line = std::thread::spawn(move || {
        let body = json!({"holder": "b", "ttl_ms": 60_000, "wait_ms": 25_000});
        let asked = Instant::now();
        (ask(&mut waiting, "leader", "acquire", &body), asked.elapsed())
    });
    crate::process::eventually("b waits", || (super::in_line(&mut client) == 1).then_some(()));
    gateway.signal(rustix::process::Signal::TERM);
    let (answer, waited) = line.join().expect("it is answered");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(gateway.exit_code(), Some(0));
}
