//! Fits on small data: quality, bits at any thread count, awkward inputs.

use crate::common::{accuracy, adjusted_rand, blobs, iris, k_means, trustworthiness};
use cytoself_umap::{
    Init, Knn, KnnMethod, Metric, ParamGuard, PointSource, UmapError, UmapModel, UmapParams, silent,
};
use ndarray::{Array2, array};

fn fit(params: UmapParams, points: &Array2<f32>) -> UmapModel {
    params
        .check()
        .unwrap()
        .fit(&PointSource::dense(points.view()).unwrap(), &mut silent())
        .unwrap()
}

fn bits(model: &UmapModel) -> Vec<u32> {
    model.embedding().iter().map(|v| v.to_bits()).collect()
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

#[test]
fn iris_is_trustworthy() {
    let (points, _) = iris();
    for seed in 0..3 {
        let model = fit(
            UmapParams::default()
                .n_neighbors(10)
                .min_dist(0.01)
                .seed(seed),
            &points,
        );
        let trust = trustworthiness(points.view(), model.embedding(), 10);
        assert!(trust >= 0.97, "seed {seed}: {trust}");
    }
}

#[test]
fn iris_from_a_given_start_is_trustworthy() {
    let (points, _) = iris();
    let start = points.slice(ndarray::s![.., 2..4]).to_owned();
    let model = fit(
        UmapParams::default()
            .n_neighbors(10)
            .min_dist(0.01)
            .init(Init::Given(start)),
        &points,
    );
    assert_eq!(model.report().init.used, "given");
    assert!(trustworthiness(points.view(), model.embedding(), 10) >= 0.97);
}

#[test]
fn five_blobs_are_five_islands() {
    // 5 x 500 points in 10 dimensions: every point's nearest neighbours in the map are of its own blob.
    let (points, labels) = blobs(5, 500, 10, 3);
    for metric in [Metric::Euclidean, Metric::Manhattan] {
        let model = fit(UmapParams::default().metric(metric), &points);
        assert_eq!(accuracy(model.embedding(), &labels, 10), 1.0, "{metric}");
        assert_eq!(model.report().init.components, 5);
        let found = k_means(model.embedding(), 5);
        assert_eq!(adjusted_rand(&found, &labels), 1.0, "{metric}");
    }
}

#[test]
fn the_same_bits_at_any_thread_count_and_across_runs() {
    let (points, _) = blobs(7, 90, 12, 1);
    let run = |threads| {
        on_threads(threads, || {
            bits(&fit(UmapParams::default().epochs(Some(60)), &points))
        })
    };
    let one = run(1);
    for threads in [1, 2, 3, 8] {
        assert!(run(threads) == one, "{threads} threads");
    }
    let other = bits(&fit(
        UmapParams::default().epochs(Some(60)).seed(1),
        &points,
    ));
    assert_ne!(one, other);
}

#[test]
fn descent_sketches_and_codes_have_the_same_bits_at_any_thread_count() {
    let (points, _) = blobs(6, 100, 520, 4);
    let codes = points
        .slice(ndarray::s![.., ..20])
        .mapv(|v| (v.abs() as u16) % 32);
    let book = Array2::from_shape_fn((32, 30), |(i, j)| crate::common::noise(5, i * 30 + j));
    let short = points.slice(ndarray::s![.., ..12]).to_owned();
    let sources = [
        PointSource::dense(short.view()).unwrap(),
        PointSource::dense(points.view()).unwrap(),
        PointSource::codes(codes.view(), book.view()).unwrap(),
    ];
    let params = UmapParams::default()
        .knn(KnnMethod::Descent)
        .epochs(Some(30));
    let params = params.check().unwrap();
    for source in &sources {
        let run = |threads| {
            let model = on_threads(threads, || params.fit(source, &mut silent()).unwrap());
            assert_eq!(model.report().knn.method, Some(KnnMethod::Descent));
            (model.knn().clone(), bits(&model))
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{threads} threads");
        }
    }
}

#[test]
fn components_beyond_two_dimensions() {
    let (points, labels) = blobs(4, 60, 6, 2);
    for n_components in [1, 3, 10] {
        let model = fit(UmapParams::default().n_components(n_components), &points);
        assert_eq!(model.embedding().dim(), (240, n_components));
        if n_components > 1 {
            assert!(accuracy(model.embedding(), &labels, 5) > 0.99);
        }
    }
}

#[test]
fn few_points() {
    for n in 1..8 {
        let points = Array2::from_shape_fn((n, 2), |(i, j)| (i * (j + 1)) as f32);
        let model = fit(UmapParams::default(), &points);
        assert_eq!(model.report().knn.n_neighbors, n);
        assert!(
            model.embedding().iter().all(|v| v.is_finite()),
            "{n} points"
        );
    }
}

#[test]
fn duplicates_stay_finite() {
    let points = Array2::from_shape_fn((300, 3), |(i, _)| (i % 4) as f32);
    let model = fit(UmapParams::default().n_neighbors(5), &points);
    assert!(model.embedding().iter().all(|v| v.is_finite()));
}

#[test]
fn not_a_number_is_named_by_row_and_column() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut points = Array2::zeros((20, 3));
        points[[7, 2]] = bad;
        let error = PointSource::dense(points.view()).unwrap_err();
        assert!(matches!(
            error,
            UmapError::NotFinite {
                row: 7,
                column: 2,
                ..
            }
        ));
    }
}

