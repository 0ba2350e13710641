//! Several ranks that train one network: as one rank would, refused when they differ, ended when one fails.

#[path = "training/run.rs"]
mod run;
#[path = "training/toy.rs"]
mod toy;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use cytoself_model::{
    Config, ModelError, ModelFolder, Placement, Threads, Trainer, TrainingState, Weights,
};
use run::{Stop, data};
use toy::Toy;

/// `torch-micro` with everything random, batches that do not come out even, and shared batch statistics. Adam with an epsilon so large
/// that a step is in proportion to its gradient: one that is nothing but rounding must not become a whole step.
fn config(epochs: usize) -> Config {
    let mut config = Config::preset("torch-micro").unwrap();
    config.model.channels = vec!["pro".into(), "nuc".into()];
    config.model.classes = 2;
    for level in &mut config.model.levels {
        level.quantizer.revive_after = 2;
        level.quantizer.codes = 100;
    }
    config.training.epochs = epochs;
    config.training.batch = 5;
    config.training.learning_rate = 3e-4;
    config.training.epsilon = 10.0;
    config.training.sync_batch_norm = true;
    config
}

/// What rounding may grow to in nine steps; a gradient of one step keeps to 1e-5.
const AFTER_STEPS: f64 = 3e-5;

fn averaging(mut config: Config) -> Config {
    for level in &mut config.model.levels {
        level.quantizer.ema_decay = 0.9;
    }
    config
}

/// What `f` returns on each of `size` ranks.
fn on_ranks<T: Send>(size: usize, f: impl Fn(usize, &Placement) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let ranks: Vec<_> = Threads::team(size)
            .into_iter()
            .enumerate()
            .map(|(rank, team)| {
                let f = &f;
                scope.spawn(move || {
                    let placement = Placement::on(Device::Cpu).with_team(Arc::new(team));
                    f(rank, &placement)
                })
            })
            .collect();
        ranks.into_iter().map(|r| r.join().unwrap()).collect()
    })
}

fn train_on(folder: &Path, config: &Config, toy: &Toy, size: usize) {
    fs::create_dir_all(folder).unwrap();
    on_ranks(size, |_, placement| {
        Trainer::start_at(folder, config.clone(), &data(toy), placement)
            .unwrap()
            .run(&mut Stop(None))
            .unwrap();
    });
}

fn resume_on(folder: &Path, toy: &Toy, epochs: Option<usize>, size: usize) {
    on_ranks(size, |_, placement| {
        Trainer::resume_at(folder, &data(toy), epochs, placement)
            .unwrap()
            .run(&mut Stop(None))
            .unwrap();
    });
}

fn state(folder: &Path) -> TrainingState {
    ModelFolder::open(folder).unwrap().state().unwrap()
}

/// The values of two folders that differ most, as a share of the largest value among those of their kind: trained tensors, running
/// statistics, and each kind of the optimizer's (after one step its first means are the gradients). Within a kind and not within a
/// tensor, because some gradients are zero but for rounding: those of offsets that the next normalisation takes out again.
fn difference(a: &Path, b: &Path) -> f64 {
    let mut kinds: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for file in [
        "last.safetensors",
        "best.safetensors",
        "optimizer.safetensors",
    ] {
        let read = |folder: &Path| Weights::read(&folder.join(file)).unwrap();
        let (x, y) = (read(a), read(b));
        assert_eq!(x.tensors().len(), y.tensors().len());
        for (name, tensor) in x.tensors() {
            let values = |t: &Tensor| -> Vec<f64> {
                let t = t.to_dtype(DType::F64).unwrap();
                t.flatten_all().unwrap().to_vec1().unwrap()
            };
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let (mut x, mut y) = (values(tensor), values(&y.tensors()[name]));
            if name.starts_with("exp_avg_sq") {
                x.iter_mut().chain(&mut y).for_each(|v| *v = v.sqrt());
            }
            let parts: Vec<&str> = name.split('.').collect();
            let kind = match file {
                "optimizer.safetensors" => parts[0],
                _ if name.contains("running") => parts[parts.len() - 1],
                _ => "trained",
            };
            let [largest, apart] = kinds.entry(format!("{file} {kind}")).or_default();
            for (x, y) in x.iter().zip(&y) {
                *largest = largest.max(x.abs());
                *apart = apart.max((x - y).abs());
            }
        }
    }
    let shares = kinds.iter().map(|(kind, [largest, apart])| {
        let share = apart / largest.max(f64::MIN_POSITIVE);
        println!("  {kind}: {share:.1e} of {largest:.1e}");
        share
    });
    shares.fold(0.0, f64::max)
}

