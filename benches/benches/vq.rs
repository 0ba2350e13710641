//! Split quantisation at the sizes of the paper: 2048 codes of 64 components, 625 and 144 vectors per image.

#![allow(
    missing_docs,
    reason = "criterion_group makes a function without documentation"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cytoself_vq::{
    Codebook, CpuSearch, NearestCode, Simd, SplitQuantizer, Vectors, codebook_gradient,
};

const CODES: usize = 2048;
const DIM: usize = 64;

/// `(split, positions)` of the two levels.
const LEVELS: [(usize, usize); 2] = [(1, 625), (9, 16)];

fn vectors(count: usize) -> Vec<f32> {
    let codebook = Codebook::uniform(count, DIM, 3).expect("vectors");
    let scale = (count as f32 / CODES as f32).sqrt();
    codebook.as_slice().iter().map(|v| v * scale).collect()
}

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("vq/search");
    group.sample_size(20);
    for (split, positions) in LEVELS {
        for images in [1, 16, 256] {
            let data = vectors(images * split * positions);
            let batch = Vectors::planes(&data, images, split, DIM, positions).expect("shape");
            group.throughput(Throughput::Elements(batch.len() as u64));
            for simd in Simd::available() {
                let codebook = Codebook::uniform(CODES, DIM, 1).expect("codebook");
                let engine = CpuSearch::with_simd(codebook, simd).expect("instruction set");
                let id = BenchmarkId::new(format!("{simd:?}/{}", split * positions), images);
                group.bench_function(id, |b| b.iter(|| engine.nearest(black_box(&batch))));
            }
        }
    }
    group.finish();
}

fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("vq/training");
    group.sample_size(20);
    for (split, positions) in LEVELS {
        let images = 16;
        let data = vectors(images * split * positions);
        let codebook = Codebook::uniform(CODES, DIM, 1).expect("codebook");
        let quantizer = SplitQuantizer::new(codebook.clone(), split).expect("split");
        let id = BenchmarkId::new(format!("forward/{}", split * positions), images);
        group.bench_function(id, |b| {
            b.iter(|| quantizer.quantize_images(black_box(&data), images, positions))
        });
        let found = quantizer
            .quantize_images(&data, images, positions)
            .expect("quantise");
        let batch = Vectors::planes(&data, images, split, DIM, positions).expect("shape");
        let id = BenchmarkId::new(format!("codebook_gradient/{}", split * positions), images);
        group.bench_function(id, |b| {
            b.iter(|| codebook_gradient(black_box(&batch), &found.indices, &codebook, 1.0));
        });
    }
    group.finish();
}

criterion_group!(benches, search, training);
criterion_main!(benches);
