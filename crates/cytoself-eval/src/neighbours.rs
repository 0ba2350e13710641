use ndarray::ArrayView2;

use crate::EvalError;
use crate::distance::{Coordinate, SquaredDistances};

/// Which points may not be neighbours of a query: itself always, and those that share a group with it.
///
/// # Example
/// ```
/// use cytoself_eval::Exclusions;
/// let field = [0, 0, 1];
/// let exclusions = Exclusions::none().and_same(&field);
/// assert!(exclusions.excludes(0, 1));
/// assert!(!exclusions.excludes(0, 2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Exclusions<'a> {
    groups: Vec<&'a [usize]>,
}

impl<'a> Exclusions<'a> {
    /// Excludes only the query itself.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Excludes also the points with the query's own entry in `group` (its field of view, its protein).
    #[must_use]
    pub fn and_same(mut self, group: &'a [usize]) -> Self {
        self.groups.push(group);
        self
    }

    /// Whether `other` may not be a neighbour of `query`.
    #[must_use]
    pub fn excludes(&self, query: usize, other: usize) -> bool {
        query == other || self.groups.iter().any(|g| g.get(query) == g.get(other))
    }

    fn check(&self, points: usize) -> Result<(), EvalError> {
        match self.groups.iter().find(|g| g.len() != points) {
            Some(group) => {
                let what = "groups to exclude, one per point";
                Err(EvalError::Shape {
                    what,
                    expected: points,
                    found: group.len(),
                })
            }
            None => Ok(()),
        }
    }
}

/// The nearest admissible neighbours of each query, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Row and distance of each neighbour; fewer than k where exclusions leave fewer.
    pub lists: Vec<Vec<(usize, f64)>>,
}

/// Finds the `k` nearest points of every point by Euclidean distance, exactly.
///
/// Candidates come from a matrix product; those near the border of the list are compared again by direct differences
/// in f64, so the lists are those of the direct distances. Equal distances go to the lower row.
///
/// # Shapes
/// `points: [n, d]`, finite, f32 or f64. O(n^2 d) work; `O(64 n)` memory per thread.
///
/// # Errors
/// - `k` is 0;
/// - a coordinate is not finite;
/// - a group to exclude has another length.
///
/// # Example
/// ```
/// use cytoself_eval::{Exclusions, nearest_neighbours};
/// let points = ndarray::array![[0.0f32], [1.0], [3.0], [3.5]];
/// let found = nearest_neighbours(points.view(), 1, &Exclusions::none())?;
/// assert_eq!(found.lists[0], [(1, 1.0)]);
/// let field = [0, 0, 1, 1];
/// let found = nearest_neighbours(points.view(), 1, &Exclusions::none().and_same(&field))?;
/// assert_eq!(found.lists[0], [(2, 3.0)]);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn nearest_neighbours<T: Coordinate>(
    points: ArrayView2<'_, T>,
    k: usize,
    exclusions: &Exclusions<'_>,
) -> Result<Neighbours, EvalError> {
    if k == 0 {
        return Err(EvalError::Parameter {
            name: "k",
            found: "0".into(),
            expected: "at least 1",
        });
    }
    exclusions.check(points.nrows())?;
    check_finite(points)?;
    let distances = SquaredDistances::new(points);
    let lists = distances.for_rows(|query, row| nearest(&distances, query, row, k, exclusions));
    Ok(Neighbours { lists })
}

pub(crate) fn check_finite<T: Coordinate>(points: ArrayView2<'_, T>) -> Result<(), EvalError> {
    match points
        .indexed_iter()
        .find(|(_, v)| !Into::<f64>::into(**v).is_finite())
    {
        Some(((row, column), value)) => Err(EvalError::NotFinite {
            row,
            column,
            value: value.to_string(),
        }),
        None => Ok(()),
    }
}

fn nearest<T: Coordinate>(
    distances: &SquaredDistances<T>,
    query: usize,
    row: &[f64],
    k: usize,
    exclusions: &Exclusions<'_>,
) -> Vec<(usize, f64)> {
    let mut candidates: Vec<usize> = (0..row.len())
        .filter(|&j| !exclusions.excludes(query, j))
        .collect();
    if candidates.len() > k {
        // Whatever may still be among the nearest k once rounding is taken into account.
        let farthest = |j: &usize| row[*j] + distances.uncertainty(query, *j);
        let (_, last, _) =
            candidates.select_nth_unstable_by(k - 1, |a, b| farthest(a).total_cmp(&farthest(b)));
        let limit = farthest(last);
        candidates.retain(|&j| row[j] - distances.uncertainty(query, j) <= limit);
    }
    let mut found: Vec<(usize, f64)> = candidates
        .into_iter()
        .map(|j| (j, distances.exact(query, j)))
        .collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    found.truncate(k);
    found
        .iter_mut()
        .for_each(|(_, distance)| *distance = distance.sqrt());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn points(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 73 + j * j * 31 + i * j * 7) % 997) as f32 / 100.0 + 1000.0
        })
    }

    fn plain(points: &Array2<f32>, k: usize, group: &[usize]) -> Vec<Vec<usize>> {
        let distance = |i: usize, j: usize| -> f64 {
            points
                .row(i)
                .iter()
                .zip(points.row(j))
                .map(|(a, b)| f64::from(a - b) * f64::from(a - b))
                .sum()
        };
        (0..points.nrows())
            .map(|i| {
                let mut all: Vec<usize> = (0..points.nrows())
                    .filter(|&j| group[i] != group[j])
                    .collect();
                all.sort_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)).then(a.cmp(&b)));
                all.truncate(k);
                all
            })
            .collect()
    }

    #[test]
    fn the_fast_path_finds_what_the_plain_one_finds() {
        for columns in [2, 200] {
            let points = points(150, columns);
            let group: Vec<usize> = (0..150).map(|i| i / 4).collect();
            let found =
                nearest_neighbours(points.view(), 7, &Exclusions::none().and_same(&group)).unwrap();
            let rows: Vec<Vec<usize>> = found
                .lists
                .iter()
                .map(|l| l.iter().map(|n| n.0).collect())
                .collect();
            assert_eq!(rows, plain(&points, 7, &group), "{columns} columns");
        }
    }

    #[test]
    fn equal_points_go_by_row_and_scarce_ones_are_short() {
        let points = Array2::<f64>::ones((4, 40));
        let found = nearest_neighbours(points.view(), 2, &Exclusions::none()).unwrap();
        assert_eq!(found.lists[3], [(0, 0.0), (1, 0.0)]);
        let found = nearest_neighbours(
            points.view(),
            2,
            &Exclusions::none().and_same(&[0, 0, 0, 1]),
        )
        .unwrap();
        assert_eq!(found.lists[0], [(3, 0.0)]);
    }

    #[test]
    fn bad_input_is_named() {
        let mut points = points(3, 2);
        assert!(nearest_neighbours(points.view(), 0, &Exclusions::none()).is_err());
        assert!(nearest_neighbours(points.view(), 1, &Exclusions::none().and_same(&[1])).is_err());
        points[[2, 1]] = f32::NAN;
        let error = nearest_neighbours(points.view(), 1, &Exclusions::none()).unwrap_err();
        assert!(matches!(
            error,
            EvalError::NotFinite {
                row: 2,
                column: 1,
                ..
            }
        ));
    }

    #[test]
    fn same_lists_with_one_and_three_threads() {
        let points = points(200, 100);
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| nearest_neighbours(points.view(), 5, &Exclusions::none()).unwrap())
        };
        assert_eq!(run(1), run(3));
    }
}
