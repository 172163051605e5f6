//! Signals while the forge is told: they are seen, and make the end come soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::git::patience;

/// What is left of the end of a run after a signal: with the time that agents get to end it stays within three seconds.
pub const STOP_PATIENCE: Duration = Duration::from_millis(1_200);
/// How often somebody who waits looks for a signal.
const SLICE: Duration = Duration::from_millis(50);

/// Whether one has come since; without a flag there is nothing to see.
pub struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Listens from now on.
    pub fn new() -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&seen)) {
                tracing::debug!("signal {signal} is not heard: {error}");
            }
        }
        Self(seen)
    }

    /// True once one has come.
    pub fn seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends when one comes.
    pub async fn comes(&self) {
        while !self.seen() {
            tokio::time::sleep(SLICE).await;
        }
    }

    /// Does what git has a part in; after a signal git has little more time.
    pub fn hurrying<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    if self.seen() {
                        return patience::hurry(STOP_PATIENCE);
                    }
                    std::thread::sleep(SLICE);
                }
            });
            let result = work();
            is_done.store(true, Ordering::Relaxed);
            result
        })
    }
}
