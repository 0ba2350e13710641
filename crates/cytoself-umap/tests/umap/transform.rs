//! New points, targets and stored models.

use cytoself_umap::{
    KnnMethod, Metric, ParamGuard, PointSource, Target, UmapError, UmapModel, UmapParams, silent,
};
use ndarray::{Array2, Axis, s};

use crate::common::{accuracy, adjusted_rand, blobs, iris, k_means, trustworthiness};

fn dense(points: &Array2<f32>) -> PointSource<'_> {
    PointSource::dense(points.view()).unwrap()
}

/// Two thirds to fit, one third to place.
fn parted(points: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
    let rows =
        |keep: &dyn Fn(usize) -> bool| (0..points.nrows()).filter(|&i| keep(i)).collect::<Vec<_>>();
    (
        points.select(Axis(0), &rows(&|i| i % 3 != 0)),
        points.select(Axis(0), &rows(&|i| i % 3 == 0)),
    )
}

#[test]
fn placed_irises_are_trustworthy_and_leave_the_map_untouched() {
    let (old, new) = parted(&iris().0);
    let params = UmapParams::default()
        .n_neighbors(10)
        .min_dist(0.01)
        .check()
        .unwrap();
    let model = params.fit(&dense(&old), &mut silent()).unwrap();
    let before = model.embedding().to_owned();
    let placed = model
        .transform(&dense(&old), &dense(&new), &mut silent())
        .unwrap();
    let trust = trustworthiness(new.view(), placed.view(), 10);
    assert!(trust >= 0.85, "{trust}");
    assert_eq!(model.embedding(), before);
    // The points of the fit get their own places, and a point is placed alike in any company.
    assert_eq!(
        model
            .transform(&dense(&old), &dense(&old), &mut silent())
            .unwrap(),
        before
    );
    let some = new.slice(s![5..9, ..]).to_owned();
    let alone = model
        .transform(&dense(&old), &dense(&some), &mut silent())
        .unwrap();
    assert_eq!(alone, placed.slice(s![5..9, ..]));
}

#[test]
fn points_are_placed_on_a_map_of_searched_neighbours_alike_on_any_threads() {
    let (old, new) = parted(&iris().0);
    let params = UmapParams::default()
        .n_neighbors(10)
        .min_dist(0.01)
        .knn(KnnMethod::Descent)
        .check()
        .unwrap();
    let model = params.fit(&dense(&old), &mut silent()).unwrap();
    assert_eq!(model.report().knn.method, Some(KnnMethod::Descent));
    let place = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            model
                .transform(&dense(&old), &dense(&new), &mut silent())
                .unwrap()
        })
    };
    let placed = place(1);
    assert!(trustworthiness(new.view(), placed.view(), 10) >= 0.85);
    for threads in [2, 3, 8] {
        assert_eq!(place(threads), placed, "{threads} threads");
    }
}

#[test]
fn a_loaded_model_places_to_the_bit() {
    let (old, new) = parted(&blobs(3, 60, 5, 8).0);
    for metric in Metric::ALL {
        let params = UmapParams::default()
            .metric(metric)
            .epochs(Some(50))
            .check()
            .unwrap();
        let model = params.fit(&dense(&old), &mut silent()).unwrap();
        let mut file = Vec::new();
        model.save(&mut file, Some(&dense(&old))).unwrap();
        let (loaded, points) = UmapModel::load(&mut file.as_slice()).unwrap();
        assert_eq!(loaded, model);
        let here = model
            .transform(&dense(&old), &dense(&new), &mut silent())
            .unwrap();
        let there = loaded
            .transform(&points.unwrap(), &dense(&new), &mut silent())
            .unwrap();
        assert_eq!(here, there);
    }
}

