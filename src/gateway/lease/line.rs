//! What a request holds while it waits, for its turn or for the disk. Dropping it, as when its
//! client goes away, gives it back.

use std::time::Duration;

use pulsegate_core::lease::{Grant, Refusal, WaiterId};
use tokio::sync::oneshot;

use super::{Leases, NotAcquired};
use crate::durable::{Mark, Unavailable};

/// What one in line is answered with.
pub(super) struct Served {
    pub(super) result: Result<Grant, Refusal>,
    /// What has to be durable before it is told.
    pub(super) mark: Result<Mark, Unavailable>,
}

/// A place in line.
pub(super) struct Place<'a> {
    leases: &'a Leases,
    waiter: WaiterId,
    answer: oneshot::Receiver<Served>,
    /// Its answer was taken, or can come no more.
    is_over: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(
        leases: &'a Leases,
        waiter: WaiterId,
        answer: oneshot::Receiver<Served>,
    ) -> Self {
        Self { leases, waiter, answer, is_over: false }
    }

    /// Waits for the lease; `None` when the time has passed.
    pub(super) async fn served(
        mut self,
        wait: Duration,
    ) -> Result<Option<Untold<'a>>, NotAcquired> {
        let served = match tokio::time::timeout(wait, &mut self.answer).await {
            Ok(Ok(served)) => served,
            Ok(Err(_)) => return Err(NotAcquired::Ending),
            Err(_) => match self.leave() {
                Some(served) => served,
                None => return Ok(None),
            },
        };
        self.is_over = true;
        Ok(Some(self.take(served)?))
    }

    fn take(&self, served: Served) -> Result<Untold<'a>, Refusal> {
        let grant = served.result?;
        let Ok(mark) = served.mark else {
            self.leases.undo(&grant);
            return Err(Refusal::ReadOnly);
        };
        Ok(Untold::new(self.leases, grant, mark))
    }

    /// Gives the place up; what it was answered with, if that came first.
    fn leave(&mut self) -> Option<Served> {
        self.is_over = true;
        if self.leases.leave(self.waiter) {
            return None;
        }
        // Answers are sent under the lock that was just held: it is there, or never comes.
        self.answer.try_recv().ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Whoever would be told has gone: what was granted is taken back with its guard.
        if let Some(served) = self.leave() {
            drop(self.take(served));
        }
    }
}

/// A grant that waits for the disk. It is taken back where it is not told.
pub(super) struct Untold<'a> {
    leases: &'a Leases,
    grant: Grant,
    mark: Mark,
    is_told: bool,
}

impl<'a> Untold<'a> {
    pub(super) fn new(leases: &'a Leases, grant: Grant, mark: Mark) -> Self {
        Self { leases, grant, mark, is_told: false }
    }

    /// What has to be durable.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// It is durable, and is told now.
    pub(super) fn told(mut self) -> Grant {
        self.is_told = true;
        self.grant.clone()
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.leases.undo(&self.grant);
        }
    }
}
