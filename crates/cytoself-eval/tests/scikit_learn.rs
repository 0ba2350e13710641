//! The scores against scikit-learn's recorded numbers (`tests/golden/make.py`).

use cytoself_eval::{
    Agreement, Exclusions, Labels, classify, nearest_neighbours, silhouette_samples,
    trustworthiness,
};
use ndarray::Array2;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/scores.json")).expect("golden file")
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).expect("matrix");
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn labels(golden: &Value) -> Labels {
    let names: Vec<String> = serde_json::from_value(golden["labels"].clone()).expect("labels");
    Labels::new(names, &[])
}

fn close(found: f64, expected: &Value) {
    let expected = expected.as_f64().expect("number");
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn silhouette() {
    let golden = golden();
    for (points, expected) in [("points", "silhouette"), ("data", "silhouette_data")] {
        let (_, found) = silhouette_samples(matrix(&golden[points]).view(), &labels(&golden))
            .expect("silhouette");
        let expected: Vec<f64> = serde_json::from_value(golden[expected].clone()).expect("numbers");
        assert!(
            found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < 1e-9),
            "{points}"
        );
    }
}

#[test]
fn nearest_neighbour_votes() {
    let golden = golden();
    let labels = labels(&golden);
    for (points, expected) in [("points", "knn_points"), ("data", "knn_data")] {
        let neighbours =
            nearest_neighbours(matrix(&golden[points]).view(), 10, &Exclusions::none())
                .expect("neighbours");
        let votes = classify(&neighbours, &labels, |_, _| true).expect("votes");
        close(votes.accuracy(), &golden[expected]["accuracy"]);
        close(votes.macro_f1(), &golden[expected]["macro_f1"]);
        for (class, scores) in votes.confusion().classes().iter().enumerate() {
            close(scores.f1, &golden[expected]["per_class_f1"][class]);
        }
    }
}

#[test]
fn single_precision_finds_the_same_neighbours() {
    let golden = golden();
    let data = matrix(&golden["data"]);
    let double = nearest_neighbours(data.view(), 10, &Exclusions::none()).expect("neighbours");
    let single = nearest_neighbours(data.mapv(|v| v as f32).view(), 10, &Exclusions::none())
        .expect("neighbours");
    let rows =
        |lists: &[Vec<(usize, f64)>]| lists.iter().flatten().map(|n| n.0).collect::<Vec<_>>();
    assert_eq!(rows(&double.lists), rows(&single.lists));
}

#[test]
fn maps() {
    let golden = golden();
    let (data, points) = (matrix(&golden["data"]), matrix(&golden["points"]));
    for k in [1, 5, 15] {
        close(
            trustworthiness(data.view(), points.view(), k).expect("score"),
            &golden["trustworthiness"][k.to_string()],
        );
    }
}

#[test]
fn partitions() {
    let golden = golden();
    let names = labels(&golden);
    let (_, classes) = names.labelled();
    let clusters: Vec<usize> =
        serde_json::from_value(golden["clusters"].clone()).expect("clusters");
    let found = Agreement::of(&classes, &clusters).expect("agreement");
    close(found.ari, &golden["ari"]);
    close(found.nmi, &golden["nmi"]);
    close(found.ami, &golden["ami"]);
}
