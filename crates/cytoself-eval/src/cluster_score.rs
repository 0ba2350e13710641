use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::{EvalError, Labels, geometric_median};

/// Which point stands for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Centre {
    /// The median of each coordinate, as cytoself computes it; depends on how the map is turned.
    #[default]
    Coordinatewise,
    /// The geometric median; turns with the map.
    Geometric,
}

/// The clustering score in its two forms; higher is better.
///
/// With `c_j` the centre of class `j` and `s_j` the median distance of its points to `c_j`, both forms divide the
/// spread of the centres by the median of the `s_j`:
/// - **robust**, the paper's words: the median distance of the centres to their own centre;
/// - **reference**, cytoself's code: the standard deviation of all coordinates of all centres pooled, x and y together.
///
/// The reference form changes when the map is shifted along one axis (an offset between x and y counts as spread);
/// the robust form does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusteringScore {
    /// Median distance of the class centres to their median, over the median class size.
    pub robust: f64,
    /// Pooled standard deviation of the centres' coordinates, over the median class size.
    pub reference: f64,
}

/// Scores how compact and how far apart the classes are.
///
/// # Shapes
/// `points: [n, d]`, finite; one label per point; points without class do not count.
///
/// # Errors
/// - labels and points differ in number, or a coordinate is not finite;
/// - fewer than two classes;
/// - the median class has size 0 (its points coincide).
///
/// # References
/// Kobayashi et al. 2022, doi:10.1038/s41592-022-01541-z, Methods, "Clustering score".
///
/// # Example
/// ```
/// use cytoself_eval::{Centre, Labels, clustering_score};
/// let points = ndarray::array![
///     [0.0, 2.0], [0.0, -2.0], [0.0, 0.0], [2.0, 0.0], [-2.0, 0.0],
///     [10.0, 13.0], [10.0, 7.0], [10.0, 10.0], [13.0, 10.0], [7.0, 10.0],
/// ];
/// let labels = Labels::new(["a"; 5].into_iter().chain(["b"; 5]), &[]);
/// let score = clustering_score(points.view(), &labels, Centre::Coordinatewise)?;
/// // Centres (0, 0) and (10, 10), sizes 2 and 3: 5 / 2.5.
/// assert_eq!(score.reference, 2.0);
/// assert!((score.robust - 50.0f64.sqrt() / 2.5).abs() < 1e-12);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn clustering_score(
    points: ArrayView2<'_, f64>,
    labels: &Labels,
    centre: Centre,
) -> Result<ClusteringScore, EvalError> {
    check_points(points, labels)?;
    let classes = members(labels);
    let present = classes.iter().filter(|c| !c.is_empty()).count();
    if present < 2 {
        return Err(EvalError::TooFew {
            what: "classes for the clustering score",
            needed: 2,
            found: present,
        });
    }
    score_members(points, &classes, centre)
}

/// The score of some rows, which may repeat: one resample of a bootstrap.
///
/// # Errors
/// - as [`clustering_score`]; rows that do not exist or have no class do not count.
///
/// # Example
/// ```
/// use cytoself_eval::{Centre, Labels, clustering_score_of_rows};
/// let points = ndarray::array![[0.0], [2.0], [10.0], [14.0], [99.0]];
/// let labels = Labels::new(["a", "a", "b", "b", "b"], &[]);
/// let score = clustering_score_of_rows(points.view(), &labels, &[0, 1, 2, 3], Centre::Coordinatewise)?;
/// // Centres 1 and 12, sizes 1 and 2.
/// assert_eq!(score.robust, 5.5 / 1.5);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn clustering_score_of_rows(
    points: ArrayView2<'_, f64>,
    labels: &Labels,
    rows: &[usize],
    centre: Centre,
) -> Result<ClusteringScore, EvalError> {
    let mut classes = vec![Vec::new(); labels.names().len()];
    for &row in rows.iter().filter(|&&row| row < points.nrows()) {
        if let Some(class) = labels.classes().get(row).copied().flatten() {
            classes[class].push(row);
        }
    }
    score_members(points, &classes, centre)
}

