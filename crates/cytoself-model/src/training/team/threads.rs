//! Ranks that are threads of one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Collectives;
use crate::ModelError;

/// A rank that is a thread of this process: for tests, and for machines without MPI.
///
/// A rank that is dropped has gone; whoever waits for it then gets an error.
#[derive(Debug)]
pub struct Threads {
    seat: Seat,
    /// At the meeting for exchanges that go on beside.
    beside: Seat,
}

/// A rank's place at a meeting.
#[derive(Debug, Clone)]
struct Seat {
    rank: usize,
    meeting: Arc<Meeting>,
}

/// Where the ranks exchange what they have.
#[derive(Debug)]
struct Meeting {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Debug)]
struct Table {
    /// Exchanges done.
    round: u64,
    /// What the ranks have put down in this round.
    given: Vec<Option<Part>>,
    /// What they put down in the round before.
    complete: Arc<Vec<Part>>,
    /// The first rank that went.
    gone: Option<usize>,
}

impl Table {
    fn all_here(&self) -> Result<(), ModelError> {
        match self.gone {
            None => Ok(()),
            Some(rank) => Err(ModelError::Lost {
                rank,
                reason: "it ended before the others".to_string(),
            }),
        }
    }
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Singles(Vec<f32>),
    Doubles(Vec<f64>),
}

impl Threads {
    /// A team of `size` ranks; each is for a thread of its own.
    #[must_use]
    pub fn team(size: usize) -> Vec<Self> {
        let (meeting, beside) = (Meeting::of(size), Meeting::of(size));
        let seat = |meeting: &Arc<Meeting>, rank| Seat {
            rank,
            meeting: Arc::clone(meeting),
        };
        let rank = |rank| Self {
            seat: seat(&meeting, rank),
            beside: seat(&beside, rank),
        };
        (0..size).map(rank).collect()
    }
}

impl Meeting {
    fn of(size: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                round: 0,
                given: (0..size).map(|_| None).collect(),
                complete: Arc::new(Vec::new()),
                gone: None,
            }),
            changed: Condvar::new(),
        })
    }
}

impl Seat {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A rank that panicked holding the table left it whole: every change is a single assignment.
        self.meeting
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What all ranks put down, in their order.
    fn exchange(&self, mine: Part) -> Result<Arc<Vec<Part>>, ModelError> {
        let mut table = self.table();
        // Whoever has gone, or has aborted, takes part in no exchange, even if the others are waiting in it already.
        table.all_here()?;
        let round = table.round;
        table.given[self.rank] = Some(mine);
        if table.given.iter().all(Option::is_some) {
            let parts = table.given.iter_mut().filter_map(Option::take).collect();
            table.complete = Arc::new(parts);
            table.round += 1;
            self.meeting.changed.notify_all();
        }
        while table.round == round {
            table.all_here()?;
            table = self
                .meeting
                .changed
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(Arc::clone(&table.complete))
    }

    fn leave(&self) {
        let mut table = self.table();
        table.gone.get_or_insert(self.rank);
        self.meeting.changed.notify_all();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.abort(0);
    }
}

impl Collectives for Threads {
    fn rank(&self) -> usize {
        self.seat.rank
    }

    fn size(&self) -> usize {
        self.seat.size()
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        self.seat.gather(bytes)
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), ModelError> {
        self.seat.sum(values)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ModelError> {
        self.seat.sum_f64(values)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError> {
        self.seat.broadcast(bytes)
    }

    fn beside(&self) -> Option<Arc<dyn Collectives>> {
        Some(Arc::new(self.beside.clone()))
    }

    fn abort(&self, _code: i32) {
        self.seat.leave();
        self.beside.leave();
    }
}

impl Collectives for Seat {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table().given.len()
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ModelError> {
        let parts = self.exchange(Part::Bytes(bytes.to_vec()))?;
        Ok(parts
            .iter()
            .map(|part| match part {
                Part::Bytes(bytes) => bytes.clone(),
                _ => Vec::new(),
            })
            .collect())
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), ModelError> {
        let parts = self.exchange(Part::Singles(values.to_vec()))?;
        let mut sums = vec![0.0f64; values.len()];
        for part in parts.iter() {
            if let Part::Singles(part) = part {
                sums.iter_mut()
                    .zip(part)
                    .for_each(|(s, v)| *s += f64::from(*v));
            }
        }
        values.iter_mut().zip(sums).for_each(|(v, s)| *v = s as f32);
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ModelError> {
        let parts = self.exchange(Part::Doubles(values.to_vec()))?;
        values.fill(0.0);
        for part in parts.iter() {
            if let Part::Doubles(part) = part {
                values.iter_mut().zip(part).for_each(|(s, v)| *s += v);
            }
        }
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ModelError> {
        let mine = if self.rank == 0 { bytes } else { Vec::new() };
        let parts = self.exchange(Part::Bytes(mine))?;
        match parts.first() {
            Some(Part::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Ok(Vec::new()),
        }
    }

    fn abort(&self, _code: i32) {
        self.leave();
    }
}
