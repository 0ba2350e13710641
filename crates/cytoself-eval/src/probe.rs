use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_logistic::MultiLogisticRegression;
use ndarray::{ArrayView2, Axis};

use crate::distance::Coordinate;
use crate::neighbours::check_finite;
use crate::{Classification, EvalError, Labels};

/// A linear probe: multinomial logistic regression on standardised features.
///
/// # Defaults
/// - penalty 1 (half the squared norm of the weights; scikit-learn's `1 / C`);
/// - at most 200 iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeParams {
    /// Weight of half the squared norm of the weights, against the summed cross entropy.
    pub penalty: f64,
    /// Limit of the iterations.
    pub iterations: u64,
}

impl Default for ProbeParams {
    fn default() -> Self {
        Self {
            penalty: 1.0,
            iterations: 200,
        }
    }
}

/// Trains a linear classifier on the points marked `train` and judges it on the other labelled points.
///
/// Features are standardised with the mean and standard deviation of the training points; features that are constant
/// there are dropped. Test points of a class that is not in the training points are left out and reported.
///
/// # Shapes
/// `points: [n, d]`, finite; one label and one mark per point.
///
/// # Errors
/// - points, labels and marks differ in number, or a coordinate is not finite;
/// - fewer than two classes to train on, or no point to judge;
/// - the penalty is negative or not a number;
/// - the regression fails.
///
/// # Example
/// ```
/// use cytoself_eval::{Labels, ProbeParams, linear_probe};
/// let points = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| (i % 2 * 8 + (i * 5 + j * 3) % 7) as f64);
/// let labels = Labels::new((0..40).map(|i| ["a", "b"][i % 2]), &[]);
/// let train: Vec<bool> = (0..40).map(|i| i < 20).collect();
/// let found = linear_probe(points.view(), &labels, &train, &ProbeParams::default())?;
/// assert_eq!(found.judged.len(), 20);
/// assert_eq!(found.accuracy(), 1.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn linear_probe<T: Coordinate>(
    points: ArrayView2<'_, T>,
    labels: &Labels,
    train: &[bool],
    params: &ProbeParams,
) -> Result<Classification, EvalError> {
    check(points, labels, train, params)?;
    let (rows, classes) = labels.labelled();
    let (mut train_rows, mut train_classes, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for (row, class) in rows.into_iter().zip(classes) {
        if train[row] {
            train_rows.push(row);
            train_classes.push(class);
        } else {
            test.push((row, class));
        }
    }
    let known = |class: usize| train_classes.contains(&class);
    let present = (0..labels.names().len()).filter(|&c| known(c)).count();
    if present < 2 {
        return Err(EvalError::TooFew {
            what: "classes to train the probe on",
            needed: 2,
            found: present,
        });
    }
    let (test, left_out): (Vec<_>, Vec<_>) = test.into_iter().partition(|t| known(t.1));
    if test.is_empty() {
        return Err(EvalError::TooFew {
            what: "points to judge the probe on",
            needed: 1,
            found: 0,
        });
    }
    let scale = Standard::of(points, &train_rows);
    let test_rows: Vec<usize> = test.iter().map(|t| t.0).collect();
    let predicted = predict(
        scale.apply(points, &train_rows),
        train_classes,
        scale.apply(points, &test_rows),
        params,
    )?;
    Ok(Classification {
        judged: test
            .into_iter()
            .zip(predicted)
            .map(|((row, truth), found)| (row, truth, found))
            .collect(),
        left_out: left_out.into_iter().map(|t| t.0).collect(),
        classes: labels.names().len(),
    })
}

type Matrix = ndarray_linfa::Array2<f64>;

fn predict(
    train: Matrix,
    classes: Vec<usize>,
    test: Matrix,
    params: &ProbeParams,
) -> Result<Vec<usize>, EvalError> {
    let data = DatasetBase::new(train, ndarray_linfa::Array1::from(classes));
    let model = MultiLogisticRegression::default()
        .alpha(params.penalty)
        .max_iterations(params.iterations)
        .gradient_tolerance(1e-4)
        .fit(&data)
        .map_err(|e| EvalError::Fit {
            what: "the linear probe",
            why: e.to_string(),
        })?;
    Ok(model.predict(&test).to_vec())
}

fn check<T: Coordinate>(
    points: ArrayView2<'_, T>,
    labels: &Labels,
    train: &[bool],
    params: &ProbeParams,
) -> Result<(), EvalError> {
    for (what, found) in [
        ("labels, one per point", labels.len()),
        ("training marks, one per point", train.len()),
    ] {
        if found != points.nrows() {
            return Err(EvalError::Shape {
                what,
                expected: points.nrows(),
                found,
            });
        }
    }
    if !(params.penalty >= 0.0 && params.penalty.is_finite()) {
        let found = params.penalty.to_string();
        return Err(EvalError::Parameter {
            name: "penalty",
            found,
            expected: "0 or more",
        });
    }
    check_finite(points)
}

/// Mean and inverse standard deviation of the features that vary.
struct Standard {
    features: Vec<(usize, f64, f64)>,
}

impl Standard {
    fn of<T: Coordinate>(points: ArrayView2<'_, T>, rows: &[usize]) -> Self {
        let count = rows.len() as f64;
        let features = points
            .axis_iter(Axis(1))
            .enumerate()
            .filter_map(|(feature, column)| {
                let values = || rows.iter().map(|&row| Into::<f64>::into(column[row]));
                let mean = values().sum::<f64>() / count;
                let deviation =
                    (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt();
                (deviation > 0.0).then(|| (feature, mean, 1.0 / deviation))
            });
        Self {
            features: features.collect(),
        }
    }

    fn apply<T: Coordinate>(&self, points: ArrayView2<'_, T>, rows: &[usize]) -> Matrix {
        Matrix::from_shape_fn((rows.len(), self.features.len()), |(i, j)| {
            let (feature, mean, scale) = self.features[j];
            (Into::<f64>::into(points[[rows[i], feature]]) - mean) * scale
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn an_unknown_class_is_left_out_and_a_constant_feature_dropped() {
        let points = Array2::from_shape_fn((30, 3), |(i, j)| {
            if j == 2 {
                4.0f32
            } else {
                (i % 3 * 6 + (i * 7 + j) % 5) as f32
            }
        });
        let labels = Labels::new((0..30).map(|i| ["a", "b", "c"][i % 3]), &[]);
        let train: Vec<bool> = (0..30).map(|i| i < 20 && i % 3 < 2).collect();
        let found = linear_probe(points.view(), &labels, &train, &ProbeParams::default()).unwrap();
        assert_eq!(found.left_out.len(), 10);
        assert_eq!(found.accuracy(), 1.0);
    }

    #[test]
    fn nothing_to_train_on_is_an_error() {
        let points = Array2::<f64>::zeros((4, 2));
        let labels = Labels::new(["a", "b", "a", "b"], &[]);
        let params = ProbeParams::default();
        assert!(linear_probe(points.view(), &labels, &[false; 4], &params).is_err());
        assert!(linear_probe(points.view(), &labels, &[true; 4], &params).is_err());
        assert!(linear_probe(points.view(), &labels, &[true; 3], &params).is_err());
        let params = ProbeParams {
            penalty: -1.0,
            ..params
        };
        assert!(
            linear_probe(points.view(), &labels, &[true, true, false, false], &params).is_err()
        );
    }
}