/// The score of classes given as rows; empty classes do not count.
fn score_members(
    points: ArrayView2<'_, f64>,
    classes: &[Vec<usize>],
    centre: Centre,
) -> Result<ClusteringScore, EvalError> {
    let present = classes.iter().filter(|rows| !rows.is_empty()).count();
    if present < 2 {
        return Err(EvalError::TooFew {
            what: "classes for the clustering score",
            needed: 2,
            found: present,
        });
    }
    let (mut centres, mut sizes) = (Vec::new(), Vec::new());
    for rows in classes.iter().filter(|rows| !rows.is_empty()) {
        let own = points.select(Axis(0), rows);
        let middle = centre_of(own.view(), centre);
        sizes.push(median(
            own.outer_iter()
                .map(|p| norm(&p.to_owned() - &middle))
                .collect(),
        ));
        centres.extend(middle);
    }
    let size = median(sizes.clone());
    if size <= 0.0 {
        let why = "the points of the median class coincide, so its size is 0";
        return Err(EvalError::Undefined {
            score: "the clustering score",
            why,
        });
    }
    let mean = centres.iter().sum::<f64>() / centres.len() as f64;
    let variance =
        centres.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / centres.len() as f64;
    let centres = Array2::from_shape_vec((sizes.len(), points.ncols()), centres).map_err(|_| {
        EvalError::Shape {
            what: "coordinates of the centres",
            expected: points.ncols(),
            found: 0,
        }
    })?;
    let middle = centre_of(centres.view(), centre);
    let spread = median(
        centres
            .outer_iter()
            .map(|c| norm(&c.to_owned() - &middle))
            .collect(),
    );
    Ok(ClusteringScore {
        robust: spread / size,
        reference: variance.sqrt() / size,
    })
}

/// Rows of each class.
fn members(labels: &Labels) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); labels.names().len()];
    let (rows, classes) = labels.labelled();
    rows.into_iter()
        .zip(classes)
        .for_each(|(row, class)| members[class].push(row));
    members
}

fn check_points(points: ArrayView2<'_, f64>, labels: &Labels) -> Result<(), EvalError> {
    if points.nrows() != labels.len() {
        let what = "labels, one per point";
        return Err(EvalError::Shape {
            what,
            expected: points.nrows(),
            found: labels.len(),
        });
    }
    match points.indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some(((row, column), value)) => Err(EvalError::NotFinite {
            row,
            column,
            value: value.to_string(),
        }),
        None => Ok(()),
    }
}

fn centre_of(points: ArrayView2<'_, f64>, centre: Centre) -> Array1<f64> {
    match centre {
        Centre::Coordinatewise => points
            .axis_iter(Axis(1))
            .map(|c| median(c.to_vec()))
            .collect(),
        Centre::Geometric => geometric_median(points),
    }
}

fn norm(x: Array1<f64>) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Median; the mean of the middle two for an even number, 0 for none.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if even {
        f64::midpoint(
            below.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            upper,
        )
    } else {
        upper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (Array2<f64>, Labels) {
        let points = Array2::from_shape_fn((90, 2), |(i, j)| {
            let class = (i % 3) as f64;
            class * 7.0 * (1.0 + j as f64) + ((i * 29 + j * 17) % 31) as f64 / 10.0
        });
        (
            points,
            Labels::new((0..90).map(|i| ["a", "b", "c"][i % 3]), &[]),
        )
    }

    #[test]
    fn median_of_even_and_odd() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_robust_form_ignores_shift_and_scale_and_the_reference_form_only_scale() {
        let (points, labels) = blobs();
        let score =
            |p: &Array2<f64>| clustering_score(p.view(), &labels, Centre::Coordinatewise).unwrap();
        let plain = score(&points);
        let mut shifted = points.clone();
        shifted.column_mut(0).mapv_inplace(|x| x + 100.0);
        assert!((score(&shifted).robust - plain.robust).abs() < 1e-9);
        assert!((score(&shifted).reference - plain.reference).abs() > 0.1);
        let scaled = score(&points.mapv(|v| 3.0 * v));
        assert!(
            (scaled.robust - plain.robust).abs() < 1e-9
                && (scaled.reference - plain.reference).abs() < 1e-9
        );
    }

    #[test]
    fn with_geometric_centres_the_robust_form_turns_with_the_map() {
        let (points, labels) = blobs();
        let (sin, cos) = 0.6f64.sin_cos();
        let turned = points.dot(&ndarray::array![[cos, sin], [-sin, cos]]);
        let robust = |p: &Array2<f64>| {
            clustering_score(p.view(), &labels, Centre::Geometric)
                .unwrap()
                .robust
        };
        assert!((robust(&points) - robust(&turned)).abs() < 1e-6);
    }

    #[test]
    fn what_has_no_score_is_an_error() {
        let (points, labels) = blobs();
        assert!(
            clustering_score(
                points.view(),
                &Labels::new(["a"; 90], &[]),
                Centre::default()
            )
            .is_err()
        );
        assert!(
            clustering_score(
                points.view(),
                &Labels::new(["a"; 3], &[]),
                Centre::default()
            )
            .is_err()
        );
        assert!(
            clustering_score(Array2::zeros((90, 2)).view(), &labels, Centre::default()).is_err()
        );
        let mut bad = points.clone();
        bad[[4, 1]] = f64::INFINITY;
        assert!(matches!(
            clustering_score(bad.view(), &labels, Centre::default()),
            Err(EvalError::NotFinite {
                row: 4,
                column: 1,
                ..
            })
        ));
    }
}
