use ndarray::Array2;

/// Counts of true classes (rows) against predicted classes (columns).
///
/// # Example
/// ```
/// let confusion = cytoself_eval::Confusion::new(3, [(0, 0), (0, 1), (1, 1), (2, 2)]);
/// assert_eq!(confusion.accuracy(), 0.75);
/// // F1 of the classes: 2/3, 2/3, 1.
/// assert!((confusion.macro_f1() - 7.0 / 9.0).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    counts: Array2<u64>,
}

/// Precision, recall and F1 of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassScores {
    /// Right among those predicted as this class; 0 where none is.
    pub precision: f64,
    /// Right among those of this class.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Points of this class.
    pub support: u64,
}

impl Confusion {
    /// Counts pairs (true class, predicted class), both below `classes`; others are ignored.
    #[must_use]
    pub fn new(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = Array2::zeros((classes, classes));
        for pair in pairs {
            if let Some(count) = counts.get_mut(pair) {
                *count += 1;
            }
        }
        Self { counts }
    }

    /// The counts, `[true, predicted]`.
    #[must_use]
    pub fn counts(&self) -> &Array2<u64> {
        &self.counts
    }

    /// Share of points on the diagonal; 0 without points.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = self.counts.diag().sum();
        right as f64 / self.counts.sum().max(1) as f64
    }

    /// Scores of each class.
    #[must_use]
    pub fn classes(&self) -> Vec<ClassScores> {
        (0..self.counts.nrows())
            .map(|class| {
                let right = self.counts[[class, class]] as f64;
                let support = self.counts.row(class).sum();
                let predicted = self.counts.column(class).sum();
                ClassScores {
                    precision: right / predicted.max(1) as f64,
                    recall: right / support.max(1) as f64,
                    f1: 2.0 * right / (support + predicted).max(1) as f64,
                    support,
                }
            })
            .collect()
    }

    /// Mean F1 over the classes that occur among the true ones; 0 without points.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let present: Vec<f64> = self
            .classes()
            .iter()
            .filter(|c| c.support > 0)
            .map(|c| c.f1)
            .collect();
        present.iter().sum::<f64>() / present.len().max(1) as f64
    }
}
