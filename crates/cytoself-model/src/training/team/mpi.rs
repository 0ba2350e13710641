//! Ranks that are processes started by `mpirun` or `srun`.

use mpi::Threading;
use mpi::datatype::{Equivalence, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::Collectives;
use crate::ModelError;

/// Behind every message that is gathered.
const END: u8 = 0;

/// A rank that is a process started by `mpirun` or `srun`: the engine of clusters, through OpenMPI or MPICH.
///
/// A sum is taken by whoever owns its part, in the order of ranks, and not by `MPI_Allreduce`, whose order is the library's: an
/// all-to-all, a sum and an all-gather send as many bytes as a ring would. A process that dies ends the others, which is MPI's rule
/// (`mpirun`; of `srun` with `--kill-on-bad-exit=1`).
pub struct Mpi {
    /// Ends MPI when it is dropped.
    _universe: Universe,
    rank: usize,
    size: usize,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mpi {{ rank: {}, size: {} }}", self.rank, self.size)
    }
}

impl Mpi {
    /// Joins the ranks that were started together; once per process. Alone, without `mpirun`, it is rank 0 of 1.
    ///
    /// # Errors
    /// - MPI was begun before, or allows calls from the first thread only.
    pub fn join() -> Result<Self, ModelError> {
        let refused = |found: &str| ModelError::Lost {
            rank: 0,
            reason: format!("MPI cannot be used: {found}"),
        };
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| refused("it was begun before in this process"))?;
        if threading < Threading::Serialized {
            return Err(refused("its library was built for programs of one thread"));
        }
        let world = SimpleCommunicator::world();
        Ok(Self {
            _universe: universe,
            rank: whole(world.rank()),
            size: whole(world.size()),
        })
    }

    fn sum_in_order<T>(&self, values: &mut [T], add: impl Fn(&[T]) -> T)
    where
        T: Copy + Default + Equivalence,
    {
        if values.is_empty() {
            return;
        }
        let world = SimpleCommunicator::world();
        let part = values.len().div_ceil(self.size);
        let mut given = values.to_vec();
        given.resize(part * self.size, T::default());
        let mut parts = vec![T::default(); part * self.size];
        world.all_to_all_into(&given[..], &mut parts[..]);
        let mut column = vec![T::default(); self.size];
        let own: Vec<T> = (0..part)
            .map(|i| {
                for (rank, value) in column.iter_mut().enumerate() {
                    *value = parts[rank * part + i];
                }
                add(&column)
            })
            .collect();
        world.all_gather_into(&own[..], &mut given[..]);
        values.copy_from_slice(&given[..values.len()]);
    }
}

impl Collectives for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        let world = SimpleCommunicator::world();
        // Never an empty buffer: the address of an empty vector of bytes is OpenMPI's MPI_IN_PLACE.
        let bytes = [bytes, &[END]].concat();
        let mut lengths = vec![0u64; self.size];
        world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        let counts: Vec<i32> = lengths.iter().map(|n| *n as i32).collect();
        let starts: Vec<i32> = counts
            .iter()
            .scan(0, |end, n| {
                let start = *end;
                *end += n;
                Some(start)
            })
            .collect();
        let total: u64 = lengths.iter().sum();
        let mut all = vec![0u8; whole_u64(total)];
        {
            let mut parts = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
            world.all_gather_varcount_into(&bytes[..], &mut parts);
        }
        let mut rest = all.as_slice();
        Ok(lengths
            .iter()
            .map(|n| {
                let (own, after) = rest.split_at(whole_u64(*n));
                rest = after;
                own.strip_suffix(&[END]).unwrap_or(own).to_vec()
            })
            .collect())
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), ModelError> {
        self.sum_in_order(values, |column| {
            column.iter().fold(0.0, |sum, v| sum + f64::from(*v)) as f32
        });
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ModelError> {
        self.sum_in_order(values, |column| column.iter().fold(0.0, |sum, v| sum + v));
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError> {
        let root = SimpleCommunicator::world();
        let root = root.process_at_rank(0);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        let mut bytes = bytes;
        bytes.resize(whole_u64(length), 0);
        if !bytes.is_empty() {
            root.broadcast_into(&mut bytes[..]);
        }
        Ok(bytes)
    }

    fn barrier(&self) -> Result<(), ModelError> {
        SimpleCommunicator::world().barrier();
        Ok(())
    }

    fn abort(&self, code: i32) {
        SimpleCommunicator::world().abort(code);
    }
}

/// MPI counts in signed numbers that are never negative.
fn whole(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

fn whole_u64(n: u64) -> usize {
    usize::try_from(n).unwrap_or(0)
}
