//! How the journal does, and copies of it that a gateway can go on from.

use std::io::Read as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Scratch, Serving, pulsegate, stderr};
use crate::support::{Client, start};

fn beat(client: &mut Client, id: &str) {
    let body = json!({"agent_id": id, "incarnation": 1, "sequence": 1, "labels": {"of": id}});
    assert_eq!(client.beat(&body.to_string()).status, 200);
}

#[test]
fn a_copy_of_a_running_journal_has_all_that_was_answered_before_it() {
    let scratch = Scratch::new("copy");
    let gateway = Serving::start_durable(&scratch.path().join("here"), &[]);
    let mut client = gateway.client();
    (0..50).for_each(|number| beat(&mut client, &format!("before-{number}")));
    let copied = client.get("/v1/journal/backup");
    assert_eq!(copied.status, 200);
    assert_eq!(copied.header("content-type"), Some("application/octet-stream"));
    let name = copied.header("content-disposition").expect("a name");
    assert_eq!(name, "attachment; filename=\"journal.redb\"");
    // The gateway goes on, and leaves nothing behind.
    beat(&mut client, "after");
    let mut files: Vec<String> = std::fs::read_dir(scratch.path().join("here"))
        .expect("the directory")
        .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    files.retain(|name| name.contains("backup"));
    assert_eq!(files, Vec::<String>::new());
    let there = scratch.path().join("there");
    std::fs::create_dir(&there).expect("a directory");
    std::fs::write(there.join("journal.redb"), &copied.body).expect("it is written");
    let other = Serving::start_durable(&there, &[]);
    let known = other.ask(&["agents"]);
    let known = known["agents"].as_array().expect("agents");
    assert_eq!(known.len(), 50);
    assert!(known.iter().all(|agent| agent["labels"]["of"] == agent["agent_id"]), "{known:?}");
}

#[test]
fn a_copy_that_nobody_reads_holds_nobody_up_and_is_the_only_one() {
    let scratch = Scratch::new("unread");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let mut client = gateway.client();
    // More than the sockets between them hold, so that the copy waits for its reader.
    for batch in 0..30 {
        let heartbeats: Vec<Value> = (0..200)
            .map(|number| {
                let id = format!("{batch}-{number}");
                let filler = "x".repeat(200);
                json!({"agent_id": id, "incarnation": 1, "sequence": 1,
                       "labels": {"a": filler, "b": filler, "c": filler, "d": filler}})
            })
            .collect();
        let body = json!({ "heartbeats": heartbeats }).to_string();
        let answer = client.request("POST", "/v1/heartbeats/batch", "", body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    let mut slow = Client::connect(gateway.address().parse().expect("an address"));
    slow.send(b"GET /v1/journal/backup HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut byte = [0];
    slow.stream.read_exact(&mut byte).expect("the answer begins");
    let refused = client.get("/v1/journal/backup");
    assert_eq!((refused.status, refused.problem().as_str()), (503, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    beat(&mut client, "beside");
    drop(slow);
    let copied = crate::process::eventually("the next one has its turn", || {
        let copied = client.get("/v1/journal/backup");
        (copied.status == 200).then_some(copied)
    });
    assert!(copied.body.len() > 4 << 20, "{}", copied.body.len());
}

#[test]
fn there_is_no_copy_of_what_is_kept_in_memory() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let refused = client.get("/v1/journal/backup");
    assert_eq!((refused.status, refused.problem().as_str()), (404, "not_found"));
    assert!(refused.json()["detail"].as_str().expect("a text").contains("in memory"));
    let shown = client.get("/v1/journal").json();
    assert_eq!((&shown["ephemeral"], &shown["file_bytes"]), (&json!(true), &json!(0)));
}

#[test]
fn the_journal_says_how_it_does_and_its_digest_outlives_a_restart() {
    let scratch = Scratch::new("digest");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let mut client_of_first = gateway.client();
    ["a", "b"].iter().for_each(|id| beat(&mut client_of_first, id));
    assert_eq!(client_of_first.request("DELETE", "/v1/agents/b", "", b"").status, 204);
    let first = client_of_first.get("/v1/journal?digest=true").json();
    assert_eq!((&first["epoch"], &first["ephemeral"]), (&json!(1), &json!(false)));
    assert!(first["newest_seq"].as_u64() >= Some(4), "{first}");
    assert!(first["file_bytes"].as_u64() > Some(0) && first["commits"].as_u64() > Some(0));
    assert_eq!(first["read_only"], Value::Null);
    assert_eq!(client_of_first.get("/v1/journal").json()["digest"], Value::Null);
    for wrong in ["?digest=yes", "?colour=red"] {
        let answer = client_of_first.get(&format!("/v1/journal{wrong}"));
        assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"), "{wrong}");
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let second = gateway.client().get("/v1/journal?digest=true").json();
    assert_eq!(second["epoch"], 2);
    assert!(first["digest"].as_str().is_some_and(|digest| digest.len() == 16));
    assert_eq!(second["digest"], first["digest"], "an end in order forgets nothing");
}

#[test]
fn the_command_copies_a_running_journal_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("command");
    let gateway = Serving::start_durable(&scratch.path().join("here"), &[]);
    beat(&mut gateway.client(), "a");
    let there = scratch.path().join("there");
    let place = there.to_str().expect("a name");
    let output = pulsegate(&["journal", "backup", place, "--url", &gateway.url]);
    assert!(output.status.success(), "{}", stderr(&output));
    let file = std::fs::metadata(there.join("journal.redb")).expect("the copy");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let verified = pulsegate(&["journal", "verify", "--data", place, "--json"]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}
