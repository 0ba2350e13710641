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
fn centres(map: ArrayView2<'_, f32>, labels: &[usize], count: usize) -> Array2<f32> {
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

/// Lloyd's k-means from the best of several greedy starts.
pub fn k_means(map: ArrayView2<'_, f32>, count: usize) -> Vec<usize> {
    let square = |i: usize, c: &[f32]| -> f32 {
        map.row(i)
            .iter()
            .zip(c)
            .map(|(a, b)| (a - b) * (a - b))
            .sum()
    };
    let nearest = |i: usize, centres: &[Vec<f32>]| -> (usize, f32) {
        let all = centres.iter().map(|c| square(i, c)).enumerate();
        all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    };
    let n = map.nrows();
    let from = |first: usize| {
        let mut centres = vec![map.row(first).to_vec()];
        while centres.len() < count {
            let far =
                (0..n).max_by(|&a, &b| nearest(a, &centres).1.total_cmp(&nearest(b, &centres).1));
            centres.push(map.row(far.unwrap()).to_vec());
        }
        let mut labels = vec![0; n];
        for _ in 0..50 {
            labels = (0..n).map(|i| nearest(i, &centres).0).collect();
            let means = self::centres(map, &labels, count);
            centres = means.rows().into_iter().map(|r| r.to_vec()).collect();
        }
        let cost: f32 = (0..n).map(|i| nearest(i, &centres).1).sum();
        (cost, labels)
    };
    let runs = (0..n).step_by(n.div_ceil(10)).map(from);
    runs.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

/// Adjusted Rand index (Hubert, Arabie 1985) of two labellings.
pub fn adjusted_rand(a: &[usize], b: &[usize]) -> f64 {
    let pairs = |n: usize| (n * n.saturating_sub(1)) as f64 / 2.0;
    let sizes = |of: &dyn Fn(usize) -> (usize, usize)| {
        let mut counts = std::collections::BTreeMap::new();
        (0..a.len()).for_each(|i| *counts.entry(of(i)).or_insert(0) += 1);
        counts.into_values().map(pairs).sum::<f64>()
    };
    let both = sizes(&|i| (a[i], b[i]));
    let (left, right) = (sizes(&|i| (a[i], 0)), sizes(&|i| (b[i], 0)));
    let chance = left * right / pairs(a.len());
    (both - chance) / (0.5 * (left + right) - chance)
}
