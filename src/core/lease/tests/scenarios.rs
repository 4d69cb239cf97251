//! Single steps, one promise each.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pulsegate_wire::{Code, EventKind, LeaseGrant, event, limits};

use super::super::*;

const TTL_MS: u32 = 10_000;
const TENANT: TenantId = TenantId(1);

/// A table with its clock and all that it has caused.
struct Desk {
    leases: Leases,
    now: u64,
    effects: Effects,
}

const fn key(name: &str) -> Key<'_> {
    Key { tenant: TENANT, name }
}

impl Desk {
    fn new() -> Self {
        Self { leases: Leases::new(5), now: 1_000, effects: Effects::default() }
    }

    fn ask(&mut self, name: &str, holder: &str, wait: bool) -> Result<Acquired, Refusal> {
        let request = Request { key: key(name), holder, ttl_ms: TTL_MS, wait };
        self.leases.acquire(Millis(self.now), &request, &mut self.effects)
    }

    /// Acquires without waiting, and waits for nothing.
    fn grant(&mut self, name: &str, holder: &str) -> Grant {
        match self.ask(name, holder, false) {
            Ok(Acquired::Granted(grant)) => grant,
            other => panic!("{holder} got {other:?}"),
        }
    }

    /// Acquires, and the journal is quick.
    fn hold(&mut self, name: &str, holder: &str) -> u64 {
        let grant = self.grant(name, holder);
        self.confirm(&grant).expect("it is there").token
    }

    fn confirm(&mut self, grant: &Grant) -> Option<Grant> {
        self.leases.confirm(Millis(self.now), grant, &mut self.effects)
    }

    fn undo(&mut self, grant: &Grant) {
        self.leases.undo(Millis(self.now), grant, &mut self.effects);
    }

    fn wait(&mut self, name: &str, holder: &str) -> WaiterId {
        match self.ask(name, holder, true) {
            Ok(Acquired::Waiting(waiter)) => waiter,
            other => panic!("{holder} got {other:?}"),
        }
    }

    fn renew(&mut self, name: &str, token: u64, ttl_ms: Option<u32>) -> Result<Grant, Refusal> {
        self.leases.renew(Millis(self.now), key(name), token, ttl_ms, &mut self.effects)
    }

    fn release(&mut self, name: &str, token: u64) -> Result<bool, Refusal> {
        self.leases.release(Millis(self.now), key(name), token, &mut self.effects)
    }

    fn check(&self, name: &str, token: u64) -> Check {
        self.leases.check(Millis(self.now), key(name), token)
    }

    fn beat(&mut self, holder: &str, is_fit: bool) -> Vec<LeaseGrant> {
        let mut directive = Vec::new();
        self.leases.renew_held(Millis(self.now), TENANT, holder, is_fit, &mut directive);
        directive
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        while self.leases.handle_deadlines(Millis(self.now), 1, &mut self.effects) {}
    }

    /// What was told of leases since the last time.
    fn told(&mut self) -> Vec<String> {
        let events = self.effects.events.drain(..);
        let text = |event: Event| match event.kind {
            EventKind::LeaseGranted(grant) => format!("granted {}", grant.holder),
            EventKind::LeaseEnded(ended) => format!("{} {}", ended.reason, ended.holder),
            other => panic!("{other:?} is about no lease"),
        };
        events.map(text).collect()
    }

    fn answers(&mut self) -> Vec<(WaiterId, Result<Grant, Refusal>)> {
        self.effects.answers.drain(..).map(|answer| (answer.waiter, answer.result)).collect()
    }

    fn holder(&self, name: &str) -> Option<&str> {
        self.leases.info(Millis(self.now), key(name)).map(|info| info.holder)
    }

    /// Another run of the gateway, from all that was told.
    fn restart(&mut self, epoch: u32, events: &[event::Event]) {
        self.leases = Leases::new(epoch);
        events.iter().for_each(|event| self.leases.apply(TENANT, event));
        self.leases.resume(Millis(self.now), &mut self.effects);
    }

    fn log(&mut self) -> Vec<event::Event> {
        self.effects.events.drain(..).map(|event| event.to_wire("default")).collect()
    }
}

