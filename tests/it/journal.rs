//! `pulsegate journal` on the journal of a real gateway.

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Scratch, Serving, pulsegate, stderr, stdout};

/// Where a gateway and its copies live.
struct Home(Scratch);

impl Home {
    fn new(test: &str) -> Self {
        Self(Scratch::new(test))
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Lets a gateway serve two agents and end in order.
    fn serve(&self) {
        let gateway = Serving::start_durable(&self.0.path().join("data"), &[]);
        for agent in ["a", "b"] {
            let beat = pulsegate(&["beat", agent, "--quiet", "--url", &gateway.url]);
            assert!(beat.status.success(), "{}", stderr(&beat));
        }
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.exit_code(), Some(0));
    }
}

fn journal(args: &[&str]) -> std::process::Output {
    pulsegate(&[&["journal"], args].concat())
}

fn done(args: &[&str]) -> String {
    let output = journal(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&done(&[args, &["--json"]].concat())).unwrap()
}

#[test]
fn a_journal_is_verified_counted_exported_and_replayed_to_the_digest_it_ended_with() {
    let home = Home::new("look");
    let data = home.at("data");
    home.serve();
    home.serve();

    let verdict = json(&["verify", "--data", &data]);
    assert_eq!(verdict["count"], 0, "{verdict}");
    let said = done(&["verify", "--data", &data]);
    assert!(said.ends_with("nothing is there that must not be\n"), "{said}");

    let stats = json(&["stats", "--data", &data]);
    assert_eq!(stats["counts"]["kinds"]["registered"], 2, "{stats}");
    assert_eq!(stats["counts"]["kinds"]["gateway_ended"], 2, "{stats}");
    assert_eq!(stats["journal"]["epoch"], 2, "{stats}");

    let lines = done(&["export", "--data", &data]);
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len() as u64, stats["counts"]["events"].as_u64().unwrap());
    assert!(events.iter().zip(1_u64..).all(|(event, seq)| event["seq"] == seq));
    assert_eq!(events.last().unwrap()["kind"], "gateway_ended");

    let replayed = json(&["replay", "--data", &data, "--expect-last"]);
    assert_eq!(
        (&replayed["agents"], &replayed["digest"]),
        (&2.into(), &events.last().unwrap()["digest"])
    );
}

#[test]
fn a_copy_is_restored_with_an_epoch_far_ahead() {
    let home = Home::new("copy");
    home.serve();
    let [data, copy, place] = ["data", "copy", "place"].map(|name| home.at(name));
    done(&["backup", &copy, "--data", &data]);
    assert_eq!(journal(&["backup", &copy, "--data", &data]).status.code(), Some(1));
    let said = done(&["restore", &copy, "--data", &place]);
    assert!(said.ends_with("the next start is number 1026\n"), "{said}");
    let again = journal(&["restore", &copy, "--data", &place]);
    assert_eq!(again.status.code(), Some(1), "a journal is never overwritten");
    let digest = |data: &str| json(&["replay", "--data", data])["digest"].clone();
    assert_eq!(digest(&place), digest(&data));
}

#[test]
fn a_journal_in_use_or_missing_is_refused_in_a_sentence() {
    let home = Home::new("refused");
    let data = home.at("data");
    let gateway = Serving::start_durable(&home.0.path().join("data"), &[]);
    for command in ["verify", "export", "stats", "replay"] {
        let output = journal(&[command, "--data", &data]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr(&output).contains("is in use by process "), "{}", stderr(&output));
    }
    drop(gateway);
    let output = journal(&["stats", "--data", &home.at("nowhere")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no journal in "), "{}", stderr(&output));
    let output = journal(&["backup", &home.at("copy"), "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(!home.0.path().join("copy/journal.redb").exists());
}
