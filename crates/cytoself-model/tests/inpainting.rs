//! Paired cell inpainting: the network's gradients, its training and its features.

#[path = "training/toy.rs"]
mod toy;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{Device, Tensor};
use cytoself_io::CropSource;
use cytoself_model::ops::{self, record};
use cytoself_model::{
    InpaintingConfig, InpaintingEmbedder, InpaintingFolder, InpaintingModel, InpaintingObserver,
    InpaintingRow, InpaintingTrainer, ModelError, Pass, TrainingData, Weights,
};
use toy::Toy;

/// Stops after a number of batches.
struct Stop(Option<u64>);

impl InpaintingObserver for Stop {
    fn batch(&mut self, _batch: u64, _batches: u64) -> ControlFlow<()> {
        match &mut self.0 {
            Some(0) => return ControlFlow::Break(()),
            Some(left) => *left -= 1,
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, _row: &InpaintingRow) {}
}

fn config(side: usize, epochs: usize) -> InpaintingConfig {
    InpaintingConfig {
        input: [side; 2],
        width: 0.05,
        epochs,
        batch: 4,
        learning_rate: 2e-3,
        ..InpaintingConfig::default()
    }
}

fn data(toy: &Toy) -> TrainingData<'_> {
    let channels = ["pro", "nuc"].map(String::from);
    TrainingData::new(toy, &channels, &toy.splits(), None).unwrap()
}

/// Trains in two parts if `stop` says after how many batches.
fn train(folder: &Path, config: InpaintingConfig, toy: &Toy, stop: Option<u64>) -> Vec<f64> {
    fs::create_dir_all(folder).unwrap();
    let data = data(toy);
    let first = InpaintingTrainer::start(folder, config, &data)
        .unwrap()
        .run(&mut Stop(stop));
    let outcome = match first {
        Ok(outcome) => outcome,
        Err(ModelError::Cancelled { .. }) => InpaintingTrainer::resume(folder, &data, None)
            .unwrap()
            .run(&mut Stop(None))
            .unwrap(),
        Err(e) => panic!("{e}"),
    };
    let losses = outcome.history.iter();
    losses
        .flat_map(|row| [row.training, row.validation])
        .collect()
}

/// Bits of every tensor of the checkpoint, the optimizer's too.
fn bits(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let weights = Weights::read(&folder.join("checkpoint.safetensors")).unwrap();
    let mut all: Vec<(String, Vec<u32>)> = weights
        .tensors()
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.to_dtype(candle_core::DType::F32).unwrap();
            let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (name.clone(), values.iter().map(|v| v.to_bits()).collect())
        })
        .collect();
    all.sort();
    all
}

fn images(n: usize, channels: usize, side: usize, shift: usize) -> Tensor {
    let values: Vec<f32> = (0..n * channels * side * side)
        .map(|i| (((i + shift) * 7919) % 1009) as f32 / 1009.0)
        .collect();
    Tensor::from_vec(values, (n, channels, side, side), &Device::Cpu).unwrap()
}

