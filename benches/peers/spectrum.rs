//! The Rust side of `spectrum.py`: times the steps from histograms to feature clusters.
//!
//! `spectrum_peer FOLDER THREADS` reads `FOLDER/histograms.npy`. A line `chain` or `optimal` on standard input runs the chain, without
//! or with the optimal order of the leaves, leaves its results in the folder and answers with the seconds of every step as JSON.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use cytoself_io::npy;
use cytoself_spectrum::{
    Method, euclidean_distances, linkage, optimal_leaf_order, pearson_columns,
};
use ndarray::{Array1, Array2, ArrayView2};

type Failure = Box<dyn Error>;

/// Feature clusters of the paper (Fig. 4a).
const CLUSTERS: usize = 11;

/// Steps with their seconds.
#[derive(Default)]
struct Steps(Vec<(&'static str, f64)>);

impl Steps {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = black_box(work());
        self.0.push((name, start.elapsed().as_secs_f64()));
        result
    }
}

fn run(histograms: ArrayView2<'_, f64>, optimal: bool, folder: &Path) -> Result<Steps, Failure> {
    let mut steps = Steps::default();
    let correlation = steps.time("correlation", || pearson_columns(histograms))?;
    let distances = steps.time("distances", || {
        euclidean_distances(correlation.matrix.view())
    })?;
    let tree = steps.time("linkage", || linkage(&distances, Method::Average))?;
    let plain = steps.time("leaves", || tree.leaves());
    let clusters = steps.time("cut", || tree.cut(CLUSTERS))?;
    let order = if optimal {
        steps.time("optimal order", || optimal_leaf_order(&tree, &distances))?
    } else {
        plain
    };
    let integers = |values: &[usize]| values.iter().map(|&v| v as i64).collect::<Array1<i64>>();
    npy::write(&folder.join("correlation.npy"), &correlation.matrix)?;
    npy::write(&folder.join("linkage.npy"), &tree.to_scipy())?;
    npy::write(&folder.join("order.npy"), &integers(&order))?;
    npy::write(&folder.join("clusters.npy"), &integers(&clusters))?;
    Ok(steps)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, threads] = arguments.as_slice() else {
        return Err("expected FOLDER THREADS".into());
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.parse()?)
        .build_global()?;
    let folder = Path::new(folder);
    let histograms: Array2<f64> =
        npy::read_f64(&folder.join("histograms.npy"))?.into_dimensionality()?;
    for line in std::io::stdin().lock().lines() {
        let steps = run(histograms.view(), line?.trim() == "optimal", folder)?;
        let fields: Vec<String> = steps
            .0
            .iter()
            .map(|(name, seconds)| format!("\"{name}\": {seconds}"))
            .collect();
        println!("{{{}}}", fields.join(", "));
        std::io::stdout().flush()?;
    }
    Ok(())
}
