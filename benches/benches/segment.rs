//! Every step of the OpenCell chain, the local method and the diameter estimate on a field of nuclei.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cytoself_segment::{
    Connectivity, LocalParams, OpenCellParams, background_mask, clean_mask, close_disk,
    distance_transform, erode_cross, estimate_diameter, fill_small_holes, find_peaks, gaussian,
    label_components, laplacian, li_threshold, percentile, refine_mask, regions, signed_distance,
    split_nuclei,
};
use ndarray::Array2;

/// Nuclei of 60 px (at 1024 px), some of them touching, with noise of fixed seed.
fn field(size: usize) -> Array2<f32> {
    let unit = size as f32 / 1024.0;
    let mut state = 1_u64;
    Array2::from_shape_fn((size, size), |(y, x)| {
        let (y, x) = (y as f32 / unit, x as f32 / unit);
        let row = (y / 70.0).floor();
        let (dy, dx) = (y % 70.0 - 35.0, (x + row * 23.0) % 62.0 - 31.0);
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) as f32 / (1_u64 << 24) as f32;
        let level = 400.0 / (1.0 + (((dy * dy + dx * dx).sqrt() - 29.0) / 1.5).exp());
        (level + 100.0 + 20.0 * noise).round()
    })
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segment");
    group.sample_size(10);
    for size in [512, 1024] {
        let raw = field(size);
        let chain = OpenCellParams::default()
            .scale(size as f64 / 1024.0)
            .check()
            .expect("a valid scale");
        let scale = chain.params().scale;
        let image = raw.mapv(f64::from);
        let (background, _) = background_mask(image.view(), &chain);
        let blurred = gaussian(image.view(), 4.0 * scale);
        let log = laplacian(blurred.view());
        let refined = refine_mask(image.view(), background.view(), &chain);
        let cleaned = clean_mask(refined.view(), &chain);
        let distance = distance_transform(cleaned.view());
        let inside = cleaned.mapv(u32::from);
        let labels = split_nuclei(cleaned.view(), &chain).expect("equal shapes");

        let mut bench = |name: &str, work: &dyn Fn()| {
            group.bench_with_input(BenchmarkId::new(name, size), &size, |b, _| b.iter(work));
        };
        bench("gaussian", &|| {
            drop(black_box(gaussian(image.view(), 5.0 * scale)))
        });
        bench("li_threshold", &|| {
            _ = black_box(li_threshold(blurred.view()))
        });
        bench("erode_cross", &|| {
            drop(black_box(erode_cross(background.view())))
        });
        bench("laplacian", &|| drop(black_box(laplacian(blurred.view()))));
        bench("close_disk", &|| {
            drop(black_box(close_disk(
                background.view(),
                (5.0 * scale) as usize,
            )))
        });
        bench("fill_small_holes", &|| {
            drop(black_box(fill_small_holes(background.view(), 10_000)))
        });
        bench("percentile", &|| _ = black_box(percentile(log.view(), 7.0)));
        bench("label_components", &|| {
            drop(black_box(label_components(
                cleaned.view(),
                Connectivity::Four,
            )))
        });
        bench("distance_transform", &|| {
            drop(black_box(distance_transform(cleaned.view())))
        });
        bench("find_peaks", &|| {
            drop(black_box(find_peaks(distance.view(), inside.view(), 15)))
        });
        bench("split_nuclei", &|| {
            drop(black_box(
                split_nuclei(cleaned.view(), &chain).expect("equal shapes"),
            ))
        });
        bench("regions", &|| drop(black_box(regions(labels.view()))));
        bench("signed_distance", &|| {
            drop(black_box(signed_distance(labels.view())))
        });
        bench("opencell", &|| {
            drop(black_box(
                chain.segment(raw.view()).expect("a finite image"),
            ))
        });
        let local = LocalParams::default()
            .diameter(60.0 * scale)
            .check()
            .expect("a valid diameter");
        bench("local", &|| {
            drop(black_box(
                local.segment(raw.view()).expect("a finite image"),
            ))
        });
        bench("estimate_diameter", &|| {
            let _ = black_box(estimate_diameter(raw.view()));
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
