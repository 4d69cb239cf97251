//! From silence to a program that ran, and back: real sockets, real time, a real process.

use std::path::PathBuf;
use std::sync::Arc;

use pulsegate_core::{ActionOutcome, Event, EventKind, IncidentKind};
use tokio::sync::broadcast::Receiver;

use crate::support::{Client, start};

/// Waits for an event that `pick` likes.
fn wait<T>(events: &mut Receiver<Arc<Event>>, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = events.blocking_recv().expect("the gateway runs");
        if let Some(picked) = pick(&event) {
            return picked;
        }
    }
}

/// A class whose silence is noticed at once, and one program that writes down what it was told.
fn quick(note: &std::path::Path) -> String {
    format!(
        "[cadence]\nmin_ms = 100\n\
         [classes.quick]\ninterval_ms = 100\ndetect_within_ms = 1000\nsuspect_grace_ms = 100\n\
         fail_grace_ms = 200\nact_grace_ms = 200\n\
         [recovery]\nsuccess_after = 2\n\
         [recovery.executors.note]\nkind = \"exec\"\n\
         argv = [\"/bin/sh\", \"-c\", \"env | grep ^PULSEGATE_ | sort > \\\"$NOTE\\\"\"]\n\
         env = {{ NOTE = {note:?} }}\n\
         [[routes]]\nhealth = \"builtin\"\ncadence = \"builtin\"\nrecovery = \"builtin\"\n"
    )
}

struct Note(PathBuf);

