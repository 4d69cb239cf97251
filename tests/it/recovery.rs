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
