//! Several processes or threads that train one network together.

#[cfg(feature = "mpi")]
mod mpi;
mod threads;

use std::fmt::Debug;
use std::sync::Arc;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use self::threads::Threads;
use crate::ModelError;

/// What the ranks of a training tell each other. Every method is collective: all ranks call the same ones in the same order.
///
/// Sums are taken in the order of ranks and in f64, so that their bits depend neither on timing nor on the network between the
/// ranks; all ranks get the same bits.
///
/// # Errors
/// Every method fails with [`ModelError::Lost`] when a rank has gone, so that no rank waits for ever.
pub trait Collectives: Send + Sync + Debug {
    /// This rank's number, from 0; rank 0 alone writes files.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Every rank's `bytes`, in the order of ranks.
    ///
    /// # Errors
    /// - a rank has gone.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError>;

    /// Replaces `values` by their sum over ranks.
    ///
    /// # Errors
    /// - a rank has gone.
    fn sum(&self, values: &mut [f32]) -> Result<(), ModelError>;

    /// As [`Collectives::sum`], in double precision.
    ///
    /// # Errors
    /// - a rank has gone.
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ModelError>;

    /// Rank 0's `bytes`; what the others give is ignored.
    ///
    /// # Errors
    /// - a rank has gone.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError>;

    /// Returns when all ranks have come here.
    ///
    /// # Errors
    /// - a rank has gone.
    fn barrier(&self) -> Result<(), ModelError> {
        self.gather(&[]).map(|_| ())
    }

    /// The same ranks for another thread, whose exchanges go on beside those of this one and in an order of their own; none where only one
    /// can go on at a time. Not collective, and the same on every call. When a rank has gone, it has gone here too.
    fn beside(&self) -> Option<Arc<dyn Collectives>> {
        None
    }

    /// Ends the work of all ranks, of which this one has failed; the exit code of processes is `code`. Not collective. Whoever
    /// reports the error to the user calls it, after the report.
    fn abort(&self, code: i32);
}

/// One rank that works alone.
///
/// # Example
/// ```
/// use cytoself_model::{Alone, Collectives};
///
/// let mut values = [1.0, 2.0];
/// Alone.sum(&mut values)?;
/// assert_eq!((Alone.size(), values), (1, [1.0, 2.0]));
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alone;

impl Collectives for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        Ok(vec![bytes.to_vec()])
    }

    fn sum(&self, _values: &mut [f32]) -> Result<(), ModelError> {
        Ok(())
    }

    fn sum_f64(&self, _values: &mut [f64]) -> Result<(), ModelError> {
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError> {
        Ok(bytes)
    }

    fn abort(&self, _code: i32) {}
}

/// Makes a failure of one rank one of all: Ok if `result` is Ok on every rank, so that no rank goes on alone. Of several ranks
/// that failed, the first keeps its error.
///
/// # Errors
/// - this rank's own error;
/// - [`ModelError::Lost`]: another rank failed.
pub fn agree<T, E: From<ModelError> + std::fmt::Display>(
    team: &dyn Collectives,
    result: Result<T, E>,
) -> Result<T, E> {
    if team.size() == 1 {
        return result;
    }
    let mine = result
        .as_ref()
        .err()
        .map_or(String::new(), |e| format!("!{e}"));
    let all = team.gather(mine.as_bytes())?;
    match all.iter().position(|text| !text.is_empty()) {
        None => result,
        Some(rank) if rank == team.rank() => result,
        Some(rank) => {
            let reason = String::from_utf8_lossy(&all[rank][1..]).into_owned();
            Err(ModelError::Lost { rank, reason }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_each<T: Send>(size: usize, f: impl Fn(Threads) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let handles: Vec<_> = Threads::team(size)
                .into_iter()
                .map(|t| scope.spawn(|| f(t)))
                .collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        })
    }

    #[test]
    fn every_rank_gets_the_same() {
        let found = on_each(3, |t| {
            let rank = t.rank();
            let mut single = [1e8f32, rank as f32];
            let mut double = [0.5f64, rank as f64];
            // Again and again: a fast rank must not overtake a slow one.
            for _ in 0..50 {
                single = [1e8, rank as f32];
                double = [0.5, rank as f64];
                t.sum(&mut single).unwrap();
                t.sum_f64(&mut double).unwrap();
            }
            let all = t.gather(&vec![7; rank]).unwrap();
            let first = t.broadcast(vec![rank as u8 + 3]).unwrap();
            t.barrier().unwrap();
            (single, double, all, first)
        });
        for (single, double, all, first) in found {
            assert_eq!((single, double), ([3e8, 3.0], [1.5, 3.0]));
            assert_eq!(all, [vec![], vec![7], vec![7, 7]]);
            assert_eq!(first, [3]);
        }
    }

    #[test]
    fn a_rank_that_goes_releases_the_others() {
        let found = on_each(3, |t| {
            t.barrier().unwrap();
            if t.rank() == 1 { Ok(()) } else { t.barrier() }
        });
        for rank in [0, 2] {
            assert!(
                matches!(found[rank], Err(ModelError::Lost { rank: 1, .. })),
                "{found:?}"
            );
        }
        let aborted = on_each(2, |t| {
            if t.rank() == 1 {
                t.abort(1);
            }
            t.barrier()
        });
        assert!(aborted.iter().all(Result::is_err));
    }

    #[test]
    fn two_exchanges_go_on_at_once() {
        let found = on_each(3, |t| {
            let beside = t.beside().unwrap();
            let others = std::thread::spawn(move || {
                let sums: Vec<f32> = (0..100)
                    .map(|step| {
                        let mut values = [(step * beside.rank()) as f32];
                        beside.sum(&mut values).unwrap();
                        values[0]
                    })
                    .collect();
                // Rank 1 goes without coming here: the others are told.
                let last = match beside.rank() {
                    1 => Ok(()),
                    _ => beside.barrier(),
                };
                (sums, last)
            });
            for _ in 0..30 {
                let mut one = [1.0];
                t.sum_f64(&mut one).unwrap();
                assert_eq!(one, [3.0]);
            }
            // Rank 1 stays until its exchanges are done, the others until theirs are.
            let rank = t.rank();
            (rank, others.join().unwrap())
        });
        for (rank, (sums, last)) in found {
            assert!(sums.iter().enumerate().all(|(k, s)| *s == (3 * k) as f32));
            assert_eq!(last.is_ok(), rank == 1);
        }
    }

    #[test]
    fn an_error_of_one_is_an_error_of_all() {
        let found = on_each(3, |t| {
            let own = match t.rank() {
                0 => Ok(5),
                rank => Err(ModelError::config("x", "nothing wrong", rank)),
            };
            agree(&t, own).unwrap_err().to_string()
        });
        assert!(found[1].starts_with("configuration, x"), "{found:?}");
        for rank in [0, 2] {
            assert!(
                found[rank].contains("rank 1") && found[rank].contains("found 1"),
                "{found:?}"
            );
        }
        assert_eq!(
            on_each(2, |t| agree::<_, ModelError>(&t, Ok(3)).unwrap()),
            [3, 3]
        );
    }
}
