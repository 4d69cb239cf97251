//! `pulsegate policy replay` as somebody types it, on journals on the disk.

use std::path::PathBuf;
use std::process::Output;

use pulsegate_core::{Observation, Signals};
use pulsegate_journal::{HeartbeatRecord, Journal, Options, Place, RecordingMode};
use pulsegate_policy::{fixtures, reference};
use pulsegate_wire::event::GatewayEnded;
use pulsegate_wire::{Event, EventKind};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Scratch, Serving, pulsegate, stderr, stdout};

/// 2026-11-23T02:44:00Z.
const WALL_MS: u64 = 1_795_401_840_000;

/// A directory with policies and a journal.
struct Home(Scratch);

impl Home {
    fn new(test: &str) -> Self {
        let home = Self(Scratch::new(&format!("replay-{test}")));
        for (name, bytes) in reference::ALL.iter().chain(fixtures::ALL) {
            std::fs::write(home.path(&format!("{name}.component.wasm")), bytes).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Records the heartbeats of ten agents, each twenty times; agent 0 has a queue.
    fn record(&self) {
        self.write(RecordingMode::All, 10, 20);
    }

    fn write(&self, mode: RecordingMode, agents: u64, beats: u64) {
        let mut options = Options::new(Place::Directory(self.path("data")));
        options.recording.mode = mode;
        options.recording.max_age = std::time::Duration::from_secs(1_000 * 86_400);
        let journal = Journal::open(options, WALL_MS, Box::new(|_| ())).unwrap().journal;
        for sequence in 1..=beats {
            (0..agents).for_each(|agent| journal.record(beat(agent, sequence)));
        }
        let kind = Some(EventKind::GatewayEnded(GatewayEnded::default()));
        let wall_ms = WALL_MS + beats * 30_000;
        journal.close(Event { kind, wall_ms, ..Event::default() }).unwrap();
    }

    fn replay(&self, policy: &str, flags: &[&str]) -> Output {
        let (file, data) = (self.at(&format!("{policy}.component.wasm")), self.at("data"));
        let given = ["policy", "replay", &file, "--journal", &data];
        pulsegate(&[&given, flags].concat())
    }

    fn report(&self, policy: &str, flags: &[&str]) -> Value {
        let output = self.replay(policy, &[flags, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("one document")
    }
}

fn beat(agent: u64, sequence: u64) -> HeartbeatRecord {
    let at_ms = 1_000 + (sequence - 1) * 30_000 + agent;
    let first = if sequence == 1 { Signals::FIRST } else { Signals::DIRECTIVE_SEEN };
    let seen = Observation {
        now_ms: at_ms,
        signals: first.with(Signals::HAS_QUEUE_DEPTH),
        interval_ms: 30_000,
        queue_depth: if agent == 0 { 800.0 } else { 0.0 },
        ..Observation::default()
    };
    HeartbeatRecord {
        at_ms,
        wall_ms: WALL_MS + at_ms,
        tenant: "default".to_owned(),
        agent_id: format!("agent-{agent}"),
        class: if agent < 5 { "normal" } else { "background" }.to_owned(),
        incarnation: 7,
        sequence,
        observed: Some((&seen).into()),
        judged: "healthy".to_owned(),
        hint_ms: 30_000.0,
        policy: "steady@0123456789ab".to_owned(),
        reason: "default interval of the class".to_owned(),
        stored_ms: 30_000,
        effective_ms: 30_000,
        sent_ms: 30_000,
        bound: "none".to_owned(),
        ..HeartbeatRecord::default()
    }
}

fn refused(output: &Output, code: i32, text: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    assert!(stderr(output).contains(text), "{text} is missing in: {}", stderr(output));
    assert_eq!(stdout(output), "", "what is wrong goes to standard error");
}

#[test]
fn a_report_has_two_parts_that_are_never_mixed_and_a_page_and_a_document() {
    let home = Home::new("whole");
    home.record();
    let page = home.at("report.html");
    let output = home.replay("queue-pressure", &["--html", &page]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "progress is for terminals");
    let text = stdout(&output);
    let (exact, estimated) = text.split_once("\nESTIMATED: ").expect("two parts");
    assert!(exact.contains("\nEXACT: ") && exact.contains("turns of the interval"), "{exact}");
    assert!(exact.contains("200 heartbeats of 10 agents"), "{exact}");
    assert!(exact.contains("the interval is shorter\n  default/agent-0 at 2026-11-23T"), "{exact}");
    assert!(estimated.contains("RECORDED") && !estimated.contains("ENFORCED"), "{estimated}");
    assert!(!exact.contains("RECORDED"), "{exact}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("2026-11-23T02:44:01Z") && page.ends_with("</html>\n"));

    let report = home.report("queue-pressure", &[]);
    assert_eq!(report["scope"]["heartbeats"], 200);
    assert_eq!(report["scope"]["unexplained"], 0, "the guard explains what was recorded");
    assert_eq!(report["policies"]["enforced"][0][0], "steady@0123456789ab");
    // Those of the slow class were kept at a quarter of what it is allowed.
    assert_eq!(report["exact"]["top"][0]["agent_id"], "agent-5");
}

#[test]
fn flags_choose_what_is_replayed_and_how() {
    let home = Home::new("flags");
    home.record();
    let heartbeats = |flags: &[&str]| home.report("steady", flags)["scope"]["heartbeats"].clone();
    assert_eq!(heartbeats(&["--class", "background"]), 100);
    assert_eq!(heartbeats(&["--since", "2026-11-23T02:49:01Z"]), 100);
    assert_eq!(heartbeats(&["--until", "2026-11-23T02:49:01Z"]), 100);
    assert_eq!(heartbeats(&["--since", "2026-11-23", "--until", "2026-11-24"]), 200);
    let settings = ["--settings", r#"{"alarm_interval_ms": 2000}"#];
    assert_eq!(heartbeats(&settings), 200);
    let shown = home.replay("steady", &["--progress", "always"]);
    assert!(shown.status.success() && stdout(&shown).contains("EXACT"));
    // Other classes than those of the recording: what was recorded is not explained by them.
    let config = home.at("pulsegate.toml");
    let fast = "[classes.normal]\ninterval_ms = 15000\ndetect_within_ms = 40000\n";
    std::fs::write(&config, fast).unwrap();
    let output = home.replay("steady", &["--config", &config]);
    let text = stdout(&output) + &stderr(&output);
    assert!(text.contains("give the --config of the gateway that recorded"), "{text}");
}

#[test]
fn what_is_wrong_with_a_flag_is_said_before_anything_is_read() {
    let home = Home::new("usage");
    home.record();
    let soon = home.replay("steady", &["--since", "soon"]);
    refused(&soon, 2, "must be an instant as 2026-11-23T18:00:00Z");
    let turned = ["--since", "2026-11-24", "--until", "2026-11-23"];
    refused(&home.replay("steady", &turned), 64, "is not before --until 2026-11-23T00:00:00Z");
    refused(&home.replay("steady", &["--class", "none"]), 64, "there are critical, normal");
    refused(&home.replay("steady", &["--settings", "5"]), 64, "must be a JSON object");
    refused(&home.replay("steady", &["--settings", "{"]), 64, "--settings: ");
    let unknown = ["--settings", r#"{"no_such": 1}"#];
    refused(&home.replay("steady", &unknown), 1, "refuses its settings for class critical");
    refused(&home.replay("steady", &["--config", "/no/such.toml"]), 64, "cannot be read");
    let page = home.at("no/such/page.html");
    refused(&home.replay("steady", &["--html", &page]), 1, "cannot be written");
    refused(&home.replay("absent", &[]), 1, "cannot be replayed: ");
    refused(&home.replay("ladder", &[]), 1, "neither judges health nor paces");
    std::fs::write(home.path("text.component.wasm"), "no component").unwrap();
    refused(&home.replay("text", &[]), 1, "the policy cannot be replayed: ");
}

#[test]
fn a_time_without_records_says_which_there_are() {
    let home = Home::new("since");
    home.record();
    let late = home.replay("steady", &["--since", "2027-01-01"]);
    refused(&late, 1, "none of 200 recorded heartbeats is of this time, class and tenant");
    refused(&late, 1, "they are of 2026-11-23T02:44:01Z to 2026-11-23T02:53:31Z");
    refused(&home.replay("steady", &["--tenant", "red"]), 1, "none of 200 recorded heartbeats");
}

#[test]
fn a_journal_without_recorded_heartbeats_says_how_to_record_them() {
    let home = Home::new("off");
    refused(&home.replay("steady", &[]), 1, "there is no journal in ");
    home.write(RecordingMode::Off, 5, 5);
    refused(&home.replay("steady", &[]), 1, "no heartbeat was recorded: [journal] heartbeats = ");
}

#[test]
fn a_policy_that_fails_on_some_heartbeats_is_replayed_to_the_end() {
    let home = Home::new("faults");
    home.record();
    // It traps where there is a queue: at all heartbeats of one agent.
    let report = home.report("traps", &[]);
    assert_eq!(report["exact"]["faults"]["kinds"], serde_json::json!([["trap", 20]]));
    assert_eq!(report["scope"]["heartbeats"], 200);
    let text = stdout(&home.replay("traps", &[]));
    assert!(text.contains("faults     trap 20; the built-in policy answered"), "{text}");
}

#[test]
fn a_damaged_journal_is_replayed_as_far_as_it_can_be_read_and_says_so() {
    let home = Home::new("damaged");
    home.record();
    let file = home.path("data/journal.redb");
    let whole = std::fs::read(&file).unwrap();
    // A bit in the name of an agent: its record fails its checksum, and the rest does not.
    let place = whole.windows(7).position(|bytes| bytes == b"agent-7").unwrap();
    let mut damaged = whole.clone();
    damaged[place] ^= 4;
    std::fs::write(&file, &damaged).unwrap();
    let report = home.report("steady", &[]);
    assert_eq!(report["scope"]["damaged"], 1);
    assert_eq!(report["scope"]["heartbeats"], 199);
    let text = stdout(&home.replay("steady", &[]));
    assert!(text.contains("1 records are damaged and left out"), "{text}");

    // Cut off: nothing in it can be trusted.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused(&home.replay("steady", &[]), 1, "is damaged beyond repair");
    std::fs::write(&file, b"").unwrap();
    refused(&home.replay("steady", &[]), 1, "the file is empty");
}

#[test]
fn what_a_real_gateway_recorded_is_explained_to_the_last_interval() {
    let home = Home::new("real");
    let gateway = Serving::start_durable(&home.path("data"), &[]);
    for round in 0..6 {
        for agent in ["a", "b", "c"] {
            let depth = (round * 300).to_string();
            let args = ["beat", agent, "--queue-depth", &depth, "--quiet", "--url", &gateway.url];
            let output = pulsegate(&args);
            assert!(output.status.success(), "{}", stderr(&output));
        }
    }
    let busy = home.replay("steady", &[]);
    refused(&busy, 1, "is in use by process ");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
    let report = home.report("steady", &[]);
    assert_eq!(report["scope"]["heartbeats"], 18);
    assert_eq!(
        (&report["scope"]["unexplained"], &report["exact"]["differing"]),
        (&0.into(), &0.into())
    );
    let other = home.report("queue-pressure", &[]);
    assert!(other["exact"]["differing"].as_u64() > Some(0), "{other}");
}
