//! An explorer of state spaces: every state that inputs can lead to, breadth first.
//!
//! It drives the real code: a [`Model`] holds what tests hold of it, says what may happen in a
//! state, lets it happen and looks whether an invariant is broken. Breadth first, so the first
//! counterexample is a shortest one. States are told apart by their *form*: the bytes of all that
//! can influence what happens next, with instants as distances from now and numbers that only
//! ever grow as their order, so that a space which never ends folds into one that does.
//!
//! A form that leaves out too much would merge states that differ, and hide what only one of them
//! leads to. So a sample of the merged is led on: from both, every input has to lead to the same
//! form again.
//!
//! Why not a library: stateright (0.31) wants states that are `Clone + Hash + Eq` and says the way
//! to a counterexample as well. But most of the work here is what remains ours with it: the image
//! of a machine without its wheel of a quarter of a megabyte, and the form of a state whose
//! instants, numbers and tokens are all relative. What it would save is the search below, a
//! hundred lines; what it would cost is threads, a web server and their crates in a room that
//! depends on nothing. Its networks of actors, and the schedulers of loom and shuttle, have
//! nothing to explore in here: the core has no threads, and inputs come one at a time under a lock.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// What is explored.
pub(crate) trait Model {
    /// One state of everything.
    type State: Clone;
    /// One thing that may happen.
    type Input: Copy + PartialEq + Debug;

    /// Where it begins.
    fn initial(&mut self) -> Self::State;

    /// What may happen in this state.
    fn inputs(&self, state: &Self::State, inputs: &mut Vec<Self::Input>);

    /// What becomes of a state by an input; `None` when that cannot happen after all.
    ///
    /// # Errors
    /// The invariant that is broken.
    fn next(
        &mut self,
        state: &Self::State,
        input: Self::Input,
    ) -> Result<Option<Self::State>, String>;

    /// All of a state that can influence what happens next.
    fn form(&self, state: &Self::State, form: &mut Vec<u8>);

    /// In how many ways time may go on without further faults.
    fn schedules(&self) -> usize {
        0
    }

    /// The next input of one of these ways; `None` in a state where nothing is owed any more.
    fn goes_on(&self, _state: &Self::State, _schedule: usize) -> Option<Self::Input> {
        None
    }
}

/// How large a space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Different states.
    pub(crate) states: usize,
    /// Inputs that could happen, over all states.
    pub(crate) transitions: usize,
    /// Inputs on the shortest way to the farthest state.
    pub(crate) depth: usize,
}

/// A shortest way to a broken invariant.
pub(crate) struct Counterexample {
    what: String,
    steps: Vec<String>,
}

impl Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} steps:", self.what, self.steps.len())?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// One of so many merged states is led on together with the state that it was merged into.
const SAMPLE: usize = 1_009;

/// A state of which nothing is owed.
const SETTLED: u32 = u32::MAX;

/// Explores everything.
///
/// # Errors
/// A shortest way to a state in which an invariant is broken; or a way to a circle in which
/// something is owed for ever.
pub(crate) fn explore<M: Model>(model: &mut M) -> Result<Space, Counterexample> {
    Search::new(model).run()
}

