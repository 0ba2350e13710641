use rayon::prelude::*;

use crate::random::Stream;
use crate::{EvalError, Labels};

/// Where a score stands among the scores of shuffled labels.
#[derive(Debug, Clone, PartialEq)]
pub struct PermutationTest {
    /// The score of the labels as they are.
    pub value: f64,
    /// The scores of shuffled labels, ascending; shuffles without a score are left out.
    pub null: Vec<f64>,
}

impl PermutationTest {
    /// Scores `shuffles` random assignments of the classes to the points that have one.
    ///
    /// # Errors
    /// - `shuffles` is 0;
    /// - the labels as they are have no score.
    ///
    /// # Example
    /// ```
    /// use cytoself_eval::{Centre, Labels, PermutationTest, clustering_score};
    /// let points = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| (i / 20 * 10 + (i * 7 + j * 3) % 5) as f64);
    /// let labels = Labels::new((0..40).map(|i| ["a", "b"][i / 20]), &[]);
    /// let test = PermutationTest::of(&labels, 99, 42, |labels| {
    ///     Ok(clustering_score(points.view(), labels, Centre::Coordinatewise)?.robust)
    /// })?;
    /// assert_eq!(test.p_value(), 0.01);
    /// # Ok::<(), cytoself_eval::EvalError>(())
    /// ```
    pub fn of(
        labels: &Labels,
        shuffles: usize,
        seed: u64,
        score: impl Fn(&Labels) -> Result<f64, EvalError> + Sync,
    ) -> Result<Self, EvalError> {
        if shuffles == 0 {
            return Err(EvalError::Parameter {
                name: "shuffles",
                found: "0".into(),
                expected: "at least 1",
            });
        }
        let value = score(labels)?;
        let shuffled = |shuffle| labels.shuffled(&mut Stream::new(seed, shuffle as u64));
        let mut null: Vec<f64> = (0..shuffles)
            .into_par_iter()
            .filter_map(|shuffle| score(&shuffled(shuffle)).ok())
            .collect();
        null.retain(|s| s.is_finite());
        null.sort_by(f64::total_cmp);
        Ok(Self { value, null })
    }

    /// Share of shuffles that score at least as high, counting the labels themselves among them.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        let higher = self.null.iter().filter(|&&s| s >= self.value).count();
        (1 + higher) as f64 / (1 + self.null.len()) as f64
    }

    /// Mean of the shuffled scores; NaN without any.
    #[must_use]
    pub fn null_mean(&self) -> f64 {
        self.null.iter().sum::<f64>() / self.null.len() as f64
    }
}
