use crate::{Confusion, EvalError, Labels, Neighbours};

/// What a vote of neighbours says about each point.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Row, true class and predicted class of every query that could be judged.
    pub judged: Vec<(usize, usize, usize)>,
    /// Queries left out because no admissible neighbour anywhere has their class: no vote could be right (the only
    /// protein of a class, where a protein's own images are excluded).
    pub left_out: Vec<usize>,
    pub(crate) classes: usize,
}

impl Classification {
    /// Counts of true against predicted classes.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        Confusion::new(
            self.classes,
            self.judged.iter().map(|&(_, truth, found)| (truth, found)),
        )
    }

    /// Share of queries predicted right.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.confusion().accuracy()
    }

    /// Mean F1 over the classes of the judged queries.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        self.confusion().macro_f1()
    }
}

/// Predicts every point's class by a majority vote of its neighbours (leave one out).
///
/// Neighbour lists must have been made among labelled points only. A tie goes to the class whose name sorts first, as
/// in scikit-learn. `possible(row, class)` says whether any admissible neighbour has that class; queries for which
/// theirs has none are reported apart.
///
/// # Errors
/// - lists and labels differ in number;
/// - a neighbour has no class.
///
/// # Example
/// ```
/// use cytoself_eval::{Exclusions, Labels, classify, nearest_neighbours};
/// let points = ndarray::array![[0.0f32], [0.1], [0.2], [5.0], [5.1], [5.2]];
/// let labels = Labels::new(["a", "a", "b", "b", "b", "b"], &[]);
/// let neighbours = nearest_neighbours(points.view(), 2, &Exclusions::none())?;
/// let votes = classify(&neighbours, &labels, |_, _| true)?;
/// assert_eq!(votes.accuracy(), 5.0 / 6.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn classify(
    neighbours: &Neighbours,
    labels: &Labels,
    possible: impl Fn(usize, usize) -> bool,
) -> Result<Classification, EvalError> {
    if neighbours.lists.len() != labels.len() {
        let what = "labels, one per list of neighbours";
        return Err(EvalError::Shape {
            what,
            expected: neighbours.lists.len(),
            found: labels.len(),
        });
    }
    let classes = labels.names().len();
    let mut found = Classification {
        judged: Vec::new(),
        left_out: Vec::new(),
        classes,
    };
    for (row, (list, truth)) in neighbours.lists.iter().zip(labels.classes()).enumerate() {
        let Some(truth) = *truth else { continue };
        if list.is_empty() || !possible(row, truth) {
            found.left_out.push(row);
            continue;
        }
        found
            .judged
            .push((row, truth, vote(list, labels, classes)?));
    }
    Ok(found)
}

fn vote(list: &[(usize, f64)], labels: &Labels, classes: usize) -> Result<usize, EvalError> {
    let mut votes = vec![0usize; classes];
    for (neighbour, _) in list {
        let class = labels.classes().get(*neighbour).copied().flatten();
        let class = class.ok_or(EvalError::Undefined {
            score: "a vote",
            why: "a neighbour has no class",
        })?;
        votes[class] += 1;
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    Ok(votes.iter().position(|&v| v == most).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_goes_to_the_first_name_and_the_impossible_is_left_out() {
        let labels = Labels::new(["b", "a", "b", "c"], &[]);
        let lists = vec![
            vec![(1, 0.1), (2, 0.2)],
            vec![(0, 0.1)],
            vec![],
            vec![(0, 1.0)],
        ];
        let votes = classify(&Neighbours { lists }, &labels, |row, _| row != 3).unwrap();
        assert_eq!(votes.judged, [(0, 1, 0), (1, 0, 1)]);
        assert_eq!(votes.left_out, [2, 3]);
    }

    #[test]
    fn a_neighbour_without_class_is_an_error() {
        let labels = Labels::new(["a", ""], &[]);
        let lists = vec![vec![(1, 0.1)], vec![]];
        assert!(classify(&Neighbours { lists }, &labels, |_, _| true).is_err());
    }
}
