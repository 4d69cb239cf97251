use pulsegate_wire::event::{
    Forgotten, GatewayStarted, ReadOnly, Recovered, Registered, Standing, Stopped,
};

use super::*;

const KEY: [u64; 2] = [1, 2];

/// Events of a journal, and the number of the last one.
struct Story(Verifier, u64);

impl Story {
    fn new() -> Self {
        Self(Verifier::new(KEY, 1), 0)
    }

    fn tell(&mut self, at_ms: u64, agent: &str, standing: Option<Standing>, kind: EventKind) {
        self.1 += 1;
        let event = Event {
            epoch: 1,
            seq: self.1,
            at_ms,
            tenant: "default".to_owned(),
            agent_id: agent.to_owned(),
            standing,
            kind: Some(kind),
            ..Event::default()
        };
        self.0.event(&event);
    }

    fn agent(&mut self, at_ms: u64, state: State, kind: EventKind) {
        self.tell(at_ms, "a", Some(standing(state, 1)), kind);
    }

    fn register(&mut self) {
        self.agent(0, State::Alive, EventKind::Registered(Registered::default()));
    }

    fn lease(&mut self, holder: &str, token: u64) {
        let (name, holder) = ("leader".to_owned(), holder.to_owned());
        let lease = LeaseGranted { name, holder, token, ttl_ms: 1 };
        self.tell(9, "", None, EventKind::LeaseGranted(lease));
    }

    fn end_lease(&mut self, token: u64) {
        let lease = LeaseEnded { name: "leader".to_owned(), token, ..Default::default() };
        self.tell(9, "", None, EventKind::LeaseEnded(lease));
    }

    fn findings(self) -> Vec<String> {
        self.0.verdict(1).findings.into_iter().map(|finding| finding.what).collect()
    }
}

fn standing(state: State, incarnation: u64) -> Standing {
    Standing { state: state as i32, incarnation, in_force_ms: 30_000, ..Standing::default() }
}

fn silent(last_receipt_ms: u64, grace_ms: u32) -> Silent {
    Silent { last_receipt_ms, in_force_ms: 30_000, grace_ms, ..Silent::default() }
}

fn suspected(last_receipt_ms: u64) -> EventKind {
    EventKind::Suspected(silent(last_receipt_ms, 20_000))
}

fn failed(last_receipt_ms: u64) -> EventKind {
    EventKind::Failed(silent(last_receipt_ms, 61_000))
}

fn recovered(from: State) -> EventKind {
    EventKind::Recovered(Recovered { from: from as i32, ..Default::default() })
}

#[test]
fn a_life_by_the_rules_is_found_good() {
    let mut story = Story::new();
    story.register();
    story.agent(50_000, State::Suspect, suspected(0));
    story.agent(51_000, State::Alive, recovered(State::Suspect));
    story.agent(151_000, State::Suspect, suspected(100_000));
    story.agent(191_000, State::Failed, failed(100_000));
    story.agent(195_000, State::Alive, recovered(State::Failed));
    story.agent(199_000, State::Stopped, EventKind::Stopped(Stopped {}));
    let again = Some(standing(State::Alive, 2));
    story.tell(200_000, "a", again, EventKind::Restarted(Default::default()));
    story.agent(1, State::Alive, EventKind::ReadOnly(ReadOnly::default()));
    let verdict = story.0.verdict(1);
    assert_eq!((verdict.silences, verdict.moves), (3, 7), "{verdict:?}");
    // The last event goes back in time and in incarnation.
    assert_eq!(verdict.count, 2, "{verdict:?}");
}

#[test]
fn a_silence_that_was_not_due_is_found() {
    let mut story = Story::new();
    story.register();
    story.agent(49_999, State::Suspect, suspected(0));
    story.agent(90_999, State::Failed, failed(0));
    assert_eq!(
        story.findings(),
        ["default/a is suspected 1 ms early", "default/a is failed 1 ms early"]
    );
}

#[test]
fn a_silence_judged_by_less_than_is_in_force_is_found() {
    let mut story = Story::new();
    story.register();
    let short = Silent { in_force_ms: 10_000, ..silent(0, 20_000) };
    story.agent(30_000, State::Suspect, EventKind::Suspected(short));
    let findings = story.findings();
    assert!(findings[0].contains("by an interval of 10000 ms, and 30000 ms"), "{findings:?}");
}

#[test]
fn a_silence_that_nobody_could_observe_is_found() {
    let mut story = Story::new();
    story.register();
    story.tell(40_000, "", None, EventKind::GatewayStarted(GatewayStarted::default()));
    story.agent(80_000, State::Suspect, suspected(30_000));
    let findings = story.findings();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].contains("before the start at 40000 ms"), "{findings:?}");
}