#[test]
fn a_free_lease_is_granted_and_told_only_once_it_is_durable() {
    let mut desk = Desk::new();
    let grant = desk.grant("l", "a");
    assert_eq!((grant.token, grant.ttl_ms, grant.waits), (5 << 32 | 1, TTL_MS, true));
    assert_eq!(desk.told(), ["granted a"]);
    assert_eq!(desk.holder("l"), None, "nobody is told of it");
    assert_eq!(desk.check("l", grant.token), Check::Free);
    assert!(desk.beat("a", true).is_empty(), "its holder neither");
    assert_eq!(desk.renew("l", grant.token, None), Err(Refusal::Unknown));
    let refused = desk.ask("l", "b", false);
    assert!(matches!(refused, Err(Refusal::Held { waits: true, .. })), "{refused:?}");

    let told = desk.confirm(&grant).expect("it is there");
    assert_eq!(told, Grant { waits: false, ..grant.clone() });
    assert_eq!(desk.holder("l"), Some("a"));
    assert_eq!(desk.check("l", grant.token), Check::Valid { remaining_ms: TTL_MS.into() });
    desk.now += 4_000;
    assert_eq!(
        desk.ask("l", "b", false),
        Err(Refusal::Held { holder: "a".to_string(), remaining_ms: 6_000, waits: false })
    );
}

#[test]
fn the_same_holder_gets_the_same_token_and_its_time_anew() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    desk.told();
    desk.now += 4_000;
    let again = desk.grant("l", "a");
    assert_eq!((again.token, again.waits), (token, false), "a renewal waits for nothing");
    assert_eq!(desk.check("l", token), Check::Valid { remaining_ms: TTL_MS.into() });
    assert!(desk.told().is_empty());
}

#[test]
fn a_lease_that_nobody_renews_expires_to_the_millisecond() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    desk.told();
    assert_eq!(desk.leases.next_deadline(), Some(Millis(1_000 + u64::from(TTL_MS))));
    desk.pass(u64::from(TTL_MS) - 1);
    assert_eq!(desk.check("l", token), Check::Valid { remaining_ms: 1 });
    desk.now += 1;
    assert_eq!(desk.check("l", token), Check::Free, "the timer need not have come");
    assert_eq!(desk.renew("l", token, None), Err(Refusal::Unknown));
    assert_eq!(desk.told(), ["expired a"]);
    assert_eq!(desk.leases.next_deadline(), None);
    assert_eq!(desk.leases.counts(), (0, 0));
}

#[test]
fn an_accepted_heartbeat_renews_all_that_its_agent_holds_if_it_is_fit() {
    let mut desk = Desk::new();
    let tokens = [desk.hold("l", "a"), desk.hold("m", "a")];
    desk.hold("n", "b");
    desk.pass(9_000);
    assert!(desk.beat("a", false).is_empty());
    assert_eq!(desk.check("l", tokens[0]), Check::Valid { remaining_ms: 1_000 });
    let directive = desk.beat("a", true);
    let expected = |name: &str, token| LeaseGrant { name: name.into(), token, ttl_ms: 10_000 };
    assert_eq!(directive, [expected("l", tokens[0]), expected("m", tokens[1])]);
    desk.pass(1_000);
    assert_eq!(
        (desk.holder("l"), desk.holder("m"), desk.holder("n")),
        (Some("a"), Some("a"), None)
    );
    desk.pass(9_000);
    assert!(desk.beat("a", true).is_empty(), "what is over stays over");
}

#[test]
fn a_repeated_heartbeat_names_only_what_holds_from_its_receipt_on() {
    let mut desk = Desk::new();
    desk.hold("l", "a");
    desk.hold("m", "a");
    desk.now += 5_000;
    let receipt = Millis(desk.now);
    desk.grant("m", "a");
    let mut directive = Vec::new();
    desk.leases.renewed_since(Millis(desk.now), TENANT, "a", receipt, &mut directive);
    assert_eq!(directive.iter().map(|lease| lease.name.as_str()).collect::<Vec<_>>(), ["m"]);
}

