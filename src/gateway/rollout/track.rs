//! One policy by name: which of its revisions is obeyed, which is on trial, and which can be gone
//! back to. Every change is a pure function of this state.
//!
//! ```text
//! put ──► on trial: shadow ⇄ canary ──enforce──► enforced ──enforce──► previous …
//!             │ rollback, its breaker               │ rollback, its breaker
//!             ▼                                     ▼
//!           (ends)                        the newest good one of previous
//! ```
//! Going back never comes from a revision to a newer one, and a revision that was taken back
//! because it kept failing is not gone back to: nothing swings to and fro by itself.

use std::collections::BTreeMap;

use pulsegate_policy::{Digest, Share};

/// Most revisions that are remembered as enforced before. Source: chosen; more than are kept.
const PREVIOUS: usize = 64;

/// A revision of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pick {
    /// What the configuration says now.
    Configured,
    /// A component that was uploaded.
    Uploaded(Digest),
}

/// A component that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uploaded {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) added_unix_ms: u64,
}

/// One policy by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Track {
    /// What was uploaded and is kept, in the order of the last upload.
    pub(super) uploads: Vec<Uploaded>,
    /// What is obeyed; `None` for nothing, so that routes which name it decide nothing.
    pub(super) enforced: Option<Pick>,
    /// What is on trial.
    pub(super) candidate: Option<(Pick, Share)>,
    /// What was enforced before, the newest last.
    pub(super) previous: Vec<Pick>,
    /// Revisions that were taken back because they kept failing, with what happened.
    pub(super) taken_back: BTreeMap<Pick, String>,
}

/// Why a track cannot change as it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    /// There is no trial, and nothing to go back to.
    #[error("nothing is on trial, and no revision that was enforced before is kept")]
    NothingBefore,
    /// There is nothing that could be on trial.
    #[error("nothing is on trial: upload a revision, or name one that is kept")]
    NoCandidate,
    /// There is nothing that could be enforced or put into shadow.
    #[error("no revision is enforced or on trial")]
    Nothing,
    /// What is enforced for all cannot be on trial for some.
    #[error("this revision is enforced already")]
    Enforced,
}

impl Track {
    /// What a name stands for that nothing was ever uploaded for.
    pub(super) fn configured() -> Self {
        Self { enforced: Some(Pick::Configured), ..Self::default() }
    }

    /// Takes a component; says whether it was not kept before.
    pub(super) fn add(&mut self, upload: Uploaded) -> bool {
        let digest = upload.digest;
        let before = self.uploads.len();
        self.uploads.retain(|known| known.digest != digest);
        let is_new = self.uploads.len() == before;
        self.uploads.push(upload);
        // Whoever uploads it again wants it to be tried again.
        self.taken_back.remove(&Pick::Uploaded(digest));
        is_new
    }

    /// Obeys a revision for all.
    pub(super) fn enforce(&mut self, pick: Pick) {
        if self.candidate.as_ref().is_some_and(|(trial, _)| *trial == pick) {
            self.candidate = None;
        }
        if self.enforced == Some(pick) {
            return;
        }
        self.previous.retain(|before| *before != pick);
        self.previous.extend(self.enforced.replace(pick));
        if self.previous.len() > PREVIOUS {
            self.previous.remove(0);
        }
        self.taken_back.remove(&pick);
    }

    /// Puts a revision on trial for this share, in the place of any other. One that is enforced
    /// is no longer obeyed when it goes into shadow.
    ///
    /// # Errors
    /// [`Conflict::Enforced`] for a canary of what is enforced; nothing has changed.
    pub(super) fn try_out(&mut self, pick: Pick, share: Share) -> Result<(), Conflict> {
        if self.enforced == Some(pick) {
            if share != Share::Shadow {
                return Err(Conflict::Enforced);
            }
            self.enforced = None;
        }
        self.candidate = Some((pick, share));
        Ok(())
    }

    /// The revision that a change is about when none is named: what is on trial, else what is
    /// enforced.
    ///
    /// # Errors
    /// [`Conflict::Nothing`].
    pub(super) fn current(&self) -> Result<Pick, Conflict> {
        let trial = self.candidate.as_ref().map(|(pick, _)| *pick);
        trial.or(self.enforced).ok_or(Conflict::Nothing)
    }

    /// What is on trial.
    ///
    /// # Errors
    /// [`Conflict::NoCandidate`].
    pub(super) fn trial(&self) -> Result<Pick, Conflict> {
        self.candidate.as_ref().map(|(pick, _)| *pick).ok_or(Conflict::NoCandidate)
    }

