//! Places for connections. In: a connection that was accepted. Out: a place for it, at once or after another one has
//! gone: where all are taken, the one that has waited longest for a request gives way. So an agent that opens
//! connections and says nothing on them keeps nobody out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::call::lock;

/// How long one that was told to go is waited for before the next one is told.
const GOING: Duration = Duration::from_millis(100);

/// All of them.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// By when they began to wait, oldest first.
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// A connection and its place.
pub(super) struct Connection {
    all: Arc<Connections>,
    give_way: Arc<Notify>,
    /// Its place in line, while it waits for a request.
    turn: Mutex<Option<u64>>,
    is_used: AtomicBool,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(places)), waiting: Mutex::default() })
    }

    /// A place for one more. None where there will be none.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Connection> {
        loop {
            let place = if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                place
            } else {
                self.call_out_the_oldest();
                match timeout(GOING, Arc::clone(&self.places).acquire_owned()).await {
                    Ok(place) => place.ok()?,
                    Err(_) => continue,
                }
            };
            let (all, give_way) = (Arc::clone(self), Arc::new(Notify::new()));
            let (turn, is_used) = (Mutex::default(), AtomicBool::new(false));
            let connection = Connection { all, give_way, turn, is_used, _place: place };
            connection.waits();
            return Some(connection);
        }
    }

    fn call_out_the_oldest(&self) {
        if let Some((_, oldest)) = lock(&self.waiting).by_age.pop_first() {
            oldest.notify_one();
        }
    }
}

impl Connection {
    /// It waits for a request, or for the end of a response: nobody can tell these apart, and who is told to go
    /// finishes its response first.
    pub(super) fn waits(&self) {
        let mut waiting = lock(&self.all.waiting);
        waiting.last += 1;
        let turn = waiting.last;
        waiting.by_age.insert(turn, Arc::clone(&self.give_way));
        *lock(&self.turn) = Some(turn);
    }

    /// A request has come.
    pub(super) fn works(&self) {
        self.is_used.store(true, Ordering::Relaxed);
        let turn = lock(&self.turn).take();
        if let Some(turn) = turn {
            lock(&self.all.waiting).by_age.remove(&turn);
        }
    }

    /// No request has ever come.
    pub(super) fn is_unused(&self) -> bool {
        !self.is_used.load(Ordering::Relaxed)
    }

    /// Waits until it has to go.
    pub(super) async fn has_to_go(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.works();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(test);
    }

    async fn is_called_out(connection: &Connection) -> bool {
        timeout(Duration::from_millis(1), connection.has_to_go()).await.is_ok()
    }

    #[test]
    fn where_all_places_are_taken_the_one_that_waits_longest_has_to_go() {
        run(async {
            let all = Connections::new(2);
            let (first, second) = (all.enter().await.unwrap(), all.enter().await.unwrap());
            assert!(!is_called_out(&first).await && !is_called_out(&second).await, "there is a place for both");
            first.works();
            first.waits();
            let goes = async {
                second.has_to_go().await;
                drop(second);
            };
            let (third, ()) = tokio::join!(all.enter(), goes);
            assert!(third.is_some() && !is_called_out(&first).await);
        });
    }

    #[test]
    fn one_that_works_is_never_called_out() {
        run(async {
            let all = Connections::new(1);
            let only = all.enter().await.unwrap();
            only.works();
            assert!(timeout(Duration::from_millis(250), all.enter()).await.is_err());
            assert!(!is_called_out(&only).await);
            drop(only);
            assert!(all.enter().await.is_some());
        });
    }
}
