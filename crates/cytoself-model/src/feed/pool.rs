//! A fixed number of things that are lent and come back.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// Things that are lent one by one to whoever asks, from any thread.
pub(crate) struct Pool<T> {
    free: Mutex<Receiver<T>>,
    back: Sender<T>,
}

/// A thing of a [`Pool`], which gets it back when this is dropped.
pub(crate) struct Lent<T> {
    item: Option<T>,
    back: Sender<T>,
}

impl<T> Pool<T> {
    pub(crate) fn new(items: impl IntoIterator<Item = T>) -> Self {
        let (back, free) = channel();
        for item in items {
            // The receiver is here.
            let _ = back.send(item);
        }
        Self {
            free: Mutex::new(free),
            back,
        }
    }

    /// The next free thing; waits until there is one. `None` of a pool without any.
    pub(crate) fn lend(&self) -> Option<Lent<T>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let item = free.recv().ok()?;
        Some(Lent {
            item: Some(item),
            back: self.back.clone(),
        })
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("lent until it is dropped"),
        }
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.item {
            Some(item) => item,
            None => unreachable!("lent until it is dropped"),
        }
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            // A pool that is gone wants nothing back.
            let _ = self.back.send(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_gets_no_further_ahead_than_there_are_things() {
        let pool = Pool::new([0usize; 3]);
        // More room than things: the pool is what holds the reader back.
        let (sender, receiver) = sync_channel(10);
        thread::scope(|scope| {
            let pool = &pool;
            scope.spawn(move || {
                for batch in 1..=20 {
                    let mut thing = pool.lend().unwrap();
                    *thing = batch;
                    if sender.send(thing).is_err() {
                        return;
                    }
                }
            });
            for (thing, batch) in receiver.iter().zip(1..) {
                assert_eq!(*thing, batch);
            }
        });
    }

    #[test]
    fn a_reader_that_waits_gets_what_a_taker_drops_who_stops() {
        let pool = Pool::new([(); 2]);
        let (sender, receiver) = sync_channel(10);
        thread::scope(|scope| {
            let pool = &pool;
            let reader = scope.spawn(move || {
                let mut sent = 0;
                while let Some(thing) = pool.lend() {
                    if sender.send(thing).is_err() {
                        break;
                    }
                    sent += 1;
                }
                sent
            });
            drop(receiver.recv());
            drop(receiver);
            assert!(reader.join().unwrap() <= 4);
        });
        assert!(pool.lend().is_some());
    }

    #[test]
    fn things_may_outlive_their_pool() {
        let pool = Pool::new(["thing"]);
        let thing = pool.lend().unwrap();
        drop(pool);
        assert_eq!(*thing, "thing");
    }
}