struct Search<'a, M: Model> {
    model: &'a mut M,
    /// States by the hash of their form.
    seen: BTreeMap<u128, u32>,
    /// By state: the state that it was found from, and the place of the input among that one's.
    origins: Vec<(u32, u16)>,
    /// By schedule and state: the state that follows.
    follows: Vec<Vec<u32>>,
    form: Vec<u8>,
    space: Space,
    merged: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a mut M) -> Self {
        let follows = alloc::vec![Vec::new(); model.schedules()];
        let space = Space { states: 0, transitions: 0, depth: 0 };
        let (seen, origins, form) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { model, seen, origins, follows, form, space, merged: 0 }
    }

    fn run(mut self) -> Result<Space, Counterexample> {
        let initial = self.model.initial();
        self.find(&initial, (SETTLED, 0));
        let mut frontier = alloc::vec![initial];
        let mut first = 0;
        while !frontier.is_empty() {
            let mut found = Vec::new();
            let begun = self.origins.len() as u32;
            for (state, id) in frontier.drain(..).zip(first..) {
                self.expand(&state, id, &mut found)?;
            }
            self.space.depth += usize::from(!found.is_empty());
            (frontier, first) = (found, begun);
        }
        self.space.states = self.origins.len();
        self.check_progress()?;
        Ok(self.space)
    }

    /// The number of a state, and whether it is new.
    fn find(&mut self, state: &M::State, origin: (u32, u16)) -> (u32, bool) {
        let hash = self.hash(state);
        let next = self.origins.len() as u32;
        let id = *self.seen.entry(hash).or_insert(next);
        if id == next {
            self.origins.push(origin);
        }
        (id, id == next)
    }

    fn hash(&mut self, state: &M::State) -> u128 {
        self.form.clear();
        self.model.form(state, &mut self.form);
        let mut hasher = SipHasher13::new();
        hasher.write(&self.form);
        hasher.finish128().as_u128()
    }

    fn expand(
        &mut self,
        state: &M::State,
        id: u32,
        found: &mut Vec<M::State>,
    ) -> Result<(), Counterexample> {
        let mut inputs = Vec::new();
        self.model.inputs(state, &mut inputs);
        let ways: Vec<_> =
            (0..self.follows.len()).map(|way| self.model.goes_on(state, way)).collect();
        let mut follows = alloc::vec![None; ways.len()];
        for (place, &input) in inputs.iter().enumerate() {
            let next = match self.model.next(state, input) {
                Ok(None) => continue,
                Ok(Some(next)) => next,
                Err(what) => return Err(self.counterexample(what, id, Some(input))),
            };
            self.space.transitions += 1;
            let (next_id, is_new) = self.find(&next, (id, place as u16));
            for (way, follow) in ways.iter().zip(&mut follows) {
                if *way == Some(input) {
                    *follow = Some(next_id);
                }
            }
            if is_new {
                found.push(next);
            } else {
                self.merged += 1;
                if self.merged.is_multiple_of(SAMPLE) {
                    self.lead_on(&next, next_id)?;
                }
            }
        }
        for (way, (follow, list)) in follows.iter().zip(&mut self.follows).enumerate() {
            let follow = match (ways[way], follow) {
                (None, _) => SETTLED,
                (Some(_), Some(follow)) => *follow,
                (Some(input), None) => {
                    let what = format!("{input:?} has to be possible and is not");
                    return Err(self.counterexample(what, id, None));
                }
            };
            list.push(follow);
        }
        Ok(())
    }

    /// A state that was taken for another has to behave like that one.
    fn lead_on(&mut self, one: &M::State, id: u32) -> Result<(), Counterexample> {
        let other = self.replay(&self.way_to(id));
        let (mut inputs, mut others) = (Vec::new(), Vec::new());
        self.model.inputs(one, &mut inputs);
        self.model.inputs(&other, &mut others);
        let mut differs = (inputs != others).then(|| format!("{inputs:?} and {others:?}"));
        for input in inputs {
            let mut after = |state| -> Result<_, String> {
                let next = self.model.next(state, input)?;
                Ok(next.map(|next| self.hash(&next)))
            };
            let (one, other) = (after(one), after(&other));
            if one != other {
                differs = Some(format!("what {input:?} does: {one:x?} and {other:x?}"));
            }
        }
        match differs {
            None => Ok(()),
            Some(what) => {
                let what = format!("two states have one form and differ in {what}");
                Err(self.counterexample(what, id, None))
            }
        }
    }

    /// Places of the inputs on the way to a state.
    fn way_to(&self, mut id: u32) -> Vec<u16> {
        let mut way = Vec::new();
        while id != 0 {
            let (origin, place) = self.origins[id as usize];
            way.push(place);
            id = origin;
        }
        way.reverse();
        way
    }

    fn replay(&mut self, way: &[u16]) -> M::State {
        self.steps(way).0
    }

    fn steps(&mut self, way: &[u16]) -> (M::State, Vec<String>) {
        let mut state = self.model.initial();
        let mut steps = Vec::new();
        for &place in way {
            let mut inputs = Vec::new();
            self.model.inputs(&state, &mut inputs);
            let input = inputs[usize::from(place)];
            steps.push(format!("{input:?}"));
            let next = self.model.next(&state, input);
            state = next.ok().flatten().expect("it happened before");
        }
        (state, steps)
    }

    fn counterexample(&mut self, what: String, id: u32, last: Option<M::Input>) -> Counterexample {
        let way = self.way_to(id);
        let (_, mut steps) = self.steps(&way);
        steps.extend(last.map(|input| format!("{input:?}")));
        Counterexample { what, steps }
    }

    /// However time goes on, nothing is owed for ever: no state leads back to itself unless it, or
    /// one on the way, is settled.
    fn check_progress(&mut self) -> Result<(), Counterexample> {
        for schedule in 0..self.follows.len() {
            let follows = core::mem::take(&mut self.follows[schedule]);
            // The round in which a state was visited; 0 for not yet.
            let mut visited = alloc::vec![0u32; follows.len()];
            for start in 0..follows.len() as u32 {
                let mut id = start;
                while id != SETTLED && visited[id as usize] == 0 {
                    visited[id as usize] = start + 1;
                    id = follows[id as usize];
                }
                if id != SETTLED && visited[id as usize] == start + 1 {
                    let what = format!("something is owed for ever in schedule {schedule}");
                    return Err(self.counterexample(what, id, None));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters on a circle of six; the second never runs ahead, or so it is claimed.
    struct Circle {
        claimed: u8,
        forgets: bool,
        stuck: bool,
    }

    impl Model for Circle {
        type State = (u8, u8);
        type Input = bool;

        fn initial(&mut self) -> (u8, u8) {
            (0, 0)
        }

        fn inputs(&self, _: &(u8, u8), inputs: &mut Vec<bool>) {
            inputs.extend([false, true]);
        }

        fn next(&mut self, state: &(u8, u8), second: bool) -> Result<Option<(u8, u8)>, String> {
            let next = if second { (state.0, state.1 + 1) } else { (state.0 + 1, state.1) };
            if next.1 == self.claimed {
                return Err(String::from("the second came too far"));
            }
            Ok(Some((next.0 % 6, next.1 % 6)))
        }

        fn form(&self, state: &(u8, u8), form: &mut Vec<u8>) {
            form.push(state.0);
            form.push(if self.forgets { state.1 % 5 } else { state.1 });
        }

        fn schedules(&self) -> usize {
            1
        }

        fn goes_on(&self, state: &(u8, u8), _: usize) -> Option<bool> {
            let is_owed = if self.stuck { state.1 != 3 } else { state.0 != 3 };
            is_owed.then_some(false)
        }
    }

    #[test]
    fn every_state_is_found_once() {
        let mut circle = Circle { claimed: 9, forgets: false, stuck: false };
        let space = explore(&mut circle).expect("nothing is claimed");
        assert_eq!(space, Space { states: 36, transitions: 72, depth: 10 });
    }

    #[test]
    fn a_counterexample_is_a_shortest_one() {
        let mut circle = Circle { claimed: 4, forgets: false, stuck: false };
        let found = explore(&mut circle).expect_err("the claim is wrong");
        assert_eq!(found.steps, ["true"; 4]);
        assert!(format!("{found:?}").starts_with("the second came too far, after 4 steps"));
    }

    #[test]
    fn what_is_owed_for_ever_is_found() {
        let mut circle = Circle { claimed: 9, forgets: false, stuck: true };
        let found = explore(&mut circle).expect_err("the first counter alone never gets there");
        assert_eq!(found.what, "something is owed for ever in schedule 0");
    }

    #[test]
    fn a_form_that_forgets_is_found() {
        let mut circle = Circle { claimed: 9, forgets: true, stuck: false };
        let mut search = Search::new(&mut circle);
        let initial = search.model.initial();
        search.find(&initial, (SETTLED, 0));
        let found = search.lead_on(&(0, 5), 0).expect_err("0 and 5 behave differently");
        assert!(found.what.starts_with("two states have one form"), "{found:?}");
    }
}