#[test]
fn gradients_of_the_whole_network_are_those_of_finite_differences() {
    // 11 px: the maps are 11, 5 and 2 px wide, so that odd sizes are pooled and resized.
    let config = InpaintingConfig {
        input: [11; 2],
        ..config(11, 1)
    };
    let model = InpaintingModel::new(&config, &Device::Cpu).unwrap();
    let (source, markers, protein) = (
        images(3, 2, 11, 0),
        images(3, 1, 11, 17),
        images(3, 1, 11, 5),
    );
    let pass = Pass {
        train: true,
        ..Pass::evaluate()
    };
    let loss = || -> Result<Tensor, ModelError> {
        let predicted = model.forward(&source, &markers, &pass)?;
        Ok(ops::mse(&predicted, &protein)?)
    };
    let (value, tape) = record(loss).unwrap();
    let gradients = tape.backward(&value).unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut compared = 0;
    for parameter in model.parameters().weights() {
        let gradient = flat(gradients.get(&parameter.value).unwrap());
        let original = flat(&parameter.value);
        let norm = gradient
            .iter()
            .map(|g| f64::from(*g).powi(2))
            .sum::<f64>()
            .sqrt();
        // Along the gradient itself, where the slope is its length: kinks of single activations matter least there.
        if norm < 1e-4 {
            continue;
        }
        // Steps that are halved until kinks (of ReLU and maximum) that lie within them no longer matter.
        let slope = |step: f64| -> f64 {
            let at = |sign: f64| -> f64 {
                let moved: Vec<f32> = original
                    .iter()
                    .zip(&gradient)
                    .map(|(v, g)| (f64::from(*v) + sign * step * f64::from(*g) / norm) as f32)
                    .collect();
                let shape = parameter.value.shape();
                let moved = Tensor::from_vec(moved, shape, &Device::Cpu).unwrap();
                parameter.value.set(&moved).unwrap();
                // The loss of the pixels in f64: its own f32 would hide the difference.
                let predicted = flat(&model.forward(&source, &markers, &pass).unwrap());
                let wanted = flat(&protein);
                let squares = predicted.iter().zip(&wanted);
                squares
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                    .sum::<f64>()
                    / wanted.len() as f64
            };
            let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
            at(0.0);
            slope
        };
        let slopes = [1e-3, 5e-4, 2.5e-4, 1.25e-4].map(slope);
        let nearest = slopes
            .iter()
            .map(|s| (s - norm).abs())
            .fold(f64::INFINITY, f64::min);
        assert!(
            nearest < 0.01 * norm + 5e-4,
            "{}: {slopes:?} by differences, {norm} by the tape",
            parameter.name
        );
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn it_learns_and_its_features_tell_proteins_apart() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(40, 20, 2);
    let losses = train(dir.path(), config(20, 6), &toy, None);
    assert!(losses[10] < 0.5 * losses[0], "{losses:?}");
    let embedder = InpaintingEmbedder::open(dir.path()).unwrap();
    let rows: Vec<usize> = (0..40).collect();
    let mut found: [Vec<f32>; 3] = Default::default();
    let mut places = Vec::new();
    embedder
        .run(
            &toy,
            &rows,
            7,
            &mut |_, _| ControlFlow::Continue(()),
            &mut |place, arrays| {
                places.extend(place);
                found.iter_mut().zip(arrays).for_each(|(f, a)| f.extend(a));
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(places, rows);
    assert_eq!(embedder.widths(), [19, 19, 13]);
    // Nearest other crop by the third layer: of the same protein for nearly all.
    let of = |row: usize| &found[0][row * 19..(row + 1) * 19];
    let distance =
        |a: usize, b: usize| -> f32 { of(a).iter().zip(of(b)).map(|(x, y)| (x - y).powi(2)).sum() };
    let right = rows.iter().filter(|&&row| {
        let others = rows.iter().filter(|&&o| o != row);
        let nearest = others.min_by(|a, b| distance(row, **a).total_cmp(&distance(row, **b)));
        nearest.is_some_and(|n| n % 2 == row % 2)
    });
    assert!(right.count() >= 36);
    // The same numbers from an array in memory.
    let mut pixels = vec![0.0; 2 * 2 * 400];
    toy.read_into(&[0, 1], &[0, 1], &mut pixels).unwrap();
    let images = ndarray::Array4::from_shape_vec((2, 2, 20, 20), pixels).unwrap();
    let again = embedder.embed(images.view()).unwrap();
    assert_eq!(again[2].as_slice().unwrap(), &found[2][..26]);
}

#[test]
fn neither_threads_nor_a_stop_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(30, 20, 2);
    let mut results = Vec::new();
    for (name, threads, stop) in [
        ("a", 1, None),
        ("b", 3, None),
        ("c", 2, Some(2)),
        ("d", 1, Some(6)),
    ] {
        let folder = dir.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let losses = pool.install(|| train(&folder, config(20, 2), &toy, stop));
        results.push((losses, bits(&folder)));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_time_allowed_ends_it_and_more_epochs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(30, 20, 2);
    let limited = InpaintingConfig {
        seconds: Some(1e-6),
        ..config(20, 3)
    };
    let path = dir.path().join("limited");
    train(&path, limited, &toy, None);
    let (history, finished) = InpaintingFolder::open(&path).unwrap().history().unwrap();
    assert!(finished);
    assert_eq!((history.len(), history[0].batches), (1, 1));
    let (short, long) = (dir.path().join("short"), dir.path().join("long"));
    train(&short, config(20, 1), &toy, None);
    let data = data(&toy);
    InpaintingTrainer::resume(&short, &data, Some(2))
        .unwrap()
        .run(&mut Stop(None))
        .unwrap();
    train(&long, config(20, 2), &toy, None);
    assert_eq!(bits(&short), bits(&long));
    assert!(InpaintingFolder::open(dir.path()).is_err());
}