#[test]
fn a_longer_ttl_counts_once_it_is_durable_and_a_shorter_one_never() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    desk.told();
    let longer = desk.renew("l", token, Some(60_000)).expect("it is held");
    assert_eq!((longer.ttl_ms, longer.waits), (60_000, true));
    assert_eq!(desk.told(), ["granted a"]);
    assert_eq!(desk.beat("a", true)[0].ttl_ms, 10_000, "a restart may not know of it");
    assert_eq!(desk.check("l", token), Check::Valid { remaining_ms: 60_000 }, "it never shortens");
    desk.confirm(&longer);
    assert_eq!(desk.beat("a", true)[0].ttl_ms, 60_000);
    let shorter = desk.renew("l", token, Some(3_000)).expect("it is held");
    assert_eq!((shorter.ttl_ms, shorter.waits), (60_000, false));
    assert_eq!(desk.leases.smallest_ttl_ms(TENANT, "a"), Some(60_000));
    assert!(desk.told().is_empty());
}

#[test]
fn a_longer_ttl_that_was_too_slow_is_forgotten_and_can_be_asked_for_again() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    let longer = desk.renew("l", token, Some(60_000)).expect("it is held");
    desk.undo(&longer);
    assert_eq!(desk.confirm(&longer).map(|told| told.ttl_ms), Some(10_000), "what is in force");
    desk.told();
    assert!(desk.renew("l", token, Some(60_000)).is_ok_and(|again| again.waits));
    assert_eq!(desk.told(), ["granted a"]);
}

#[test]
fn a_release_needs_the_token_and_can_be_repeated() {
    let mut desk = Desk::new();
    let first = desk.hold("l", "a");
    assert_eq!(desk.release("l", first + 1), Ok(false));
    assert_eq!(desk.holder("l"), Some("a"));
    assert_eq!(desk.release("l", first), Ok(true));
    assert_eq!(desk.release("l", first), Ok(false));
    let second = desk.hold("l", "b");
    assert!(second > first);
    assert_eq!(desk.release("l", first), Ok(false), "a late one ends nobody else's");
    assert_eq!(desk.holder("l"), Some("b"));
    assert_eq!(desk.renew("l", first, None), Err(Refusal::TokenStale));
    assert_eq!(desk.check("l", first), Check::Superseded);
    assert_eq!(desk.check("l", second + 1), Check::Unknown);
    let other = desk.hold("m", "a");
    assert_eq!(desk.check("l", other), Check::Unknown, "a newer token, but of another lease");
    assert_eq!(desk.told(), ["granted a", "released a", "granted b", "granted a"]);
}

#[test]
fn those_in_line_are_served_in_order_and_all_requests_of_a_holder_together() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    let places = [desk.wait("l", "b"), desk.wait("l", "c"), desk.wait("l", "b")];
    desk.now += 2_000;
    assert_eq!(desk.leases.counts(), (1, 3));
    desk.told();
    assert_eq!(desk.release("l", token), Ok(true));
    assert_eq!(desk.told(), ["released a", "granted b"]);
    let answers = desk.answers();
    let granted: Vec<_> = answers
        .iter()
        .map(|(place, result)| (*place, result.as_ref().map(|grant| grant.waited_ms)))
        .collect();
    assert_eq!(granted, [(places[0], Ok(2_000)), (places[2], Ok(2_000))]);
    assert!(!desk.leases.cancel(places[0]), "it has its answer");
    assert_eq!(desk.holder("l"), None, "it is not durable yet");
    assert!(desk.beat("b", true).is_empty());
    let grant = answers[0].1.clone().expect("a grant");
    assert_eq!(desk.confirm(&grant).map(|told| told.waited_ms), Some(2_000));
    desk.pass(TTL_MS.into());
    assert_eq!(desk.told(), ["expired b", "granted c"]);
    assert_eq!(desk.answers()[0].0, places[1]);
}

#[test]
fn whoever_gives_up_its_place_is_passed_over() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    let places = [desk.wait("l", "b"), desk.wait("l", "c")];
    assert!(desk.leases.cancel(places[0]));
    assert!(!desk.leases.cancel(places[0]));
    desk.release("l", token).expect("not frozen");
    assert_eq!(desk.answers().iter().map(|(place, _)| *place).collect::<Vec<_>>(), [places[1]]);
}