    /// Takes the last step back: ends a trial; without one, what was enforced before is again.
    ///
    /// # Errors
    /// [`Conflict::NothingBefore`]; nothing has changed.
    pub(super) fn roll_back(&mut self, is_configured: bool) -> Result<(), Conflict> {
        if self.candidate.take().is_some() {
            return Ok(());
        }
        if self.go_back(is_configured) { Ok(()) } else { Err(Conflict::NothingBefore) }
    }

    /// Takes back a revision whose breaker opened. Says whether anything changed: not when it is
    /// not in use, is in shadow, or when there is nothing to go back to.
    pub(super) fn take_back(&mut self, pick: Pick, why: &str, is_configured: bool) -> bool {
        let trial = self.candidate.as_ref();
        if trial.is_some_and(|(trial, share)| *trial == pick && *share != Share::Shadow) {
            self.candidate = None;
        } else if self.enforced != Some(pick) || !self.go_back(is_configured) {
            return false;
        }
        self.taken_back.insert(pick, why.to_owned());
        true
    }

    /// Says whether there was anything to go back to: before the first upload of a name that the
    /// configuration has no component for, nothing was enforced, and the next route decided.
    fn go_back(&mut self, is_configured: bool) -> bool {
        let before = self.before(is_configured);
        if before.is_none() && (is_configured || self.enforced.is_none()) {
            return false;
        }
        let place = self.previous.iter().position(|known| Some(*known) == before);
        self.previous.truncate(place.unwrap_or(0));
        self.enforced = before;
        true
    }

    /// What would be gone back to: the newest that was enforced before and did not fail, else what
    /// the configuration says.
    pub(super) fn before(&self, is_configured: bool) -> Option<Pick> {
        let is_good = |pick: &Pick| {
            !self.taken_back.contains_key(pick) && (*pick != Pick::Configured || is_configured)
        };
        let newest = self.previous.iter().rev().copied().find(is_good);
        let base = Some(Pick::Configured).filter(|_| self.enforced != Some(Pick::Configured));
        newest.or(base.filter(is_good))
    }

    /// Forgets the oldest uploads beyond this many that nothing needs.
    pub(super) fn bound(&mut self, keep: usize) {
        let needed: Vec<Pick> = self.in_use().chain(self.before(false)).collect();
        let mut free = self.uploads.len().saturating_sub(keep);
        self.uploads.retain(|upload| {
            let is_needed = needed.contains(&Pick::Uploaded(upload.digest));
            let goes = free > 0 && !is_needed;
            free -= usize::from(goes);
            !goes
        });
        let uploads = &self.uploads;
        let is_kept = |pick: &Pick| match pick {
            Pick::Configured => true,
            Pick::Uploaded(digest) => uploads.iter().any(|upload| upload.digest == *digest),
        };
        self.previous.retain(is_kept);
        self.taken_back.retain(|pick, _| is_kept(pick));
    }

    /// What agents depend on: what is enforced, and a canary.
    pub(super) fn obeyed(&self) -> Vec<Pick> {
        let trial = self.candidate.as_ref().filter(|(_, share)| *share != Share::Shadow);
        self.enforced.into_iter().chain(trial.map(|(pick, _)| *pick)).collect()
    }