fn same_history(a: &Path, b: &Path) {
    let (a, b) = (state(a), state(b));
    assert_eq!(
        (a.step, a.optimizer_steps, a.best_epoch),
        (b.step, b.optimizer_steps, b.best_epoch)
    );
    for (x, y) in a.history.rows.iter().zip(&b.history.rows) {
        assert_eq!(
            (x.dead_codes, x.learning_rate),
            (y.dead_codes, y.learning_rate)
        );
        let pairs = x.train.iter().zip(y.train.iter());
        for ((name, u), (_, v)) in pairs.chain(x.validation.iter().zip(y.validation.iter())) {
            assert!((u - v).abs() <= 1e-5 * u.abs().max(1e-3), "{name}: {u} {v}");
        }
        assert_eq!(x.test.is_some(), y.test.is_some());
    }
    assert_eq!(a.history.rows.len(), b.history.rows.len());
}

/// One step: the optimizer's first means are the gradients. Twelve crops make one batch.
#[test]
fn the_gradients_are_those_of_the_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let mut config = config(1);
    config.training.batch = 12;
    let one = dir.path().join("one");
    train_on(&one, &config, &toy, 1);
    assert_eq!(state(&one).step, 1);
    for size in [2, 5] {
        let many = dir.path().join(format!("many{size}"));
        train_on(&many, &config, &toy, size);
        let apart = difference(&one, &many);
        assert!(apart < 1e-5, "{size} ranks: {apart:e}");
        println!("{size} ranks: {apart:.1e}");
    }
}

/// Twelve crops in batches of 5, 5 and 2: of three ranks one has no crop of its own in the last.
#[test]
fn several_ranks_train_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let mut accumulating = config(3);
    accumulating.training.accumulate = 2;
    for (name, config) in [
        ("gradient", config(3)),
        ("averages", averaging(config(3))),
        ("accumulating", accumulating),
    ] {
        let one = dir.path().join(format!("{name}1"));
        train_on(&one, &config, &toy, 1);
        let rows = state(&one).history.rows;
        let dead: usize = rows.iter().flat_map(|r| r.dead_codes).sum();
        assert!(dead > 0, "codes die and are revived");
        for size in [2, 3] {
            let many = dir.path().join(format!("{name}{size}"));
            train_on(&many, &config, &toy, size);
            let apart = difference(&one, &many);
            println!("{name}, {size} ranks: {apart:.1e}");
            assert!(apart < AFTER_STEPS, "{name}, {size} ranks: {apart:e}");
            same_history(&one, &many);
        }
    }
}

/// Without shared statistics: other numbers, but the same on all ranks and in every run, stopped and resumed too.
#[test]
fn ranks_repeat_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    for sync in [true, false] {
        let mut config = config(2);
        config.training.sync_batch_norm = sync;
        config.training.checkpoint_batches = 1;
        let bytes = |folder: &Path| {
            [
                "last.safetensors",
                "best.safetensors",
                "optimizer.safetensors",
                "state.json",
            ]
            .map(|name| fs::read(folder.join(name)).unwrap())
        };
        let of = |name: &str| dir.path().join(format!("{name}-{sync}"));
        let (whole, again, stopped) = (of("whole"), of("again"), of("stopped"));
        train_on(&whole, &config, &toy, 2);
        train_on(&again, &config, &toy, 2);
        assert!(bytes(&whole) == bytes(&again));
        fs::create_dir_all(&stopped).unwrap();
        // One rank wants to stop; all do, at the same batch.
        let errors = on_ranks(2, |rank, placement| {
            let mut observer = Stop((rank == 1).then_some(3));
            Trainer::start_at(&stopped, config.clone(), &data(&toy), placement)
                .unwrap()
                .run(&mut observer)
                .unwrap_err()
        });
        assert!(
            errors
                .iter()
                .all(|e| matches!(e, ModelError::Cancelled { .. })),
            "{errors:?}"
        );
        resume_on(&stopped, &toy, None, 2);
        assert!(bytes(&whole) == bytes(&stopped));
    }
}