#[test]
fn codes_are_placed_and_stored() {
    let codes = Array2::from_shape_fn((90, 6), |(i, p)| {
        ((i / 30) * 4 + (i * 7 + p * 3) % 4) as u16
    });
    let book = Array2::from_shape_fn((12, 3), |(c, d)| {
        ((c / 4) * 9) as f32 + ((c * 5 + d) % 3) as f32
    });
    let source = PointSource::codes(codes.view(), book.view()).unwrap();
    let model = UmapParams::default()
        .check()
        .unwrap()
        .fit(&source, &mut silent())
        .unwrap();
    let mut file = Vec::new();
    model.save(&mut file, Some(&source)).unwrap();
    let (loaded, points) = UmapModel::load(&mut file.as_slice()).unwrap();
    let mut moved = codes.slice(s![..;30, ..]).to_owned();
    moved[[0, 0]] = (moved[[0, 0]] + 1) % 4;
    let new = PointSource::codes(moved.view(), book.view()).unwrap();
    let placed = loaded
        .transform(&points.unwrap(), &new, &mut silent())
        .unwrap();
    assert!(placed.iter().all(|v| v.is_finite()));
    let other = book.mapv(|v| v + 1.0);
    let foreign = PointSource::codes(moved.view(), other.view()).unwrap();
    assert!(matches!(
        model.transform(&source, &foreign, &mut silent()),
        Err(UmapError::Shape { .. })
    ));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (old, new) = parted(&iris().0);
    let model = UmapParams::default()
        .epochs(Some(20))
        .check()
        .unwrap()
        .fit(&dense(&old), &mut silent())
        .unwrap();
    let other = model.transform(&dense(&new), &dense(&old), &mut silent());
    assert!(matches!(other, Err(UmapError::OtherPoints { .. })));
    let narrow = new.slice(s![.., ..3]).to_owned();
    assert!(matches!(
        model.transform(&dense(&old), &dense(&narrow), &mut silent()),
        Err(UmapError::Shape { .. })
    ));
    let given = PointSource::neighbours(model.knn().clone()).unwrap();
    let precomputed = UmapParams::default()
        .epochs(Some(20))
        .check()
        .unwrap()
        .fit(&given, &mut silent())
        .unwrap();
    let error = precomputed.transform(&given, &dense(&new), &mut silent());
    assert!(matches!(error, Err(UmapError::NeedsPoints { .. })));
}

#[test]
fn classes_part_the_irises() {
    let (points, labels) = iris();
    let target = Target::Classes(labels.iter().map(|&l| Some(l as u32)).collect());
    let params = UmapParams::default()
        .n_neighbors(10)
        .min_dist(0.01)
        .check()
        .unwrap();
    let model = params
        .fit_supervised(&dense(&points), &target, &mut silent())
        .unwrap();
    assert!(accuracy(model.embedding(), &labels, 10) >= 0.97);
    let found = k_means(model.embedding(), 3);
    assert!(adjusted_rand(&found, &labels) >= 0.95);
    assert!(trustworthiness(points.view(), model.embedding(), 10) >= 0.95);
    // Half of the classes unknown.
    let half = Target::Classes(
        labels
            .iter()
            .enumerate()
            .map(|(i, &l)| (i % 2 == 0).then_some(l as u32))
            .collect(),
    );
    let model = params
        .fit_supervised(&dense(&points), &half, &mut silent())
        .unwrap();
    assert!(trustworthiness(points.view(), model.embedding(), 10) >= 0.95);
}

#[test]
fn numbers_order_the_map() {
    let (points, _) = blobs(1, 200, 3, 6);
    let values = points.column(0).to_vec();
    let params = UmapParams::default().target_weight(0.8).check().unwrap();
    let model = params
        .fit_supervised(
            &dense(&points),
            &Target::Values(values.clone()),
            &mut silent(),
        )
        .unwrap();
    let column = Array2::from_shape_vec((200, 1), values).unwrap();
    assert!(trustworthiness(column.view(), model.embedding(), 10) >= 0.9);
    let short = Target::Values(vec![0.0; 3]);
    assert!(matches!(
        params.fit_supervised(&dense(&points), &short, &mut silent()),
        Err(UmapError::Shape { .. })
    ));
}

#[test]
fn uniform_noise_is_trustworthy_by_descent() {
    let points = Array2::from_shape_fn((1000, 5), |(i, j)| crate::common::noise(1, i * 5 + j));
    let params = UmapParams::default()
        .knn(KnnMethod::Descent)
        .check()
        .unwrap();
    let model = params.fit(&dense(&points), &mut silent()).unwrap();
    let recall = model.report().knn.recall.unwrap();
    assert!(recall.value >= 0.95 && recall.sample == 1000, "{recall:?}");
    assert!(trustworthiness(points.view(), model.embedding(), 10) >= 0.8);
}

#[test]
fn long_rows_are_sketched_and_the_recall_is_known() {
    // Rank 12 in 600 columns, plus noise.
    let (latent, labels) = blobs(8, 80, 12, 4);
    let mixing = Array2::from_shape_fn((12, 600), |(i, j)| {
        crate::common::noise(2, i * 600 + j) - 0.5
    });
    let noise = Array2::from_shape_fn((640, 600), |(i, j)| {
        crate::common::noise(3, i * 600 + j) * 0.2
    });
    let points = latent.dot(&mixing) + noise;
    let params = UmapParams::default()
        .knn(KnnMethod::Descent)
        .check()
        .unwrap();
    let model = params.fit(&dense(&points), &mut silent()).unwrap();
    assert!(
        model.report().knn.recall.unwrap().value > 0.97,
        "{}",
        model.report()
    );
    assert!(accuracy(model.embedding(), &labels, 10) > 0.99);
}
