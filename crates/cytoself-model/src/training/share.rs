//! The part of a batch that a rank works on.

/// A rank's part of a batch: the parts lie behind one another in the order of ranks and differ by one crop at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Place of its first crop in the batch.
    pub(super) first: usize,
    /// Its crops; 0 where the batch has fewer crops than there are ranks.
    pub(super) count: usize,
    /// Crops of the batch.
    pub(super) total: usize,
}

impl Share {
    /// The share of `rank` of `size` ranks in a batch of `total` crops.
    pub(super) fn new(total: usize, rank: usize, size: usize) -> Self {
        let first = rank * total / size;
        Self {
            first,
            count: (rank + 1) * total / size - first,
            total,
        }
    }

    /// The crops to read of those of the batch. A rank without a crop of its own goes through the step with one that does not count,
    /// because the others wait for its sums.
    pub(super) fn of<'a>(&self, rows: &'a [usize]) -> &'a [usize] {
        match self.count {
            0 => &rows[..rows.len().min(1)],
            n => &rows[self.first..self.first + n],
        }
    }

    /// The weight of a mean over the share in the mean over the batch.
    pub(super) fn weight(&self) -> f64 {
        self.count as f64 / self.total.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_batch() {
        let rows: Vec<usize> = (10..17).collect();
        for size in 1..10 {
            let mut joined = Vec::new();
            let mut weight = 0.0;
            for rank in 0..size {
                let share = Share::new(rows.len(), rank, size);
                assert!(!share.of(&rows).is_empty());
                if share.count > 0 {
                    assert_eq!(joined.len(), share.first);
                    joined.extend_from_slice(share.of(&rows));
                }
                weight += share.weight();
            }
            assert_eq!(joined, rows);
            assert!((weight - 1.0).abs() < 1e-12);
        }
    }
}
