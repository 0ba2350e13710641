//! UMAP of clustered points: whole fits, and all that comes before the layout.

#![allow(
    missing_docs,
    reason = "criterion_group makes a function without documentation"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cytoself_umap::{KnnMethod, ParamGuard, PointSource, UmapParams, silent};
use ndarray::Array2;

/// Clouds of 100 points, the same in every run.
fn clouds(rows: usize, columns: usize) -> Array2<f32> {
    let noise = |i: usize, j: usize| {
        let z = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (j as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 40) as f32 / (1_u64 << 24) as f32
    };
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        noise(i, j) + 2.0 * noise(i / 100, j + 1_000_000)
    })
}

fn fits(c: &mut Criterion) {
    let mut group = c.benchmark_group("umap");
    group.sample_size(10);
    for (rows, columns) in [(2000, 64), (5000, 784)] {
        let x = clouds(rows, columns);
        let source = PointSource::dense(x.view()).expect("finite rows");
        let size = format!("{rows}x{columns}");
        // Without epochs a fit is the search, the graph and the start.
        for (name, epochs) in [("fit", None), ("without_layout", Some(0))] {
            for knn in [KnnMethod::Exact, KnnMethod::Descent] {
                let params = UmapParams::default()
                    .epochs(epochs)
                    .knn(knn)
                    .check()
                    .expect("valid parameters");
                group.bench_function(BenchmarkId::new(format!("{name}_{knn}"), &size), |b| {
                    b.iter(|| {
                        params
                            .fit(black_box(&source), &mut silent())
                            .expect("a map")
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, fits);
criterion_main!(benches);