    /// What is enforced and what is on trial.
    pub(super) fn in_use(&self) -> impl Iterator<Item = Pick> {
        let trial = self.candidate.as_ref().map(|(pick, _)| *pick);
        self.enforced.into_iter().chain(trial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Share = Share::Percent(10_000);

    fn pick(number: u8) -> Pick {
        Pick::Uploaded(Digest::of(&[number]))
    }

    fn upload(number: u8) -> Uploaded {
        Uploaded { digest: Digest::of(&[number]), bytes: 1, added_unix_ms: number.into() }
    }

    fn with(numbers: std::ops::Range<u8>) -> Track {
        let mut track = Track::configured();
        for number in numbers {
            assert!(track.add(upload(number)));
            track.enforce(pick(number));
        }
        track
    }

    #[test]
    fn a_rollback_ends_a_trial_first_and_then_goes_back_step_by_step() {
        let mut track = with(0..2);
        track.add(upload(2));
        track.try_out(pick(2), Share::Shadow).unwrap();
        track.roll_back(true).unwrap();
        assert_eq!((track.enforced, &track.candidate), (Some(pick(1)), &None));
        track.roll_back(true).unwrap();
        assert_eq!(track.enforced, Some(pick(0)));
        track.roll_back(true).unwrap();
        assert_eq!(track.enforced, Some(Pick::Configured));
        assert_eq!(track.roll_back(true), Err(Conflict::NothingBefore));
        assert_eq!(track.enforced, Some(Pick::Configured));
    }

    #[test]
    fn going_back_never_leads_to_something_newer() {
        let mut track = with(0..3);
        track.roll_back(true).unwrap();
        assert_eq!(track.enforced, Some(pick(1)));
        track.roll_back(true).unwrap();
        assert_eq!(track.enforced, Some(pick(0)), "and not to 2 again");
    }

    #[test]
    fn what_kept_failing_is_taken_back_and_not_returned_to() {
        let mut track = with(0..3);
        assert!(track.take_back(pick(2), "10 faults", true));
        assert_eq!(track.enforced, Some(pick(1)));
        track.enforce(pick(3));
        assert!(track.take_back(pick(1), "", true) || track.enforced == Some(pick(3)));
        let mut track = with(0..3);
        track.taken_back.insert(pick(1), "earlier".into());
        assert!(track.take_back(pick(2), "10 faults", true));
        assert_eq!(track.enforced, Some(pick(0)), "the one that failed before is passed over");
        assert_eq!(track.taken_back.len(), 2);
        assert!(track.take_back(pick(0), "again", true));
        assert_eq!(track.enforced, Some(Pick::Configured));
        assert!(!track.take_back(Pick::Configured, "even this", true), "nothing is left");
        assert_eq!(track.enforced, Some(Pick::Configured));
    }

    #[test]
    fn without_a_configured_revision_the_next_route_decides_at_the_end() {
        let first = || {
            let mut track = Track::default();
            track.add(upload(0));
            track.enforce(pick(0));
            track
        };
        let mut track = first();
        assert!(track.take_back(pick(0), "why", false));
        assert_eq!((track.enforced, track.taken_back.len()), (None, 1));
        assert!(!track.take_back(pick(0), "why", false), "it is not in use any more");
        let mut track = first();
        track.roll_back(false).unwrap();
        assert_eq!(track.enforced, None);
        assert_eq!(track.roll_back(false), Err(Conflict::NothingBefore));
    }

    #[test]
    fn a_canary_that_fails_ends_and_a_shadow_that_fails_goes_on() {
        let mut track = with(0..1);
        track.try_out(pick(1), ALL).unwrap();
        assert!(track.take_back(pick(1), "why", true));
        assert_eq!((track.enforced, &track.candidate), (Some(pick(0)), &None));
        track.try_out(pick(1), Share::Shadow).unwrap();
        assert!(!track.take_back(pick(1), "why", true));
        assert!(track.candidate.is_some());
        assert!(!track.take_back(pick(9), "why", true), "it is not in use");
    }

    #[test]
    fn what_is_enforced_goes_into_shadow_and_is_no_canary_of_itself() {
        let mut track = with(0..1);
        assert_eq!(track.try_out(pick(0), ALL), Err(Conflict::Enforced));
        assert_eq!(track.current(), Ok(pick(0)));
        track.try_out(pick(0), Share::Shadow).unwrap();
        assert_eq!((track.enforced, track.trial()), (None, Ok(pick(0))));
        track.enforce(pick(0));
        assert_eq!((track.enforced, track.trial()), (Some(pick(0)), Err(Conflict::NoCandidate)));
        assert_eq!(Track::default().current(), Err(Conflict::Nothing));
    }

    #[test]
    fn uploads_are_bounded_and_what_is_needed_stays() {
        let mut track = with(0..10);
        track.add(upload(20));
        track.try_out(pick(20), Share::Shadow).unwrap();
        track.bound(2);
        let kept: Vec<_> = track.uploads.iter().map(|upload| upload.added_unix_ms).collect();
        assert_eq!(kept, [8, 9, 20], "enforced, on trial, and what is gone back to");
        assert_eq!(track.previous, [Pick::Configured, pick(8)]);
        track.bound(0);
        assert_eq!(track.uploads.len(), 3);
    }

    #[test]
    fn the_same_component_again_is_not_new_and_gets_another_chance() {
        let mut track = with(0..2);
        track.take_back(pick(1), "why", true);
        assert!(!track.add(upload(1)));
        assert!(track.taken_back.is_empty());
        assert_eq!(track.uploads.len(), 2);
    }
}
