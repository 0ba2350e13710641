use ndarray::{Array1, ArrayView2};

/// Steps after which the Weiszfeld iteration is cut off; it is done in tens.
const STEPS: usize = 1000;

/// The point with the smallest sum of distances to all rows.
///
/// Weiszfeld's iteration with the correction of Vardi and Zhang, which may stand on a data point. Unlike the median of
/// each coordinate it turns with the data.
///
/// # Shapes
/// `points: [n, d]`, finite, `n >= 1`; returns `[d]`.
///
/// # References
/// Vardi & Zhang, "The multivariate L1-median and associated data depth", PNAS 97 (2000), doi:10.1073/pnas.97.4.1423.
///
/// # Example
/// ```
/// let corners = ndarray::array![[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]];
/// let centre = cytoself_eval::geometric_median(corners.view());
/// assert!((centre[0] - 1.0).abs() < 1e-9 && (centre[1] - 1.0).abs() < 1e-9);
/// ```
#[must_use]
pub fn geometric_median(points: ArrayView2<'_, f64>) -> Array1<f64> {
    let mut centre = points
        .mean_axis(ndarray::Axis(0))
        .unwrap_or_else(|| Array1::zeros(points.ncols()));
    let scale = points
        .outer_iter()
        .map(|p| distance(p, centre.view()))
        .fold(0.0, f64::max);
    for _ in 0..STEPS {
        let next = step(points, &centre);
        let moved = distance(next.view(), centre.view());
        centre = next;
        if moved <= 1e-12 * scale {
            break;
        }
    }
    centre
}

fn step(points: ArrayView2<'_, f64>, centre: &Array1<f64>) -> Array1<f64> {
    let (mut weights, mut here) = (0.0, 0.0);
    let mut target = Array1::<f64>::zeros(centre.len());
    let mut pull = Array1::<f64>::zeros(centre.len());
    for point in points.outer_iter() {
        let distance = distance(point, centre.view());
        if distance == 0.0 {
            here += 1.0;
            continue;
        }
        weights += 1.0 / distance;
        target.scaled_add(1.0 / distance, &point);
        pull.scaled_add(1.0 / distance, &(&point - centre));
    }
    if weights == 0.0 {
        return centre.clone();
    }
    target /= weights;
    let force = pull.mapv(|v| v * v).sum().sqrt();
    // The share of the step that the points lying exactly here hold back.
    let held = if force > 0.0 {
        (here / force).min(1.0)
    } else {
        1.0
    };
    if here == 0.0 {
        target
    } else {
        target * (1.0 - held) + centre * held
    }
}

fn distance(a: ndarray::ArrayView1<'_, f64>, b: ndarray::ArrayView1<'_, f64>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b) * (a - b))
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_majority_at_one_point_wins() {
        let centre = geometric_median(
            array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [9.0, -4.0], [0.0, 7.0]].view(),
        );
        assert!(
            distance(centre.view(), array![1.0, 1.0].view()) < 1e-9,
            "{centre}"
        );
    }

    #[test]
    fn it_turns_with_the_data() {
        let points = array![[0.0, 0.0], [4.0, 0.5], [1.0, 3.0], [2.0, 2.0], [-1.0, 5.0]];
        let (sin, cos) = 0.7f64.sin_cos();
        let turned = points.dot(&array![[cos, sin], [-sin, cos]]);
        let expected = geometric_median(points.view()).dot(&array![[cos, sin], [-sin, cos]]);
        assert!(distance(geometric_median(turned.view()).view(), expected.view()) < 1e-6);
    }

    #[test]
    fn one_point_and_equal_points() {
        assert_eq!(
            geometric_median(array![[3.0, 4.0]].view()),
            array![3.0, 4.0]
        );
        assert_eq!(
            geometric_median(array![[3.0, 4.0], [3.0, 4.0]].view()),
            array![3.0, 4.0]
        );
    }
}
