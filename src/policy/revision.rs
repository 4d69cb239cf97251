//! One admitted revision of a policy, which any number of sets may share.
//!
//! A set is immutable, and swapped for another one as a whole. What stays the same from one set to
//! the next is the same [`Revision`] in both: it is not compiled again, its breaker and its numbers
//! go on, and every thread keeps its warm instances of it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pulsegate_core::{ClassId, Classes};
use sha2::{Digest as _, Sha256};

use crate::check::check_admitted;
use crate::instance::Instance;
use crate::loader::{self, Policy};
use crate::tally::Tally;
use crate::{Counts, Engine, Error, Source};

/// Most instances that are made before they are needed, for one revision. Source: chosen; at 0.1
/// to 1 MiB each, and for threads beyond it the first call takes 20 to 60 µs more.
const SPARES: usize = 64;

/// How much nicer than others a thread is that compiles while agents beat. Source: chosen; it gets
/// a tenth of a core that somebody else wants (Linux, `sched_prio_to_weight`).
const GENTLE: i32 = 10;

/// What identifies a revision: the SHA-256 of its component.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits in lower case")]
pub struct NoDigest;

/// An admitted revision of a policy; cheap to clone, and all clones are one.
#[derive(Clone)]
pub struct Revision(pub(crate) Arc<Policy>);

impl Revision {
    /// Admits a component: everything that is tried before any agent depends on it. Takes as long
    /// as compiling takes, some hundred milliseconds and more, on the caller's thread and on those
    /// of [`rayon`](https://docs.rs/rayon).
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed.
    pub fn admit(
        engine: &Engine,
        source: Source,
        classes: &Classes,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        loader::check_name(&source.name)?;
        loader::admit(&engine.shared, source, classes, executors).map(|policy| Self(policy.into()))
    }

    /// The same while agents beat, and the questions of [`check`](crate::check()) as well: on one
    /// thread, of a priority that gives way to all others. Takes longer by as many cores as there
    /// are.
    ///
    /// # Errors
    /// As [`Self::admit`] and [`check`](crate::check()); and [`Error::Engine`] when there is no
    /// thread for it.
    pub fn vet_gently(
        engine: &Engine,
        source: Source,
        classes: &Classes,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        // Of Linux' threads each has a priority of its own.
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "policy-compile".to_owned())
            .start_handler(|_| {
                // Where it is not allowed it is as nice as the others.
                let _ = rustix::process::nice(GENTLE);
            });
        let threads = threads.build().map_err(|error| Error::Engine {
            reason: format!("no thread to compile on: {error}"),
        })?;
        threads.install(|| {
            let began = Instant::now();
            let revision = Self::admit(engine, source, classes, executors)?;
            check_admitted(&revision.0, classes, executors, began.elapsed())?;
            Ok(revision)
        })
    }

    /// The same component under other settings, classes or executors, without compiling it again.
    /// It starts without faults and numbers.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn readmit(
        &self,
        settings: &serde_json::Value,
        classes: &Classes,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        let prepared = self.0.prepared.clone();
        let policy = loader::configure(prepared, self.0.digest, settings, classes, executors)?;
        Ok(Self(Arc::new(policy)))
    }

    /// The same without faults and numbers, its breaker closed: a trial must not count against
    /// what follows it.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self(Arc::new(self.0.afresh()))
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What identifies it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The version that its author gave it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.shape.version
    }

    /// Which questions it answers: `health`, `cadence`, `recovery`.
    #[must_use]
    pub fn answers(&self) -> Vec<&'static str> {
        let questions = crate::set::QUESTIONS.iter().enumerate();
        questions.filter(|(at, _)| self.0.answers(*at)).map(|(_, question)| *question).collect()
    }

    /// What became of it since it was loaded.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.tally.counts()
    }

    /// Whether its breaker is open, so that it is not called.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.breaker.is_open()
    }

    /// Whether this is that very revision, with the same breaker and numbers.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }

    /// Makes instances before they are needed: `count` for each class, at most 64 in all. What
    /// does not start will say so at its first call.
    pub fn warm_up(&self, count: usize) {
        let policy = &self.0;
        for _ in 0..count {
            for (class, part) in policy.classes.iter().enumerate() {
                if policy.spares.count() >= SPARES {
                    return;
                }
                if let Ok(instance) = policy.prepared.start(&part.settings) {
                    policy.spares.add(ClassId(class as u8), Box::new(instance));
                }
            }
        }
    }

    /// Drops the instances of [`Self::warm_up`] that no thread has taken.
    pub fn cool_down(&self) {
        self.0.spares.clear();
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.0.name, self.0.revision)
    }
}

/// Instances that wait for their first call.
#[derive(Default)]
pub(crate) struct Spares(Mutex<Vec<(ClassId, Box<Instance>)>>);

impl Spares {
    fn add(&self, class: ClassId, instance: Box<Instance>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((class, instance));
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn clear(&self) {
        // They are dropped behind the lock.
        let spares = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(spares);
    }

    /// An instance of this class, if one waits.
    pub(crate) fn take(&self, class: ClassId) -> Option<Box<Instance>> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = spares.iter().position(|(known, _)| *known == class)?;
        Some(spares.swap_remove(at).1)
    }
}

impl Policy {
    pub(crate) fn next_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Relaxed)
    }

    fn afresh(&self) -> Self {
        Self {
            id: Self::next_id(),
            name: self.name.clone(),
            digest: self.digest,
            revision: self.revision.clone(),
            tag: self.tag,
            prepared: self.prepared.clone(),
            shape: self.shape.clone(),
            breaker: self.breaker.afresh(),
            classes: self.classes.clone(),
            tally: Tally::default(),
            spares: Spares::default(),
        }
    }
}

impl Digest {
    /// The digest of a component.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        Self(Sha256::digest(component).into())
    }

    /// Its first 12 hexadecimal digits: what directives, explanations and events name it by.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{self}").chars().take(12).collect()
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first eight bytes.
    pub(crate) fn tag(&self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|at| self.0[at]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(is_hex) {
            return Err(NoDigest);
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| NoDigest)?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_nothing_else_is() {
        let digest = Digest::of(b"abc");
        let text = digest.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((text.parse(), digest.short().as_str()), (Ok(digest), "ba7816bf8f01"));
        let upper = text.to_uppercase();
        for wrong in ["", "ba78", upper.as_str(), &text.replace('b', "+"), &format!("{text}0")] {
            assert_eq!(wrong.parse::<Digest>(), Err(NoDigest), "{wrong}");
        }
    }
}
