//! `pulsegate sim` as somebody types it.

use serde_json::Value;

use crate::process::{pulsegate, stderr, stdout};

fn sim(flags: &[&str]) -> std::process::Output {
    pulsegate(&[&["sim"], flags].concat())
}

#[test]
fn a_run_says_first_what_it_is_and_the_same_line_tells_the_same_history() {
    let drawn = sim(&["--seed", "12", "--json"]);
    assert!(drawn.status.success(), "{}", stderr(&drawn));
    let drawn: Value = serde_json::from_str(&stdout(&drawn)).expect("JSON");
    assert_eq!(drawn["violations"], Value::Array(Vec::new()));
    assert!(drawn["heartbeats"].as_u64() > Some(0));
    let line = drawn["run"].as_str().expect("a line");
    let told = sim(&line.split(' ').collect::<Vec<_>>());
    let text = stdout(&told);
    assert!(text.starts_with(&format!("pulsegate sim {line}\n")), "{text}");
    assert!(text.contains(drawn["history"].as_str().expect("a digest")), "{text}");
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    let fault = sim(&["--faults", "loss,fire"]);
    assert_eq!(fault.status.code(), Some(2));
    assert!(stderr(&fault).contains("no fault is called fire; there are loss, burst"));
    let scenario = sim(&["--scenario", "doomsday"]);
    assert_eq!(scenario.status.code(), Some(64));
    assert!(stderr(&scenario).contains("steady, loss-1"), "{}", stderr(&scenario));
    assert_eq!(sim(&["--hunt", "-1"]).status.code(), Some(2));
    assert_eq!(sim(&["--agents", "0"]).status.code(), Some(2));
    assert_eq!(sim(&["--hunt", "1", "--agents", "3"]).status.code(), Some(2));
}