#[test]
fn who_comes_late_to_a_lease_that_is_over_stands_behind_those_in_line() {
    let mut desk = Desk::new();
    desk.hold("l", "a");
    desk.wait("l", "b");
    desk.now += u64::from(TTL_MS);
    assert!(
        matches!(desk.ask("l", "c", false), Err(Refusal::Held { holder, .. }) if holder == "b")
    );
}

#[test]
fn a_grant_that_was_too_slow_is_told_to_nobody_and_the_next_one_gets_the_lease() {
    let mut desk = Desk::new();
    let grant = desk.grant("l", "a");
    desk.wait("l", "b");
    desk.undo(&grant);
    assert_eq!(desk.told(), ["granted a", "undone a", "granted b"]);
    assert_eq!(desk.confirm(&grant), None, "however late its commit comes");
    desk.undo(&grant);
    assert!(desk.told().is_empty(), "twice is once");
}

#[test]
fn a_commit_that_takes_longer_than_the_ttl_tells_nobody() {
    let mut desk = Desk::new();
    let grant = desk.grant("l", "a");
    desk.now += u64::from(TTL_MS);
    assert_eq!(desk.confirm(&grant), None, "the timer need not have come");
}

#[test]
fn what_another_request_was_told_is_not_undone() {
    let mut desk = Desk::new();
    let (first, second) = (desk.grant("l", "a"), desk.grant("l", "a"));
    assert_eq!((first.token, second.waits), (second.token, true));
    assert!(desk.confirm(&second).is_some());
    desk.undo(&first);
    assert_eq!(desk.holder("l"), Some("a"));
}

#[test]
fn an_operator_takes_a_lease_back_at_once() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    desk.wait("l", "b");
    let now = Millis(desk.now);
    assert_eq!(desk.leases.revoke(now, key("l"), &mut desk.effects), Ok(token));
    assert_eq!(desk.told(), ["granted a", "revoked a", "granted b"]);
    assert_ne!(desk.check("l", token), Check::Valid { remaining_ms: TTL_MS.into() });
    let nothing = desk.leases.revoke(now, key("m"), &mut desk.effects);
    assert_eq!(nothing, Err(Refusal::Unknown));
}

#[test]
fn read_only_mode_renews_and_does_nothing_else() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    let slow = desk.grant("m", "a");
    let place = desk.wait("l", "b");
    desk.told();
    desk.leases.set_frozen(true);
    assert_eq!(desk.leases.next_deadline(), None);
    desk.now += 5_000;
    assert!(desk.grant("l", "a").ttl_ms == TTL_MS, "a renewal by acquire");
    assert!(desk.renew("l", token, Some(60_000)).is_ok_and(|held| held.ttl_ms == TTL_MS));
    assert_eq!(desk.release("l", token), Err(Refusal::ReadOnly));
    assert_eq!(desk.release("l", 1), Ok(false));
    for (name, wait) in [("free", false), ("l", true)] {
        assert_eq!(desk.ask(name, "c", wait), Err(Refusal::ReadOnly));
    }
    let now = Millis(desk.now);
    let revoked = desk.leases.revoke(now, key("l"), &mut desk.effects);
    assert_eq!(revoked, Err(Refusal::ReadOnly));
    desk.undo(&slow);
    assert_eq!(desk.confirm(&slow), None, "though its end is not recorded yet");
    assert_eq!(desk.beat("a", true).len(), 1);
    desk.pass(u64::from(TTL_MS) + 5);
    assert_eq!(desk.holder("l"), None, "whose time is up has lost it");
    assert_eq!(desk.ask("l", "c", false), Err(Refusal::ReadOnly), "but nobody follows");
    assert_eq!(desk.ask("l", "a", false), Err(Refusal::ReadOnly), "nor does it come back");
    assert_eq!(desk.release("l", token), Err(Refusal::ReadOnly), "a restart would bring it back");
    assert_eq!(desk.renew("l", token, None), Err(Refusal::Unknown));
    assert!(desk.told().is_empty() && desk.answers().is_empty());

    desk.leases.set_frozen(false);
    desk.pass(0);
    assert_eq!(desk.told(), ["undone a", "expired a", "granted b"]);
    assert_eq!(desk.answers()[0].0, place);
}

