//! Data and measures shared by the tests.

mod iris;

use ndarray::{Array2, ArrayView2};

/// Fisher's irises in centimetres, and the species.
pub fn iris() -> (Array2<f32>, Vec<usize>) {
    let points = Array2::from_shape_fn((150, 4), |(i, j)| f32::from(iris::IRIS[i][j]) / 10.0);
    (points, (0..150).map(|i| i / 50).collect())
}

/// A number that looks random, in [0, 1).
pub fn noise(seed: u64, i: usize) -> f32 {
    let x =
        (i as u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1_u32 << 24) as f32
}

/// `count` Gaussian-like clouds of `size` points with unit deviation, centres about 30 apart.
pub fn blobs(count: usize, size: usize, dimensions: usize, seed: u64) -> (Array2<f32>, Vec<usize>) {
    let gauss = |at: usize| (0..12).map(|s| noise(seed, at * 12 + s)).sum::<f32>() - 6.0;
    let points = Array2::from_shape_fn((count * size, dimensions), |(i, d)| {
        20.0 * noise(seed + 1000, (i / size) * dimensions + d) + gauss(i * dimensions + d)
    });
    (points, (0..count * size).map(|i| i / size).collect())
}

fn order(points: ArrayView2<'_, f32>, i: usize) -> Vec<usize> {
    let square = |j: usize| {
        points
            .row(i)
            .iter()
            .zip(points.row(j))
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
    };
    let distances: Vec<f32> = (0..points.nrows()).map(square).collect();
    let mut order: Vec<usize> = (0..points.nrows()).filter(|&j| j != i).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
    order
}

/// Trustworthiness (Venna, Kaski 2001): 1 when all `k` nearest in the map are near in the data.
pub fn trustworthiness(data: ArrayView2<'_, f32>, map: ArrayView2<'_, f32>, k: usize) -> f64 {
    let n = data.nrows();
    let mut penalty = 0.0;
    for i in 0..n {
        let mut rank = vec![0; n];
        order(data, i)
            .into_iter()
            .enumerate()
            .for_each(|(r, j)| rank[j] = r + 1);
        penalty += order(map, i)[..k]
            .iter()
            .map(|&j| rank[j].saturating_sub(k) as f64)
            .sum::<f64>();
    }
    1.0 - penalty * 2.0 / (n * k * (2 * n - 3 * k - 1)) as f64
}

/// Share of points whose `k` nearest in the map mostly carry their own label.
pub fn accuracy(map: ArrayView2<'_, f32>, labels: &[usize], k: usize) -> f64 {
    let n = map.nrows();
    let right = (0..n).filter(|&i| {
        2 * order(map, i)[..k]
            .iter()
            .filter(|&&j| labels[j] == labels[i])
            .count()
            > k
    });
    right.count() as f64 / n as f64
}

/// Mean position per label.
pub fn centres(map: ArrayView2<'_, f32>, labels: &[usize], count: usize) -> Array2<f32> {
    let mut sums = Array2::zeros((count, map.ncols()));
    let mut sizes = vec![0.0_f32; count];
    for (row, &l) in map.rows().into_iter().zip(labels) {
        sums.row_mut(l).zip_mut_with(&row, |s, v| *s += v);
        sizes[l] += 1.0;
    }
    sums.rows_mut()
        .into_iter()
        .zip(sizes)
        .for_each(|(mut r, n)| r.mapv_inplace(|v| v / n));
    sums
}

/// Points that are nearer to another label's centre than to their own.
pub fn nearest_centre_errors(
    map: ArrayView2<'_, f32>,
    labels: &[usize],
    centres: &Array2<f32>,
) -> usize {
    let square = |i: usize, c: usize| {
        map.row(i)
            .iter()
            .zip(centres.row(c))
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
    };
    let nearest =
        |i: usize| (0..centres.nrows()).min_by(|&a, &b| square(i, a).total_cmp(&square(i, b)));
    (0..map.nrows())
        .filter(|&i| nearest(i) != Some(labels[i]))
        .count()
}

/// Mean share of a point's `k` nearest in the data that are among its `k` nearest in the map.
pub fn neighbour_overlap(data: ArrayView2<'_, f32>, map: ArrayView2<'_, f32>, k: usize) -> f64 {
    let shared = |i: usize| {
        let near = order(data, i)[..k].to_vec();
        order(map, i)[..k]
            .iter()
            .filter(|j| near.contains(j))
            .count()
    };
    (0..data.nrows()).map(shared).sum::<usize>() as f64 / (data.nrows() * k) as f64
}
