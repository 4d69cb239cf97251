//! Whether the handshake of a connection is complete.
//!
//! Before it is, whatever can be read came as early data (0-RTT), which somebody may have recorded
//! and sent again; the keys for anything else exist only afterwards. So one question tells early
//! data, on streams and in datagrams alike: is the handshake still under way now? quinn signals
//! its end under the lock of the connection before anything behind it can be read, and the signal
//! is looked at here at the moment of the question, so no later heartbeat is taken for an early
//! one. What was sent early and is read late is safe: the handshake proves that its sender lives.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use quinn::ZeroRttAccepted;

/// The handshake of one connection.
pub(in super::super) struct Handshake {
    complete: AtomicBool,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    /// `None` once it has spoken.
    signal: Option<ZeroRttAccepted>,
    /// Whoever waits for the end.
    waker: Option<Waker>,
}

impl Handshake {
    pub(super) fn new(signal: ZeroRttAccepted) -> Self {
        let waiting = Waiting { signal: Some(signal), waker: None };
        Self { complete: AtomicBool::new(false), waiting: Mutex::new(waiting) }
    }

    /// Whether it is complete, or the connection has ended. Hot.
    pub(in super::super) fn is_complete(&self) -> bool {
        self.complete.load(Acquire) || self.look(None)
    }

    /// Waits for its end, of whichever kind. One task may wait.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| if self.look(Some(cx.waker())) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// The signal keeps one waker: it is always that of the task that waits.
    fn look(&self, waker: Option<&Waker>) -> bool {
        let mut waiting = self.waiting.lock();
        if let Some(waker) = waker {
            waiting.waker = Some(waker.clone());
        }
        let Waiting { signal, waker } = &mut *waiting;
        let Some(waited) = signal else { return true };
        let mut context = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
        if Pin::new(waited).poll(&mut context).is_pending() {
            return false;
        }
        *signal = None;
        self.complete.store(true, Release);
        waker.take().into_iter().for_each(Waker::wake);
        true
    }
}
