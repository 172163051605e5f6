//! The session's clock: monotonic, carried over resumes. The only place where time enters.

use std::time::{Duration, Instant};

use crate::core::At;

/// Counts the time a session is active.
pub(super) struct Clock {
    started: Instant,
    before_ms: u64,
}

impl Clock {
    /// Goes on from what earlier processes of the session took.
    pub(super) fn start(before_ms: u64) -> Self {
        let started = Instant::now();
        Self { started, before_ms }
    }

    /// Now.
    pub(super) fn now(&self) -> At {
        let active = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall_ms = jiff::Timestamp::now().as_millisecond();
        At { elapsed_ms: self.before_ms.saturating_add(active), wall_ms }
    }

    /// Sleeps until a moment of the session; for ever where there is none.
    pub(super) async fn sleep_until(&self, elapsed_ms: Option<u64>) {
        match elapsed_ms {
            None => std::future::pending().await,
            Some(ms) => {
                let wait = ms.saturating_sub(self.now().elapsed_ms);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
}
