//! Random histories keep the rules; and the checker finds whoever breaks one.

use alloc::vec::Vec;

use super::super::history::{Fact, Rule, Violation, check};
use super::world::{Mistake, World};

/// Histories of the test without mistakes: two virtual minutes each. `LEASE_HISTORIES` asks for
/// another number.
const HISTORIES: u64 = 500;
/// Histories in which a mistake must be found.
const TRIES: u64 = 300;

fn violations(seed: u64, mistake: Mistake) -> (Vec<(u64, Fact)>, Vec<Violation>) {
    let facts = World::new(seed, mistake).run();
    let found = check(&facts);
    (facts, found)
}

#[test]
fn random_histories_keep_all_nine_rules() {
    let asked = option_env!("LEASE_HISTORIES").and_then(|number| number.parse().ok());
    let mut kinds = [0_u64; 12];
    for seed in 0..asked.unwrap_or(HISTORIES) {
        let (facts, found) = violations(seed, Mistake::None);
        if let Some(first) = found.first() {
            let before = &facts[first.index.saturating_sub(40)..=first.index];
            panic!("seed {seed}: {first:?}, and {} more, after {before:#?}", found.len() - 1);
        }
        for (_, fact) in &facts {
            kinds[kind(fact)] += 1;
        }
    }
    assert!(kinds.iter().all(|&count| count > 100), "something hardly ever happens: {kinds:?}");
}

fn kind(fact: &Fact) -> usize {
    match fact {
        Fact::Started { .. } => 0,
        Fact::Restored { .. } => 1,
        Fact::Granted { .. } => 2,
        Fact::Confirmed { .. } => 3,
        Fact::Renewed { .. } => 4,
        Fact::Ended { .. } => 5,
        Fact::Joined { .. } => 6,
        Fact::Left { .. } => 7,
        Fact::Served { .. } => 8,
        Fact::Counts { .. } => 9,
        Fact::ReleaseSent { .. } | Fact::ReleaseAnswered { .. } => 10,
        Fact::Checked { .. } => 11,
    }
}

/// Each mistake, and the rules of which it must break one.
const MISTAKES: [(Mistake, &[Rule]); 18] = [
    (Mistake::NoDrift, &[Rule::Disjoint]),
    (Mistake::CountFromAnswer, &[Rule::Disjoint]),
    (Mistake::WaitTwice, &[Rule::Disjoint]),
    (Mistake::OldExpiry, &[Rule::NoEarlyGrant, Rule::NeverShortens, Rule::Disjoint]),
    (Mistake::ForgetAll, &[Rule::RestartKeeps]),
    (Mistake::TokensAnew, &[Rule::TokensRise]),
    (Mistake::TellAtOnce, &[Rule::RestartKeeps]),
    (Mistake::NoConfirm, &[Rule::NoEarlyGrant]),
    (Mistake::ReleaseAtOnce, &[Rule::ReleasedOnce]),
    (Mistake::AnyRelease, &[Rule::Guarded]),
    (Mistake::AnyRenew, &[Rule::Guarded]),
    (Mistake::Shorten, &[Rule::NeverShortens]),
    (Mistake::EndEarly, &[Rule::NeverShortens, Rule::NoEarlyGrant]),
    (Mistake::LengthenAtOnce, &[Rule::RestartKeeps]),
    (Mistake::CheckAny, &[Rule::StaleRefused]),
    (Mistake::LastFirst, &[Rule::LineInOrder]),
    (Mistake::NoCancel, &[Rule::LineInOrder]),
    (Mistake::RepeatAll, &[Rule::Disjoint]),
];

#[test]
fn the_checker_finds_every_mistake() {
    let mut missed = Vec::new();
    for (mistake, rules) in MISTAKES {
        let is_found = (0..TRIES).any(|seed| {
            let (_, found) = violations(seed, mistake);
            found.iter().any(|one| rules.contains(&one.rule))
        });
        if !is_found {
            missed.push(mistake);
        }
    }
    assert!(missed.is_empty(), "never found: {missed:?}");
    let rules: alloc::collections::BTreeSet<Rule> =
        MISTAKES.iter().flat_map(|(_, rules)| rules.iter().copied()).collect();
    assert!(Rule::ALL.iter().all(|rule| rules.contains(rule)), "a rule that nobody breaks");
}

#[test]
fn the_same_seed_tells_the_same_history() {
    let (first, _) = violations(7, Mistake::None);
    let (second, _) = violations(7, Mistake::None);
    assert_eq!(first, second);
}
