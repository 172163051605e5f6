//! Handles that end running wardens, by effect. A warden that starts while everything is being stopped is stopped
//! as it registers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::EffectKey;
use crate::sandbox::Stopper;

#[derive(Default)]
struct Table {
    stopping: bool,
    running: BTreeMap<EffectKey, Stopper>,
}

/// The table of running wardens.
#[derive(Default)]
pub(super) struct Stops(Mutex<Table>);

impl Stops {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a running warden in.
    pub(super) fn register(&self, key: EffectKey, stopper: Stopper) {
        let mut table = self.table();
        if table.stopping {
            stopper.stop();
        }
        table.running.insert(key, stopper);
    }

    /// True once everything is being stopped: nothing new starts.
    pub(super) fn is_stopping(&self) -> bool {
        self.table().stopping
    }

    /// Forgets one that ended.
    pub(super) fn forget(&self, key: &EffectKey) {
        self.table().running.remove(key);
    }

    /// Ends one.
    pub(super) fn stop(&self, key: &EffectKey) {
        if let Some(stopper) = self.table().running.get(key) {
            stopper.stop();
        }
    }

    /// Ends all, and all that start from now on.
    pub(super) fn stop_all(&self) {
        let mut table = self.table();
        table.stopping = true;
        table.running.values().for_each(Stopper::stop);
    }
}