#[test]
fn a_restart_gives_every_lease_its_whole_time_and_larger_tokens() {
    let mut desk = Desk::new();
    let token = desk.hold("l", "a");
    let gone = desk.hold("m", "a");
    desk.release("m", gone).expect("not frozen");
    let newest = desk.hold("n", "b");
    let longer = desk.renew("n", newest, Some(60_000)).expect("it is held");
    desk.confirm(&longer);
    let log = desk.log();
    desk.now += 9_000;
    desk.restart(6, &log);
    assert_eq!(desk.check("l", token), Check::Valid { remaining_ms: TTL_MS.into() });
    assert_eq!(desk.check("n", newest), Check::Valid { remaining_ms: 60_000 });
    assert_eq!(desk.check("m", gone), Check::Free);
    let changes: Vec<_> = desk.effects.holders.iter().rev().take(2).collect();
    assert!(changes.iter().any(|c| c.holder == "b" && c.smallest_ttl_ms == Some(60_000)));
    assert!(matches!(desk.ask("l", "b", false), Err(Refusal::Held { .. })));
    assert_eq!(desk.hold("m", "b"), 6 << 32 | 1);
    // An epoch that did not rise is not to be, but its tokens rise all the same.
    desk.restart(5, &log);
    assert_eq!(desk.hold("m", "b"), newest + 1);
}

#[test]
fn a_snapshot_that_is_newer_than_the_events_after_its_begin_wins() {
    let mut desk = Desk::new();
    let first = desk.hold("l", "a");
    desk.release("l", first).expect("not frozen");
    let second = desk.hold("l", "b");
    let rows: Vec<_> = desk.leases.export().collect();
    let log = desk.log();
    desk.leases = Leases::new(6);
    rows.iter().for_each(|(tenant, row)| desk.leases.restore(*tenant, row));
    log.iter().for_each(|event| desk.leases.apply(TENANT, event));
    desk.leases.apply(TENANT, &event::Event::default());
    desk.leases.resume(Millis(desk.now), &mut desk.effects);
    assert_eq!(desk.leases.export().collect::<Vec<_>>(), rows);
    assert_eq!(desk.holder("l"), Some("b"));
    assert_eq!(desk.check("l", second), Check::Valid { remaining_ms: TTL_MS.into() });
}

#[test]
fn facts_of_an_older_grant_change_nothing_of_a_newer_one() {
    let mut desk = Desk::new();
    let first = desk.hold("l", "a");
    desk.release("l", first).expect("not frozen");
    let older = desk.log();
    let second = desk.hold("l", "b");
    let newer = desk.log();
    desk.restart(6, &[newer.as_slice(), &older[..1]].concat());
    assert_eq!(desk.holder("l"), Some("b"));
    desk.restart(7, &[newer, older].concat());
    assert_eq!(desk.check("l", second), Check::Valid { remaining_ms: TTL_MS.into() });
}