/// Gradients that are summed beside the backward pass are those that are summed after it, to the bit; of several buckets, with batches
/// that wait for their step, and on a rank without a crop.
#[test]
fn overlapped_sums_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let mut accumulating = config(2);
    accumulating.training.accumulate = 2;
    let mut apart = config(2);
    apart.training.sync_batch_norm = false;
    for (name, config) in [
        ("shared", config(2)),
        ("accumulating", accumulating),
        ("apart", apart),
    ] {
        let [beside, after] = [true, false].map(|overlapped| {
            let folder = dir.path().join(format!("{name}-{overlapped}"));
            fs::create_dir_all(&folder).unwrap();
            on_ranks(3, |_, placement| {
                let placement = placement.clone().with_overlap(overlapped);
                Trainer::start_at(&folder, config.clone(), &data(&toy), &placement)
                    .unwrap()
                    .run(&mut Stop(None))
                    .unwrap();
            });
            [
                "last.safetensors",
                "best.safetensors",
                "optimizer.safetensors",
                "state.json",
            ]
            .map(|file| fs::read(folder.join(file)).unwrap())
        });
        assert!(beside == after, "{name}");
    }
}

#[test]
fn a_training_goes_on_with_other_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let (one, changed) = (dir.path().join("one"), dir.path().join("changed"));
    train_on(&one, &config(2), &toy, 1);
    train_on(&changed, &config(1), &toy, 3);
    resume_on(&changed, &toy, Some(2), 2);
    assert!(difference(&one, &changed) < AFTER_STEPS);
    same_history(&one, &changed);
}

#[test]
fn ranks_that_differ_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, other) = (Toy::new(20, 40, 2), Toy::new(40, 40, 2));
    let refused = |name: &str, change: &(dyn Fn(&mut Config) + Sync), toys: [&Toy; 2]| {
        let folder = dir.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let errors = on_ranks(2, |rank, placement| {
            let mut config = config(1);
            if rank == 1 {
                change(&mut config);
            }
            let data = data(toys[rank]);
            let found = Trainer::start_at(&folder, config, &data, placement);
            let error = found.err().expect("refused");
            assert!(error.is_common());
            error.to_string()
        });
        assert_eq!(errors[0], errors[1]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        errors[0].clone()
    };
    let error = refused("seed", &|c| c.training.seed = 7, [&toy, &toy]);
    assert_eq!(
        error,
        "rank 1 has another seed than rank 0: expected 42, found 7; start all ranks with the same program, flags and files"
    );
    let error = refused("epochs", &|c| c.training.epochs = 9, [&toy, &toy]);
    assert!(
        error.contains("number of epochs") && error.contains("found 9"),
        "{error}"
    );
    let error = refused("rate", &|c| c.training.learning_rate = 0.5, [&toy, &toy]);
    assert!(
        error.contains("learning_rate") && error.contains("found 0.5"),
        "{error}"
    );
    let error = refused("data", &|_| (), [&toy, &other]);
    assert!(error.contains("number of train crops"), "{error}");
    // Bad settings on one rank: that rank says what is wrong, the other that it ended.
    let folder = dir.path().join("bad");
    fs::create_dir_all(&folder).unwrap();
    let errors = on_ranks(2, |rank, placement| {
        let mut config = config(1);
        config.training.batch *= 1 - rank;
        Trainer::start_at(&folder, config, &data(&toy), placement)
            .err()
            .expect("refused")
    });
    assert!(
        matches!(errors[0], ModelError::Lost { rank: 1, .. }),
        "{errors:?}"
    );
    assert!(
        errors[1].to_string().contains("training.batch"),
        "{errors:?}"
    );
}

#[test]
fn a_rank_that_fails_ends_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, mut broken) = (Toy::new(20, 40, 2), Toy::new(20, 40, 2));
    // A training crop that is not looked at before the training.
    broken.broken = Some((3, f32::NAN));
    let folder = dir.path().join("m");
    train_on(&folder, &config(1), &sound, 2);
    let good = fs::read(folder.join("last.safetensors")).unwrap();
    let errors = on_ranks(2, |_, placement| {
        // Whichever rank gets the crop finds it unreadable.
        let data = data(&broken);
        let mut trainer = Trainer::resume_at(&folder, &data, Some(3), placement).unwrap();
        trainer.run(&mut Stop(None)).unwrap_err()
    });
    let lost = errors
        .iter()
        .position(|e| matches!(e, ModelError::Lost { .. }))
        .expect("one is told");
    assert!(errors[1 - lost].to_string().contains("row 3"), "{errors:?}");
    assert_eq!(fs::read(folder.join("last.safetensors")).unwrap(), good);
    resume_on(&folder, &sound, Some(2), 2);
}