impl Note {
    fn new(test: &str) -> Self {
        let name = format!("pulsegate-it-{}-{test}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_silent_agent_is_recovered_by_a_program_and_its_return_closes_the_incident() {
    let note = Note::new("note");
    let gateway = start(&quick(&note.0));
    let mut events = gateway.subscribe();
    let mut client = Client::to(&gateway);
    let beat = |sequence: u32| {
        let agent = r#""agent_id":"-worker","class":"quick","incarnation":1"#;
        format!("{{{agent},\"sequence\":{sequence}}}")
    };
    assert_eq!(client.beat(&beat(1)).status, 200);
    let kind = wait(&mut events, |event| match event.kind {
        EventKind::IncidentOpened { kind, .. } => Some(kind),
        _ => None,
    });
    assert_eq!(kind, IncidentKind::Silence);
    let outcome = wait(&mut events, |event| match event.kind {
        EventKind::ActionEnded { outcome, .. } => Some(outcome),
        _ => None,
    });
    assert_eq!(outcome, ActionOutcome::Done);
    let told = std::fs::read_to_string(&note.0).expect("the program wrote");
    let told: Vec<&str> = told.lines().filter(|line| !line.contains("ACTION_ID")).collect();
    assert_eq!(
        told,
        [
            "PULSEGATE_AGENT_ID=-worker",
            "PULSEGATE_CLASS=quick",
            "PULSEGATE_INCIDENT=silence",
            "PULSEGATE_TENANT=default",
        ]
    );
    for sequence in 2..5 {
        assert_eq!(client.beat(&beat(sequence)).status, 200);
    }
    let recovered = wait(&mut events, |event| match event.kind {
        EventKind::IncidentClosed { recovered, .. } => Some(recovered),
        _ => None,
    });
    assert!(recovered);
}

/// The class of [`quick`] with these executors, in their order.
fn laddered(executors: &str) -> String {
    format!(
        "[cadence]\nmin_ms = 100\n\
         [classes.quick]\ninterval_ms = 100\ndetect_within_ms = 1000\nsuspect_grace_ms = 100\n\
         fail_grace_ms = 200\nact_grace_ms = 200\n\
         [recovery]\nsuccess_after = 2\n{executors}\
         [[routes]]\nhealth = \"builtin\"\ncadence = \"builtin\"\nrecovery = \"builtin\"\n"
    )
}

fn exec(id: &str, program: &str, wait_ms: u32) -> String {
    format!(
        "[recovery.executors.{id}]\nkind = \"exec\"\nargv = [{program:?}]\nwait_ms = {wait_ms}\n"
    )
}

const QUICK: &str = r#"{"agent_id":"a","class":"quick"}"#;

#[test]
fn rungs_are_taken_in_their_order_until_none_is_left() {
    let ask = "[recovery.executors.ask]\nkind = \"command\"\nwait_ms = 3600000\n";
    let (fails, works) = (exec("fails", "/bin/false", 100), exec("works", "/bin/true", 100));
    let gateway = start(&laddered(&format!("{ask}{fails}{works}")));
    let mut events = gateway.subscribe();
    assert_eq!(Client::to(&gateway).beat(QUICK).status, 200);
    let mut taken = Vec::new();
    let (recovered, actions) = loop {
        let event = events.blocking_recv().expect("the gateway runs");
        match &event.kind {
            EventKind::ActionStarted { executor, .. } => taken.push((executor.clone(), None)),
            EventKind::ActionEnded { executor, outcome, .. } => {
                let last = taken.last_mut().expect("it was started");
                assert_eq!(&last.0, executor, "one at a time");
                last.1 = Some(*outcome);
            }
            EventKind::IncidentClosed { recovered, actions, .. } => break (*recovered, *actions),
            _ => {}
        }
    };
    let rung = |executor: &str, outcome| (executor.to_owned(), Some(outcome));
    assert_eq!(
        taken,
        [
            // An hour of waiting for an answer that cannot come would be no recovery.
            rung("ask", ActionOutcome::Unreachable),
            rung("fails", ActionOutcome::Failed),
            rung("works", ActionOutcome::Done),
        ]
    );
    assert_eq!((recovered, actions), (false, 3));
}

#[test]
fn a_heartbeat_cancels_the_rungs_that_have_not_begun() {
    // The second would come ten seconds after the first, well after the agent is back.
    let (first, second) = (exec("first", "/bin/true", 10_000), exec("second", "/bin/true", 10_000));
    let gateway = start(&laddered(&format!("{first}{second}")));
    let mut events = gateway.subscribe();
    let mut client = Client::to(&gateway);
    assert_eq!(client.beat(QUICK).status, 200);
    wait(&mut events, |event| matches!(event.kind, EventKind::ActionEnded { .. }).then_some(()));
    for _ in 0..2 {
        assert_eq!(client.beat(QUICK).status, 200);
    }
    let closed = wait(&mut events, |event| match &event.kind {
        EventKind::ActionStarted { executor, .. } => panic!("{executor} was started"),
        EventKind::IncidentClosed { recovered, actions, .. } => Some((*recovered, *actions)),
        _ => None,
    });
    assert_eq!(closed, (true, 1));
}

#[test]
fn nothing_is_done_about_a_paused_agent_before_it_is_resumed() {
    let gateway = start(&laddered(&exec("restart", "/bin/true", 1_000)));
    let mut events = gateway.subscribe();
    let mut client = Client::to(&gateway);
    let json = "content-type: application/json\r\n";
    assert_eq!(client.request("PUT", "/v1/agents/a", json, b"{}").status, 201);
    assert_eq!(client.request("POST", "/v1/agents/a/pause", json, b"").status, 200);
    assert_eq!(client.beat(QUICK).status, 200);
    wait(&mut events, |event| matches!(event.kind, EventKind::Failed { .. }).then_some(()));
    assert_eq!(client.request("POST", "/v1/agents/a/resume", json, b"").status, 200);
    // Had it been acted upon when it failed, that would have been told first.
    let order = [(), ()].map(|()| {
        wait(&mut events, |event| match event.kind {
            EventKind::Paused(false) => Some("resumed"),
            EventKind::ActionStarted { .. } => Some("acted upon"),
            _ => None,
        })
    });
    assert_eq!(order, ["resumed", "acted upon"]);
}
