//! The spectrum chain at the size of the paper: 1311 proteins, 2048 codes.

#![allow(
    missing_docs,
    reason = "criterion_group makes a function without documentation"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cytoself_spectrum::{
    Method, euclidean_distances, linkage, optimal_leaf_order, pearson_columns,
};
use ndarray::Array2;

/// Histograms with twenty overlapping families of codes, the same in every run.
fn histograms(proteins: usize, codes: usize) -> Array2<f64> {
    let noise = |i: usize, j: usize| {
        let z = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (j as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 11) as f64 / (1u64 << 53) as f64
    };
    Array2::from_shape_fn((proteins, codes), |(i, j)| {
        noise(i, j) + 3.0 * noise(i, j % 20 + 1_000_000)
    })
}

fn chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("spectrum");
    group.sample_size(10);
    for codes in [512, 2048] {
        let x = histograms(1311, codes);
        let correlation = pearson_columns(x.view()).expect("correlation").matrix;
        let distances = euclidean_distances(correlation.view()).expect("distances");
        let tree = linkage(&distances, Method::Average).expect("tree");
        group.bench_function(BenchmarkId::new("pearson", codes), |b| {
            b.iter(|| pearson_columns(black_box(x.view())))
        });
        group.bench_function(BenchmarkId::new("distances", codes), |b| {
            b.iter(|| euclidean_distances(black_box(correlation.view())));
        });
        group.bench_function(BenchmarkId::new("linkage", codes), |b| {
            b.iter(|| linkage(black_box(&distances), Method::Average));
        });
        group.bench_function(BenchmarkId::new("optimal_leaf_order", codes), |b| {
            b.iter(|| optimal_leaf_order(black_box(&tree), &distances));
        });
    }
    group.finish();
}

criterion_group!(benches, chain);
criterion_main!(benches);
