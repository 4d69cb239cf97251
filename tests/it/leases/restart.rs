//! What a restart does to leases, and what a gateway that keeps nothing promises.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_gateway::server::Gateway;
use serde_json::json;

use super::{acquire, ask, beat, check, granted, listed};
use crate::process::{Scratch, Serving, pulsegate, stdout};
use crate::support::Client;

#[test]
fn over_a_kill_every_lease_that_was_told_holds_for_its_whole_ttl_and_tokens_rise() {
    let scratch = Scratch::new("kill");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let mut client = gateway.client();
    beat(&mut client, 1, "");
    let kept = granted(&acquire(&mut client, "kept", "worker-1", 30_000), "worker-1");
    let lost = granted(&acquire(&mut client, "lost", "a", 3_000), "a");
    let released = granted(&acquire(&mut client, "released", "a", 30_000), "a");
    let answer = ask(&mut client, "released", "release", &json!({"token": released}));
    assert_eq!(answer.json()["released"], true);
    // Dropping it kills it: nothing is written down on the way out.
    drop(gateway);
    let before = Instant::now();
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let mut client = gateway.client();
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

/// A gateway in this process, with a journal in this directory.
pub(super) fn start_in(scratch: &Scratch) -> Gateway {
    let data = scratch.path().to_str().expect("a name in UTF-8");
    let overrides = Overrides::default().flag("--listen", "listen", "127.0.0.1:0").flag(
        "--data",
        "journal.data_dir",
        data,
    );
    let config = Config::parse("test", "", Path::new("."), &overrides).expect("a configuration");
    Gateway::start(Arc::new(config)).expect("a gateway")
}

#[test]
fn a_snapshot_holds_leases() {
    let scratch = Scratch::new("snapshot");
    let gateway = start_in(&scratch);
    let token = granted(&acquire(&mut Client::to(&gateway), "leader", "a", 30_000), "a");
    // The grant is older than the snapshot, so a start does not read it any more.
    gateway.shards().snapshot_if_due(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(gateway.shutdown(Duration::from_secs(10)));
    let gateway = start_in(&scratch);
    let listed = listed(&mut Client::to(&gateway)).expect("it is there");
    assert_eq!((&listed["token"], &listed["holder"]), (&json!(token), &json!("a")));
}

#[test]
fn the_command_lists_leases_in_json_and_as_a_table() {
    let gateway = Serving::start("127.0.0.1:0");
    let token = granted(&acquire(&mut gateway.client(), "leader", "a", 30_000), "a");
    let shown = gateway.ask(&["leases"]);
    assert_eq!(shown["leases"][0]["token"], token);
    let table = stdout(&pulsegate(&["leases", "--url", &gateway.url]));
    assert!(table.starts_with("LEASE   HOLDER"), "{table}");
    assert!(table.contains(&token.to_string()), "{table}");
}

#[test]
fn who_waits_in_line_is_answered_when_the_gateway_ends() {
    let gateway = Serving::start("127.0.0.1:0");
    let mut client = gateway.client();
    granted(&acquire(&mut client, "leader", "a", 60_000), "a");
    let mut waiting = gateway.client();
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

/// Registers agents until the journal takes no more.
fn fill(client: &mut Client) {
    // Nothing that could be packed.
    let mut state = 7_u64;
    let mut noise = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", state ^ (state >> 29))
    };
    // An address may bring 10,000 agents at once.
    for round in 0..200 {
        let beats: Vec<_> = (0..50)
            .map(|agent| {
                let mut label = || (0..15).map(|_| noise()).collect::<String>();
                let labels = json!({"a": label(), "b": label(), "c": label()});
                json!({"agent_id": format!("filler-{round}-{agent}"), "labels": labels})
            })
            .collect();
        let body = json!({"heartbeats": beats}).to_string();
        let answer = client.request("POST", "/v1/heartbeats/batch", "", body.as_bytes()).json();
        if answer["results"].to_string().contains("journal_unavailable") {
            return;
        }
    }
    panic!("the disk takes everything");
}

#[test]
fn a_full_disk_grants_and_releases_nothing_and_renews_what_is_held() {
    let scratch = Scratch::new("full");
    let gateway = Serving::start_on_small_disk(scratch.path(), 4_096);
    let mut client = gateway.client();
    beat(&mut client, 1, "");
    let token = granted(&acquire(&mut client, "leader", "worker-1", 30_000), "worker-1");
    fill(&mut client);
    let refused = acquire(&mut client, "other", "worker-1", 30_000);
    assert_eq!((refused.status, refused.problem().as_str()), (503, "journal_unavailable"));
    let longer = json!({"token": token, "ttl_ms": 60_000});
    let renewed = ask(&mut client, "leader", "renew", &longer);
    assert_eq!(renewed.json()["ttl_ms"], 30_000, "it holds on, for no longer than is durable");
    assert_eq!(beat(&mut client, 2, "")["leases"][0]["token"], token);
    let released = ask(&mut client, "leader", "release", &json!({"token": token}));
    assert_eq!(released.problem(), "journal_unavailable");
    assert_eq!(check(&mut client, "leader", token), "valid");
    let revoked = client.request("DELETE", "/v1/leases/leader", "", b"");
    assert_eq!(revoked.problem(), "journal_unavailable");
    // It ends all the same, and a start finds what was told.
    gateway.signal(rustix::process::Signal::TERM);
    gateway.exit_code();
    let gateway = Serving::start_durable(scratch.path(), &[]);
    assert_eq!(check(&mut gateway.client(), "leader", token), "valid");
}