#[test]
fn disconnected_points_are_nan() {
    let (mut points, _) = blobs(2, 50, 4, 5);
    points.row_mut(17).fill(1e6);
    let model = fit(
        UmapParams::default().disconnection_distance(Some(1000.0)),
        &points,
    );
    assert_eq!(model.report().isolated, 1);
    assert!(model.embedding().row(17).iter().all(|v| v.is_nan()));
    assert_eq!(model.embedding().iter().filter(|v| v.is_nan()).count(), 2);
}

#[test]
fn precomputed_input_gives_the_same_map() {
    let (points, _) = iris();
    let direct = fit(UmapParams::default(), &points);
    let given = PointSource::neighbours(direct.knn().clone()).unwrap();
    let again = UmapParams::default()
        .check()
        .unwrap()
        .fit(&given, &mut silent())
        .unwrap();
    assert_eq!(direct.graph(), again.graph());
    assert_eq!(again.report().knn.method, None);
    let n = points.nrows();
    let distances = Array2::from_shape_fn((n, n), |(i, j)| {
        points
            .row(i)
            .iter()
            .zip(points.row(j))
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
            .sqrt()
    });
    let full = UmapParams::default().check().unwrap();
    let full = full
        .fit(
            &PointSource::distances(distances.view()).unwrap(),
            &mut silent(),
        )
        .unwrap();
    assert_eq!(full.report().knn.method, Some(KnnMethod::Exact));
    assert!(trustworthiness(points.view(), full.embedding(), 10) > 0.95);
}

#[test]
fn precomputed_faults_are_named() {
    assert!(
        PointSource::distances(array![[0.0_f32, 1.0], [1.0, 0.5]].view())
            .unwrap_err()
            .to_string()
            .starts_with("row 1")
    );
    assert!(PointSource::distances(array![[0.0_f32, -1.0], [1.0, 0.0]].view()).is_err());
    assert!(PointSource::distances(array![[0.0_f32, 1.0, 2.0], [1.0, 0.0, 3.0]].view()).is_err());
    let knn = Knn::new(array![[0_u32, 9]], array![[0.0_f32, 1.0]]).unwrap();
    assert!(PointSource::neighbours(knn).is_err());
    let codes = array![[0_u16, 2]];
    let error = PointSource::codes(codes.view(), array![[0.0_f32], [1.0]].view()).unwrap_err();
    assert!(matches!(
        error,
        UmapError::Code {
            row: 0,
            position: 1,
            code: 2,
            codes: 2
        }
    ));
}

#[test]
fn codes_give_the_map_of_their_expansion() {
    let (latent, labels) = blobs(6, 40, 8, 9);
    // Nearest of 30 code vectors per pair of coordinates.
    let book = Array2::from_shape_fn((30, 2), |(i, j)| ((i * (j + 3)) as f32 * 1.7).sin() * 12.0);
    let nearest = |x: f32, y: f32| {
        let d = |c: usize| (book[[c, 0]] - x).powi(2) + (book[[c, 1]] - y).powi(2);
        (0..30).min_by(|&a, &b| d(a).total_cmp(&d(b))).unwrap() as u16
    };
    let codes = Array2::from_shape_fn((240, 4), |(i, p)| {
        nearest(latent[[i, 2 * p]], latent[[i, 2 * p + 1]])
    });
    let source = PointSource::codes(codes.view(), book.view()).unwrap();
    let model = UmapParams::default()
        .check()
        .unwrap()
        .fit(&source, &mut silent())
        .unwrap();
    assert!(accuracy(model.embedding(), &labels, 5) > 0.9);
}

#[test]
fn cancelling_stops_the_fit() {
    let (points, _) = blobs(3, 100, 4, 4);
    let mut calls = 0;
    let mut stop = |done: u64, total: u64| {
        assert!(done <= total);
        calls += 1;
        if done > 600 {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    };
    let result = UmapParams::default()
        .check()
        .unwrap()
        .fit(&PointSource::dense(points.view()).unwrap(), &mut stop);
    assert!(matches!(result, Err(UmapError::Cancelled)));
    assert!(calls > 50);
}