#[test]
fn a_heartbeat_within_the_silence_is_found() {
    let mut story = Story::new();
    story.0.heard.insert(("default".to_owned(), "a".to_owned()), [0, 20_000, 50_000].into());
    story.register();
    story.agent(50_000, State::Suspect, suspected(0));
    story.agent(111_000, State::Failed, failed(20_000));
    let findings = story.findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].ends_with("and was heard at 20000 ms"), "{findings:?}");
    assert!(findings[1].ends_with("and was heard at 50000 ms"), "{findings:?}");
}

#[test]
fn every_move_that_is_no_edge_is_found() {
    let states = [State::New, State::Alive, State::Suspect, State::Failed, State::Stopped];
    let mut refused = Vec::new();
    for from in states {
        for to in states {
            let mut story = Story::new();
            story.agent(0, from, EventKind::Registered(Registered::default()));
            story.agent(1, to, EventKind::Updated(Default::default()));
            if !story.findings().is_empty() {
                refused.push((from, to));
            }
        }
    }
    use State::{Alive, Failed, New, Stopped, Suspect};
    let expected = [
        (New, Suspect),
        (Alive, New),
        (Alive, Failed),
        (Suspect, New),
        (Failed, New),
        (Failed, Suspect),
        (Stopped, New),
        // The same incarnation does not come back.
        (Stopped, Alive),
        (Stopped, Suspect),
        (Stopped, Failed),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn an_agent_that_may_beat_is_not_forgotten_and_states_follow_each_other() {
    let mut story = Story::new();
    story.register();
    story.agent(5, State::Alive, recovered(State::Suspect));
    let forgotten = EventKind::Forgotten(Forgotten { from: State::Alive as i32 });
    story.tell(6, "a", None, forgotten);
    let findings = story.findings();
    assert!(findings[0].contains("comes from suspect, and its last event left it alive"));
    assert_eq!(findings[1], "default/a is forgotten while alive", "{findings:?}");
}

#[test]
fn a_lease_with_two_holders_or_a_token_that_does_not_grow_is_found() {
    let token = |counter: u64| 1 << 32 | counter;
    let mut story = Story::new();
    story.lease("a", token(1));
    story.lease("a", token(1));
    story.end_lease(token(1));
    story.lease("b", token(2));
    story.lease("c", token(3));
    story.end_lease(token(3));
    story.lease("a", token(3));
    story.end_lease(token(9));
    story.lease("a", 2 << 32);
    let expected = [
        "goes to c, and b holds it",
        "token 4294967299 after token 4294967299",
        "ends with another token",
        "token 8589934592 is of a later epoch than 1",
    ];
    let findings = story.findings();
    assert_eq!(findings.len(), expected.len(), "{findings:?}");
    for (finding, expected) in findings.iter().zip(expected) {
        assert!(finding.contains(expected), "{finding}");
    }
}

#[test]
fn what_was_not_recorded_is_said() {
    let mut story = Story::new();
    story.agent(50_000, State::Suspect, suspected(0));
    let read_only = ReadOnly { reason: "full".to_owned(), lasted_ms: 7_000 };
    story.tell(60_000, "", None, EventKind::ReadOnly(read_only));
    // What happened meanwhile is not known, so this is no forbidden move.
    story.agent(70_000, State::Stopped, EventKind::Updated(Default::default()));
    story.1 += 5;
    story.agent(80_000, State::Alive, EventKind::Updated(Default::default()));
    let verdict = story.0.verdict(11);
    assert_eq!(verdict.count, 0, "{verdict:?}");
    let said = verdict.unchecked.join("; ");
    let parts =
        ["1 silences", "3 events", "7000 ms in which nothing", "10 older events, which retention"];
    for part in parts {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn numbers_beyond_all_bounds_are_findings_and_no_panic() {
    let mut story = Story::new();
    story.register();
    let silent = Silent {
        last_receipt_ms: u64::MAX,
        in_force_ms: u32::MAX,
        grace_ms: u32::MAX,
        ..Silent::default()
    };
    story.agent(5, State::Suspect, EventKind::Suspected(silent));
    let told = ReadOnly { lasted_ms: u64::MAX, ..ReadOnly::default() };
    story.tell(6, "", None, EventKind::ReadOnly(told.clone()));
    story.1 = u64::MAX - 1;
    story.tell(7, "", None, EventKind::ReadOnly(told));
    let verdict = story.0.verdict(1);
    assert_eq!(verdict.count, 1, "{verdict:?}");
    assert!(verdict.findings[0].what.ends_with("ms early"), "{verdict:?}");
}
