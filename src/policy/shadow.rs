//! A policy in shadow: evaluated on the same observation, compared, and never obeyed.
//!
//! It is asked after the heartbeat was decided, with memory columns of its own, by a worker that
//! serves nobody; whoever has that worker decides how much of its time this may cost. What it says
//! goes nowhere but into a comparison: of the healths, and of the proposed intervals as they would
//! reach the guard, within the promise of the class. What the guard would have made of it depends
//! on what it made before, so that is not claimed.

use std::collections::BTreeMap;

use pulsegate_core::{ClassId, Incident, Observation, Plan, VerdictSource};
use pulsegate_wire::Health;

use crate::question::{Judged, Part, Question as _, Suggested};
use crate::route::Subject;
use crate::{Assignment, Call, Evaluation, Fault, Memory, PolicySet, Worker, describe, rows};

/// An interval within this factor of another is the same: the guard's dead band would not move for
/// it. Source: DESIGN §5.
const SAME: f64 = 1.2;
/// An interval beyond this factor is much longer, or much shorter. Source: chosen.
const MUCH: f64 = 2.0;

/// How a proposed interval compares with the one that was enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Less than half of it.
    MuchShorter,
    /// Shorter by more than a sixth.
    Shorter,
    /// Within the guard's dead band.
    Same,
    /// Longer by more than a fifth.
    Longer,
    /// More than twice of it.
    MuchLonger,
}

impl Difference {
    /// Every difference, from the shortest.
    pub const ALL: [Self; 5] =
        [Self::MuchShorter, Self::Shorter, Self::Same, Self::Longer, Self::MuchLonger];

    /// The word of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MuchShorter => "much_shorter",
            Self::Shorter => "shorter",
            Self::Same => "same",
            Self::Longer => "longer",
            Self::MuchLonger => "much_longer",
        }
    }

    fn of(proposed_ms: f64, enforced_ms: f64) -> Self {
        if proposed_ms * MUCH < enforced_ms {
            Self::MuchShorter
        } else if proposed_ms * SAME < enforced_ms {
            Self::Shorter
        } else if proposed_ms > enforced_ms * MUCH {
            Self::MuchLonger
        } else if proposed_ms > enforced_ms * SAME {
            Self::Longer
        } else {
            Self::Same
        }
    }
}

/// A heartbeat that was decided, for a policy in shadow.
#[derive(Debug)]
pub struct Watching<'a> {
    /// Which policies.
    pub assignment: Assignment,
    /// Class of the agent.
    pub class: ClassId,
    /// What they saw.
    pub observation: &'a Observation,
    /// Custom metrics of the heartbeat.
    pub custom: &'a BTreeMap<String, f64>,
    /// What was enforced: the health, and the interval proposed.
    pub enforced: (Health, f64),
}

/// What policies in shadow would have said of a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watched {
    /// The health, its score and who judged so; `None` where no policy in shadow judges, or it
    /// failed.
    pub health: Option<(Health, f64, VerdictSource)>,
    /// The interval proposed, in milliseconds, and who proposed it; `None` likewise.
    pub interval: Option<(f64, VerdictSource)>,
    /// Whether the health is another one.
    pub health_differs: bool,
    /// How the interval compares.
    pub difference: Option<Difference>,
    /// The calls made: health, then cadence.
    pub calls: [Option<Call>; 2],
}

