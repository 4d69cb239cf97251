//! The agents of the demo, as far as the demo knows: what was done to each, what the gateway made
//! of it, and what the agent itself told last.

use std::collections::HashMap;
use std::time::Instant;

use pulsegate_wire::{Health, State};

use super::agent::Report;

/// Classes of the demo, in the order of the gateway's.
pub(super) const CLASSES: [&str; 3] = ["critical", "normal", "background"];

/// What the demo did to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process was started and has not been answered yet.
    Starting,
    /// It runs.
    Well,
    /// It is stopped for a while.
    Paused,
    /// It may go on after that, and has not been answered yet.
    Resumed,
    /// It beats, but gets nothing done.
    Stalled,
    /// It was killed or stopped for good.
    Down,
    /// It was told to leave.
    Leaving,
    /// It has left.
    Left,
}

/// One agent.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) class: &'static str,
    pub(super) phase: Phase,
    /// Since when its time is not yet accounted for.
    pub(super) since: Instant,
    /// What the gateway concluded; `None` before it knows the agent.
    pub(super) state: Option<State>,
    pub(super) health: Health,
    /// What the present process told last.
    pub(super) report: Report,
    /// A move of its interval that no report has explained yet, in milliseconds.
    pub(super) moved: Option<(u32, u32)>,
    /// Trouble that it is in: index in the tally.
    pub(super) trouble: Option<usize>,
    /// Surge that it is in: index in the tally.
    pub(super) surge: Option<usize>,
    /// Whether it was suspected while it was stopped for a while.
    pub(super) hiccup_suspected: bool,
}

/// All agents.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) members: Vec<Member>,
    by_id: HashMap<String, usize>,
}

impl Fleet {
    /// One in ten critical, two in ten background, the rest normal.
    pub(super) fn new(agents: usize, now: Instant) -> Self {
        let member = |index: usize| Member {
            id: format!("agent-{:03}", index + 1),
            class: match index % 10 {
                0 => CLASSES[0],
                1 | 2 => CLASSES[2],
                _ => CLASSES[1],
            },
            phase: Phase::Starting,
            since: now,
            state: None,
            health: Health::Healthy,
            report: Report::default(),
            moved: None,
            trouble: None,
            surge: None,
            hiccup_suspected: false,
        };
        let members: Vec<Member> = (0..agents).map(member).collect();
        let ids = members.iter().enumerate().map(|(index, member)| (member.id.clone(), index));
        let by_id = ids.collect();
        Self { members, by_id }
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// How many are in any of these phases.
    pub(super) fn count(&self, phases: &[Phase]) -> usize {
        self.members.iter().filter(|member| phases.contains(&member.phase)).count()
    }

    /// An agent that fits, picked by a number; `None` when none does.
    pub(super) fn pick(&self, number: u64, fits: impl Fn(&Member) -> bool) -> Option<usize> {
        let fitting = || (0..self.members.len()).filter(|&index| fits(&self.members[index]));
        let count = fitting().count();
        fitting().nth((number % count.max(1) as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_mixed_and_names_found() {
        let fleet = Fleet::new(20, Instant::now());
        let of = |class| fleet.members.iter().filter(|member| member.class == class).count();
        assert_eq!(CLASSES.map(of), [2, 14, 4]);
        assert_eq!(fleet.find("agent-020"), Some(19));
        assert_eq!(fleet.find("agent-021"), None);
    }

    #[test]
    fn a_pick_fits_or_is_none() {
        let fleet = Fleet::new(20, Instant::now());
        for number in 0..40 {
            let index = fleet.pick(number, |member| member.class == "critical").expect("one");
            assert_eq!(fleet.members[index].class, "critical");
        }
        assert_eq!(fleet.pick(1, |_| false), None);
    }
}
