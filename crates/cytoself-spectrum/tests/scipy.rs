//! The spectrum chain against SciPy's recorded numbers (`tests/golden/make.py`).

use cytoself_spectrum::{
    CondensedDistances, Method, euclidean_distances, linkage, optimal_leaf_order, pearson_columns,
};
use ndarray::Array2;
use serde_json::Value;

const METHODS: [(&str, Method); 4] = [
    ("average", Method::Average),
    ("complete", Method::Complete),
    ("single", Method::Single),
    ("ward", Method::Ward),
];

fn golden(text: &str) -> Value {
    serde_json::from_str(text).expect("golden file")
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).expect("matrix");
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn indices(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).expect("indices")
}

fn largest_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn correlate(golden: &Value) -> (Array2<f64>, CondensedDistances) {
    let ours = pearson_columns(matrix(&golden["histograms"]).view())
        .expect("correlation")
        .matrix;
    let distances = euclidean_distances(ours.view()).expect("distances");
    (ours, distances)
}

#[test]
fn correlation_to_1e_12() {
    for text in [
        include_str!("golden/plain.json"),
        include_str!("golden/ties.json"),
    ] {
        let golden = golden(text);
        assert!(largest_difference(&correlate(&golden).0, &matrix(&golden["correlation"])) < 1e-12);
    }
}

#[test]
fn tree_order_and_clusters() {
    let golden = golden(include_str!("golden/plain.json"));
    let (_, distances) = correlate(&golden);
    for (name, method) in METHODS {
        let tree = linkage(&distances, method).expect("linkage");
        let expected = &golden[name];
        assert!(
            largest_difference(&tree.to_scipy(), &matrix(&expected["linkage"])) < 1e-9,
            "{name}"
        );
        assert_eq!(tree.leaves(), indices(&expected["order"]), "{name}");
        for clusters in [1, 2, 3, 5, 11] {
            let expected = indices(&expected["clusters"][clusters.to_string()]);
            assert_eq!(
                tree.cut(clusters).expect("cut"),
                expected,
                "{name} {clusters}"
            );
        }
    }
}

/// Equal rows leave the order of merges open; the heights and the clusters are not.
#[test]
fn unused_codes_tie_and_change_nothing_else() {
    let golden = golden(include_str!("golden/ties.json"));
    let (_, distances) = correlate(&golden);
    for (name, method) in METHODS {
        let tree = linkage(&distances, method).expect("linkage");
        let expected = &golden[name];
        let heights = |z: &Array2<f64>| z.column(2).to_owned().insert_axis(ndarray::Axis(1));
        let difference = largest_difference(
            &heights(&tree.to_scipy()),
            &heights(&matrix(&expected["linkage"])),
        );
        assert!(difference < 1e-9, "{name}");
        for clusters in [2, 3, 5, 11] {
            let theirs = indices(&expected["clusters"][clusters.to_string()]);
            assert!(
                same_partition(&tree.cut(clusters).expect("cut"), &theirs),
                "{name} {clusters}"
            );
        }
    }
    let average = linkage(&distances, Method::Average).expect("linkage");
    assert_eq!(average.leaves(), indices(&golden["average"]["order"]));
}

#[test]
fn optimal_order_is_never_longer_than_scipys() {
    for text in [
        include_str!("golden/plain.json"),
        include_str!("golden/ties.json"),
    ] {
        let golden = golden(text);
        let (_, distances) = correlate(&golden);
        for (name, method) in METHODS {
            let tree = linkage(&distances, method).expect("linkage");
            let order = optimal_leaf_order(&tree, &distances).expect("order");
            let theirs = golden[name]["optimal_length"].as_f64().expect("length");
            assert!(distances.path_length(&order) <= theirs + 1e-9, "{name}");
            assert!(
                distances.path_length(&order) <= distances.path_length(&tree.leaves()),
                "{name}"
            );
        }
    }
}

fn same_partition(a: &[usize], b: &[usize]) -> bool {
    let pairs = |x: &[usize]| {
        let mut map = std::collections::HashMap::new();
        x.iter()
            .map(|&c| {
                let next = map.len();
                *map.entry(c).or_insert(next)
            })
            .collect::<Vec<_>>()
    };
    pairs(a) == pairs(b)
}