#[test]
fn everything_is_bounded() {
    let mut desk = Desk::new();
    for index in 0..limits::LEASES_PER_HOLDER {
        desk.hold(&format!("l{index}"), "a");
    }
    assert_eq!(desk.ask("one-more", "a", false), Err(Refusal::TooMany));
    let token = desk.hold("b-holds", "b");
    let place = desk.wait("b-holds", "a");
    let next = desk.wait("b-holds", "c");
    for index in 2..limits::LEASE_LINE {
        desk.wait("b-holds", &format!("w{index}"));
    }
    assert_eq!(desk.ask("b-holds", "late", true), Err(Refusal::Full("place in line")));
    desk.release("b-holds", token).expect("not frozen");
    let answers = desk.answers();
    assert_eq!(answers[0], (place, Err(Refusal::TooMany)), "who may not have it is told");
    assert_eq!((answers[1].0, desk.leases.counts().1), (next, limits::LEASE_LINE - 2));

    let mut desk = Desk::new();
    for index in 0..limits::LEASES {
        let holder = format!("h{}", index / limits::LEASES_PER_HOLDER);
        desk.grant(&format!("l{index}"), &holder);
        desk.effects.clear();
    }
    assert_eq!(desk.ask("one-more", "b", false), Err(Refusal::Full("lease")));
    let mut desk = Desk::new();
    desk.leases.last_token = (6 << 32) - 2;
    assert_eq!(desk.hold("l", "a"), (6 << 32) - 1);
    assert_eq!(desk.ask("m", "a", false), Err(Refusal::Full("token")));
    let request = Request { key: key("l"), holder: "a", ttl_ms: u32::MAX, wait: false };
    let longest = desk.leases.acquire(Millis(desk.now), &request, &mut desk.effects);
    assert!(matches!(
        longest,
        Ok(Acquired::Granted(Grant { ttl_ms: limits::LEASE_TTL_MAX_MS, .. }))
    ));
}

#[test]
#[should_panic(expected = "does not fit into fencing tokens")]
fn an_epoch_that_tokens_cannot_carry_is_refused() {
    let _ = Leases::new(Leases::EPOCH_MAX + 1);
}

#[test]
fn leases_are_listed_by_tenant_and_name() {
    let mut desk = Desk::new();
    for name in ["c", "a", "b"] {
        desk.hold(name, "h");
    }
    desk.wait("b", "other");
    desk.grant("d", "h");
    let names = |after| {
        let list = desk.leases.list(Millis(desk.now), TENANT, after);
        list.map(|info| (info.name, info.waiting)).collect::<Vec<_>>()
    };
    assert_eq!(names(""), [("a", 0), ("b", 1), ("c", 0)], "d is not durable yet");
    assert_eq!(names("a"), [("b", 1), ("c", 0)]);
    assert_eq!(desk.leases.tenants().collect::<Vec<_>>(), [TENANT]);
    assert_eq!(desk.leases.list(Millis(desk.now), TenantId(0), "").count(), 0);
    let other = Key { tenant: TenantId(0), name: "a" };
    assert_eq!(desk.leases.info(Millis(desk.now), other), None, "tenants do not see each other");
}

#[test]
fn refusals_and_events_have_their_form_on_the_wire() {
    let held = Refusal::Held { holder: String::new(), remaining_ms: 1, waits: false };
    let codes = [
        (held, Code::LeaseHeld),
        (Refusal::Unknown, Code::LeaseUnknown),
        (Refusal::TokenStale, Code::TokenStale),
        (Refusal::ReadOnly, Code::JournalUnavailable),
        (Refusal::Full("lease"), Code::Overloaded),
        (Refusal::TooMany, Code::Overloaded),
    ];
    for (refusal, code) in codes {
        assert_eq!(refusal.code(), code, "{refusal}");
    }
    let mut desk = Desk::new();
    desk.hold("l", "a");
    let wire = desk.effects.events[0].to_wire("shop");
    assert_eq!((wire.at_ms, wire.tenant.as_str(), wire.agent_id.as_str()), (1_000, "shop", ""));
    assert_eq!(wire.kind.map(|kind| kind.as_str()), Some("lease_granted"));
    assert!(!desk.effects.is_empty());
    desk.effects.clear();
    assert!(desk.effects.is_empty());
}

#[test]
fn timers_of_renewed_leases_are_set_anew_a_few_at_a_time() {
    let mut desk = Desk::new();
    for name in ["l", "m", "n"] {
        desk.hold(name, "a");
    }
    desk.now += 9_000;
    desk.beat("a", true);
    desk.now += 1_000;
    desk.told();
    let now = Millis(desk.now);
    assert!(desk.leases.handle_deadlines(now, 2, &mut desk.effects), "one more timer has come");
    assert!(!desk.leases.handle_deadlines(now, 2, &mut desk.effects));
    assert!(desk.told().is_empty());
    assert_eq!(desk.leases.next_deadline(), Some(Millis(desk.now + 9_000)));
}
