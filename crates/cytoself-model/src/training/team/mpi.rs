//! Ranks that are processes started by `mpirun` or `srun`.

use std::sync::Arc;
use std::time::Duration;

use mpi::Threading;
use mpi::datatype::{Equivalence, PartitionMut};
use mpi::environment::Universe;
use mpi::request::{LocalScope, Request};
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
///
/// Exchanges of two threads at once ([`Collectives::beside`]) need a library that allows it (`MPI_THREAD_MULTIPLE`).
pub struct Mpi {
    main: Channel,
    /// None where the library allows one thread at a time.
    beside: Option<Arc<Channel>>,
    /// Ends MPI when it is dropped, behind the communicators.
    _universe: Universe,
}

/// The ranks with a communicator for the exchanges of one thread.
struct Channel {
    communicator: SimpleCommunicator,
    rank: usize,
    size: usize,
    /// Whether waiting leaves the core to the thread that computes; MPI itself waits in a busy loop.
    patient: bool,
}

// SAFETY: a communicator is a handle of the library's, which a thread may use that did not make it; whether two threads may use MPI at
// once is asked for in `Mpi::join`, and the calls on one channel are those of one thread.
unsafe impl Send for Channel {}
// SAFETY: as above.
unsafe impl Sync for Channel {}

/// How long a patient thread sleeps before it looks again: well below the time of a bucket.
const LOOK: Duration = Duration::from_micros(50);

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.main.fmt(f)
    }
}

impl std::fmt::Debug for Channel {
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
        let (universe, threading) = mpi::initialize_with_threading(Threading::Multiple)
            .ok_or_else(|| refused("it was begun before in this process"))?;
        if threading < Threading::Serialized {
            return Err(refused("its library was built for programs of one thread"));
        }
        let world = SimpleCommunicator::world();
        // Collective: a library gives all ranks the same.
        let beside = (threading == Threading::Multiple).then(|| world.duplicate());
        Ok(Self {
            main: Channel::new(world, false),
            beside: beside.map(|c| Arc::new(Channel::new(c, true))),
            _universe: universe,
        })
    }
}

impl Channel {
    fn new(communicator: SimpleCommunicator, patient: bool) -> Self {
        Self {
            rank: whole(communicator.rank()),
            size: whole(communicator.size()),
            communicator,
            patient,
        }
    }

    fn sum_in_order<T>(&self, values: &mut [T], add: impl Fn(&[T]) -> T)
    where
        T: Copy + Default + Equivalence,
    {
        if values.is_empty() {
            return;
        }
        let part = values.len().div_ceil(self.size);
        let mut given = values.to_vec();
        given.resize(part * self.size, T::default());
        let mut parts = vec![T::default(); part * self.size];
        self.all_to_all(&given, &mut parts);
        let mut column = vec![T::default(); self.size];
        let own: Vec<T> = (0..part)
            .map(|i| {
                for (rank, value) in column.iter_mut().enumerate() {
                    *value = parts[rank * part + i];
                }
                add(&column)
            })
            .collect();
        self.all_gather(&own, &mut given);
        values.copy_from_slice(&given[..values.len()]);
    }

    fn all_to_all<T: Equivalence>(&self, given: &[T], parts: &mut [T]) {
        if !self.patient {
            return self.communicator.all_to_all_into(given, parts);
        }
        mpi::request::scope(|scope| {
            wait(
                self.communicator
                    .immediate_all_to_all_into(scope, given, parts),
            );
        });
    }

    fn all_gather<T: Equivalence>(&self, own: &[T], all: &mut [T]) {
        if !self.patient {
            return self.communicator.all_gather_into(own, all);
        }
        mpi::request::scope(|scope| {
            wait(self.communicator.immediate_all_gather_into(scope, own, all));
        });
    }
}

impl Collectives for Mpi {
    fn rank(&self) -> usize {
        self.main.rank
    }

    fn size(&self) -> usize {
        self.main.size
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        self.main.gather(bytes)
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), ModelError> {
        self.main.sum(values)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ModelError> {
        self.main.sum_f64(values)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError> {
        self.main.broadcast(bytes)
    }

    fn barrier(&self) -> Result<(), ModelError> {
        self.main.barrier()
    }

    fn beside(&self) -> Option<Arc<dyn Collectives>> {
        let beside = self.beside.as_ref()?;
        Some(Arc::clone(beside) as Arc<dyn Collectives>)
    }

    fn abort(&self, code: i32) {
        self.main.abort(code);
    }
}

impl Collectives for Channel {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        // Never an empty buffer: the address of an empty vector of bytes is OpenMPI's MPI_IN_PLACE.
        let bytes = [bytes, &[END]].concat();
        let mut lengths = vec![0u64; self.size];
        self.communicator
            .all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
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
            self.communicator
                .all_gather_varcount_into(&bytes[..], &mut parts);
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
        let root = self.communicator.process_at_rank(0);
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
        self.communicator.barrier();
        Ok(())
    }

    fn abort(&self, code: i32) {
        self.communicator.abort(code);
    }
}

/// Waits without keeping the core.
fn wait<'a, D: ?Sized>(mut request: Request<'a, D, &LocalScope<'a>>) {
    while let Err(pending) = request.test() {
        request = pending;
        std::thread::sleep(LOOK);
    }
}

/// MPI counts in signed numbers that are never negative.
fn whole(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

fn whole_u64(n: u64) -> usize {
    usize::try_from(n).unwrap_or(0)
}
