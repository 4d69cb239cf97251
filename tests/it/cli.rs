//! The commands against a gateway in a process of its own, and their exit codes.

use rustix::process::Signal;

use crate::process::{Serving, eventually, pulsegate, stderr, stdout};

const ANY: &str = "127.0.0.1:0";

#[test]
fn a_beat_is_answered_listed_and_explained() {
    let gateway = Serving::start(ANY);
    let url = gateway.url.as_str();
    let beat =
        pulsegate(&["beat", "job", "--class", "critical", "--queue-depth", "7", "--url", url]);
    assert!(beat.status.success(), "{}", stderr(&beat));
    assert!(stdout(&beat).contains("job: heartbeat accepted"), "{}", stdout(&beat));
    assert!(stdout(&beat).contains("beat again in "), "{}", stdout(&beat));

    let directive = gateway.ask(&["beat", "job", "--status", "busy"]);
    assert_eq!(directive["number"], 2, "the gateway counts for whoever does not");
    let interval = directive["next_interval_ms"].as_u64().expect("an interval");
    assert!((1_000..=300_000).contains(&interval), "{interval}");

    let agent = gateway.agent("job").expect("it is listed");
    assert_eq!((&agent["state"], &agent["class"]), (&"alive".into(), &"critical".into()));
    let table = stdout(&pulsegate(&["agents", "--state", "alive", "--url", url]));
    assert!(table.starts_with("AGENT") && table.contains("job"), "{table}");
    let none = stdout(&pulsegate(&["agents", "--state", "failed", "--url", url]));
    assert_eq!(none, "no agents\n");

    let why = stdout(&pulsegate(&["explain", "job", "--url", url]));
    assert!(why.contains("job is alive") && why.contains("What the policies saw:"), "{why}");
    let why = gateway.ask(&["explain", "job"]);
    assert_eq!(why["decision"]["number"], 2);
}

#[test]
fn a_quiet_beat_tells_by_its_exit_code_alone() {
    let gateway = Serving::start(ANY);
    let beat = pulsegate(&["beat", "job", "--quiet", "--url", &gateway.url]);
    assert_eq!(beat.status.code(), Some(0));
    assert_eq!((stdout(&beat), stderr(&beat)), (String::new(), String::new()));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let gateway = Serving::start(ANY);
    let (url, address) = (gateway.url.clone(), gateway.address());
    let gone = "http://127.0.0.1:1";
    for (args, code) in [
        (&["explain", "nobody", "--url", &url][..], 1),
        (&["beat", "job", "--no-such-flag"], 2),
        (&["beat", "not an id", "--url", &url], 64),
        (&["beat", "job", "--url", "gateway"], 64),
        (&["serve", "--set", "cadence.min_ms=soon"], 64),
        (&["serve", "--listen", "0.0.0.0:0"], 64),
        (&["serve", "--config", "/no/such/file.toml"], 64),
        (&["beat", "job", "--url", gone], 69),
        (&["agents", "--url", gone], 69),
        (&["serve", "--listen", &address], 69),
    ] {
        let output = pulsegate(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}: what is wrong goes to standard error");
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_file_with_many_faults_is_reported_whole() {
    let file = Scratch::new("faults.toml", "listen = 7\n[cadence]\nmin_ms = 1\nspeed = 3\n");
    let output = pulsegate(&["config", "check", &file.path]);
    assert_eq!(output.status.code(), Some(64));
    let said = stderr(&output);
    for place in [":1: listen", ":3: cadence.min_ms", ":4: cadence.speed"] {
        assert!(said.contains(place), "{place} is missing in: {said}");
    }
    assert!(said.contains("3 problems"), "{said}");
}

#[test]
fn the_template_is_a_configuration_that_fits() {
    let template = pulsegate(&["config", "template"]);
    assert!(template.status.success());
    let file = Scratch::new("template.toml", &stdout(&template));
    let check = pulsegate(&["config", "check", &file.path]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
}

#[test]
fn a_hang_up_reloads_and_a_termination_ends_gracefully() {
    let file = Scratch::new("live.toml", "[classes.normal]\ninterval_ms = 20000\n");
    let gateway = Serving::start_with(&["--listen", ANY, "--config", &file.path]);
    gateway.ask(&["beat", "before"]);
    assert!(gateway.agent("before").expect("listed")["interval_ms"].as_u64() > Some(7_000));

    std::fs::write(&file.path, "[classes.normal]\ninterval_ms = 5000\n").expect("writes");
    gateway.signal(Signal::HUP);
    let mut count = 0;
    eventually("a new agent begins with the new interval", || {
        count += 1;
        let id = format!("after-{count}");
        gateway.ask(&["beat", &id]);
        let interval = gateway.agent(&id).expect("listed")["interval_ms"].as_u64();
        (interval <= Some(5_000)).then_some(())
    });

    std::fs::write(&file.path, "[cadence]\nmin_ms = 0\n").expect("writes");
    gateway.signal(Signal::HUP);
    gateway.ask(&["beat", "before"]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
}

/// A file of this test alone; removed when dropped.
struct Scratch {
    path: String,
}

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("pulsegate-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the file is written");
        Self { path: path.to_str().expect("a text").to_owned() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.path);
    }
}
