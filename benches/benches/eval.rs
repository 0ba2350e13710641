//! Scores at the size of a test split.

#![allow(
    missing_docs,
    reason = "criterion_group makes a function without documentation"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cytoself_eval::{
    Centre, Exclusions, Graph, Labels, LeidenParams, clustering_score, leiden, nearest_neighbours,
};
use ndarray::Array2;

fn points(rows: usize, columns: usize) -> Array2<f32> {
    let noise = |i: usize, j: usize| {
        let z = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (j as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 40) as f32 / (1u64 << 24) as f32
    };
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        noise(i, j) + 2.0 * noise(i % 12, j + 1_000_000)
    })
}

fn scores(c: &mut Criterion) {
    let mut group = c.benchmark_group("eval");
    group.sample_size(10);
    for (rows, columns) in [(2000, 2), (2000, 9216)] {
        let x = points(rows, columns);
        let size = format!("{rows}x{columns}");
        group.bench_function(BenchmarkId::new("nearest_neighbours", size), |b| {
            b.iter(|| nearest_neighbours(black_box(x.view()), 10, &Exclusions::none()));
        });
    }
    let map = points(20_000, 2).mapv(f64::from);
    let labels = Labels::new((0..20_000).map(|i| (i % 12).to_string()), &[]);
    group.bench_function(BenchmarkId::new("clustering_score", 20_000), |b| {
        b.iter(|| clustering_score(black_box(map.view()), &labels, Centre::Coordinatewise));
    });
    let neighbours =
        nearest_neighbours(points(5000, 16).view(), 15, &Exclusions::none()).expect("neighbours");
    let graph = Graph::of_neighbours(&neighbours).expect("graph");
    group.bench_function(BenchmarkId::new("leiden", 5000), |b| {
        b.iter(|| leiden(black_box(&graph), &LeidenParams::default()));
    });
    group.finish();
}

criterion_group!(benches, scores);
criterion_main!(benches);
