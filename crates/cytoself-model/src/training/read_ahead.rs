//! Making the next items while the current one is worked on.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::ModelError;

/// Items that may wait for the step.
pub(super) const AHEAD: usize = 3;

/// Hands the items `range` to `step` in order, while a thread makes the next ones. Adds to `wait` the time that the steps waited
/// for the thread.
///
/// # Errors
/// - whatever `make` or `step` returns.
pub(crate) fn read_ahead<T: Send>(
    range: Range<usize>,
    make: impl Fn(usize) -> Result<T, ModelError> + Send,
    wait: &mut Duration,
    mut step: impl FnMut(usize, T) -> Result<ControlFlow<()>, ModelError>,
) -> Result<ControlFlow<()>, ModelError> {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::scope(|scope| {
        let items = range.clone();
        scope.spawn(move || {
            for index in items {
                let made = make(index);
                let failed = made.is_err();
                // The receiver is gone when a step failed or the user stopped.
                if sender.send(made).is_err() || failed {
                    return;
                }
            }
        });
        consume(receiver, range, wait, &mut step)
    })
}

/// Owns the receiver, so that returning early releases the making thread.
fn consume<T>(
    receiver: Receiver<Result<T, ModelError>>,
    range: Range<usize>,
    wait: &mut Duration,
    step: &mut impl FnMut(usize, T) -> Result<ControlFlow<()>, ModelError>,
) -> Result<ControlFlow<()>, ModelError> {
    for index in range {
        let start = Instant::now();
        let Ok(made) = receiver.recv() else { break };
        *wait += start.elapsed();
        if step(index, made?)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