impl Worker {
    /// Asks the policies in shadow of an assignment, and compares. `memory` is kept for them alone.
    /// A policy that fails is compared with nothing.
    pub fn watch(
        &mut self,
        set: &PolicySet,
        watching: &Watching<'_>,
        memory: &mut Memory,
    ) -> Watched {
        self.warm.adopt(set);
        let class = set.known_class(watching.class);
        let mut seen = rows::clean_observation(watching.observation);
        let mut watched = Watched::default();
        let (enforced_health, enforced_ms) = watching.enforced;
        let asked = |subject| set.watched(watching.assignment, subject);
        let custom = watching.custom;
        let (health, cadence) = (asked(Subject::Health), asked(Subject::Cadence));
        seen.health = watching.observation.health;
        let mut said = Evaluation::pending(&seen);
        if let Some((outcome, call)) =
            self.try_ask::<Judged>(set, health, class, &seen, custom, memory)
        {
            watched.calls[Part::Health as usize] = Some(call);
            if let Ok(judged) = outcome {
                judged.enter(&mut seen, &mut said);
                let verdict = &said.verdict;
                watched.health = Some((verdict.health, verdict.score, said.health_source));
                watched.health_differs = verdict.health != enforced_health;
            }
        }
        // A cadence sees the health that was just judged: by its own fellow, where there is one.
        if watched.health.is_none() {
            seen.health = enforced_health;
        }
        if let Some((outcome, call)) =
            self.try_ask::<Suggested>(set, cadence, class, &seen, custom, memory)
        {
            watched.calls[Part::Cadence as usize] = Some(call);
            if let Ok(suggested) = outcome {
                suggested.enter(&mut seen, &mut said);
                let proposed_ms = said.verdict.interval_ms;
                watched.interval = Some((proposed_ms, said.verdict.source));
                let cap_ms = f64::from(set.classes[class].cap_ms());
                let fitted = |ms: f64| if ms.is_nan() { cap_ms } else { ms.clamp(1.0, cap_ms) };
                watched.difference = Some(Difference::of(fitted(proposed_ms), fitted(enforced_ms)));
            }
        }
        tell(set, [health, cadence], &watched);
        watched
    }

    /// Whether the policy in shadow would have planned otherwise for an incident; `None` where
    /// there is none, or it failed.
    pub fn watch_plan(
        &mut self,
        set: &PolicySet,
        assignment: Assignment,
        incident: &Incident,
        enforced: &Plan,
    ) -> Option<(Result<bool, Fault>, Call)> {
        self.warm.adopt(set);
        let index = set.watched(assignment, Subject::Recovery);
        let policy = set.policy(index)?;
        let class = set.known_class(incident.class);
        let (outcome, call) = self.warm.call(set, (index, policy), class, |instance| {
            let plan = instance.propose(incident.into())?;
            describe::check_plan(plan, &policy.shape.reasons, &set.executors)
                .ok_or(Fault::BadAnswer)
        });
        Some((outcome.map(|plan| plan.rungs != enforced.rungs), call))
    }
}

/// Counts what was compared with the revisions that it is about: one, or one for each question.
fn tell(set: &PolicySet, [health, cadence]: [u16; 2], watched: &Watched) {
    let was_judged = watched.health.is_some();
    let is_fellow = health == cadence;
    let paced = set.policy(cadence).zip(watched.difference);
    if let Some((policy, difference)) = paced {
        policy.tally.compared(is_fellow && watched.health_differs, Some(difference));
    }
    let is_told = is_fellow && paced.is_some();
    if let Some(policy) = set.policy(health).filter(|_| was_judged && !is_told) {
        policy.tally.compared(watched.health_differs, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_compare_by_the_factors_of_the_guard() {
        let of = |proposed| Difference::of(proposed, 30_000.0);
        assert_eq!(of(14_999.0), Difference::MuchShorter);
        assert_eq!(of(15_000.0), Difference::Shorter);
        assert_eq!(of(24_999.0), Difference::Shorter);
        assert_eq!(of(25_000.0), Difference::Same);
        assert_eq!(of(36_000.0), Difference::Same);
        assert_eq!(of(36_001.0), Difference::Longer);
        assert_eq!(of(60_000.0), Difference::Longer);
        assert_eq!(of(60_001.0), Difference::MuchLonger);
    }

    #[test]
    fn each_difference_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Difference::ALL.map(Difference::as_str).into();
        assert_eq!(words.len(), Difference::ALL.len());
        let in_order = Difference::ALL.iter().enumerate().all(|(at, one)| *one as usize == at);
        assert!(in_order);
    }
}
