//! How many agents there are, kept as they change.

use alloc::vec::Vec;

use pulsegate_wire::{Health, State};

use crate::ClassId;

/// How many agents there are, kept as they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By class, state and health: `counts[class][state][health]`.
    pub counts: Vec<[[u32; 4]; 5]>,
}

impl Census {
    /// Counts nobody, in so many classes.
    pub(super) fn new(classes: usize) -> Self {
        Self { counts: alloc::vec![[[0; 4]; 5]; classes] }
    }

    /// Agents of a class that are expected to beat: new, alive and suspect ones.
    #[must_use]
    pub fn beating(&self, class: ClassId) -> u32 {
        let states = [State::New, State::Alive, State::Suspect];
        self.counts.get(usize::from(class.0)).map_or(0, |by_state| {
            states.iter().map(|&state| by_state[state as usize].iter().sum::<u32>()).sum()
        })
    }

    /// Agents in a state, of all classes.
    #[must_use]
    pub fn in_state(&self, state: State) -> u32 {
        self.counts.iter().map(|by_state| by_state[state as usize].iter().sum::<u32>()).sum()
    }

    /// All agents.
    #[must_use]
    pub fn total(&self) -> u32 {
        State::ALL.iter().map(|&state| self.in_state(state)).sum()
    }

    pub(super) fn enter(&mut self, class: ClassId, state: State, health: Health) {
        self.counts[usize::from(class.0)][state as usize][health as usize] += 1;
    }

    pub(super) fn leave(&mut self, class: ClassId, state: State, health: Health) {
        self.counts[usize::from(class.0)][state as usize][health as usize] -= 1;
    }
}
