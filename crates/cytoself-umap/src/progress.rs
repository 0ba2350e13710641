//! One progress callback for a chain of stages.

use std::ops::ControlFlow;

use crate::UmapError;

/// Called with what is done and the total, in thousandths of the whole run; `Break` cancels it.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// The whole run, in the units of the callback.
const TOTAL: u64 = 1000;

/// The share of one stage in the callback of the whole run.
pub(crate) struct Ticker<'a> {
    callback: Progress<'a>,
    start: u64,
    span: u64,
}

impl<'a> Ticker<'a> {
    pub(crate) fn new(callback: Progress<'a>) -> Self {
        Self {
            callback,
            start: 0,
            span: TOTAL,
        }
    }

    /// The stage from `start` to `end`, in thousandths of this one.
    pub(crate) fn stage(&mut self, start: u64, end: u64) -> Ticker<'_> {
        Ticker {
            callback: &mut *self.callback,
            start: self.start + self.span * start / TOTAL,
            span: self.span * (end - start) / TOTAL,
        }
    }

    /// Reports `done` of `of` steps of this stage.
    pub(crate) fn at(&mut self, done: usize, of: usize) -> Result<(), UmapError> {
        let share = self.span * done as u64 / of.max(1) as u64;
        match (self.callback)(self.start + share, TOTAL) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(UmapError::Cancelled),
        }
    }
}

/// A callback that never cancels and reports nowhere.
///
/// # Example
/// ```
/// let mut quiet = cytoself_umap::silent();
/// assert!(quiet(1, 2).is_continue());
/// ```
pub fn silent() -> impl FnMut(u64, u64) -> ControlFlow<()> {
    |_, _| ControlFlow::Continue(())
}
