//! Training as a user sees it: it learns, repeats to the bit, survives a kill, and stops when the loss is not a number.

#[path = "training/run.rs"]
mod run;
#[path = "training/toy.rs"]
mod toy;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use candle_core::Device;
use cytoself_model::{
    Config, Embedder, EmbeddingValues, Ending, Model, ModelError, ModelFolder, Placement, Trainer,
    Weights,
};
use run::{Stop, data};
use toy::Toy;

/// `torch-micro` for the toy, with everything random switched on and the paper's schedule.
fn config(classes: usize, epochs: usize) -> Config {
    let mut config = Config::preset("torch-micro").unwrap();
    config.model.channels = vec!["pro".into(), "nuc".into()];
    config.model.classes = classes;
    config.training.epochs = epochs;
    config.training.batch = 4;
    config.training.learning_rate = 1e-3;
    config
}

fn train(folder: &Path, config: Config, toy: &Toy) {
    fs::create_dir_all(folder).unwrap();
    Trainer::start(folder, config, &data(toy))
        .unwrap()
        .run(&mut Stop(None))
        .unwrap();
}

fn resume(folder: &Path, toy: &Toy) {
    Trainer::resume(folder, &data(toy), None)
        .unwrap()
        .run(&mut Stop(None))
        .unwrap();
}

/// Contents of the files whose bits must be the same.
fn results(folder: &Path) -> Vec<Vec<u8>> {
    [
        "best.safetensors",
        "last.safetensors",
        "optimizer.safetensors",
        "state.json",
        "history.csv",
        "config.toml",
    ]
    .map(|name| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
    .to_vec()
}

/// The same training with codebooks that are moving averages, dead codes replaced.
fn averaging(mut config: Config) -> Config {
    for level in &mut config.model.levels {
        level.quantizer.ema_decay = 0.9;
        level.quantizer.revive_after = 3;
    }
    config
}

/// A finite pixel whose squared error is not.
const OVERFLOWING: f32 = 1e30;

#[test]
fn it_learns() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(40, 40, 2);
    let config = config(2, 8);
    fs::create_dir_all(dir.path().join("m")).unwrap();
    let data = data(&toy);
    let mut trainer = Trainer::start(&dir.path().join("m"), config, &data).unwrap();
    let outcome = trainer.run(&mut Stop(None)).unwrap();
    assert_eq!((outcome.ending, outcome.epochs), (Ending::Complete, 8));
    let rows = &trainer.state().history.rows;
    let loss = |epoch: usize| rows[epoch].train.get("loss").unwrap();
    assert!(loss(7) < 0.6 * loss(0), "{} {}", loss(0), loss(7));
    let test = outcome.test.unwrap();
    let best = rows
        .iter()
        .map(|r| r.validation.loss())
        .fold(f64::INFINITY, f64::min);
    assert_eq!(outcome.best_loss, best);
    assert_eq!(rows[7].test, Some(test));
}

#[test]
fn threads_do_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    for (name, config) in [
        ("gradient", config(2, 2)),
        ("averages", averaging(config(2, 1))),
    ] {
        let mut previous = None;
        for threads in [1, 3] {
            let folder = dir.path().join(format!("{name}{threads}"));
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| train(&folder, config.clone(), &toy));
            let results = results(&folder);
            assert!(
                previous
                    .replace(results.clone())
                    .is_none_or(|p| p == results),
                "{name}"
            );
        }
    }
}

/// Trains in one go, and stopped after some batches and resumed.
fn stop_and_go_on(config: &Config) {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let whole = dir.path().join("whole");
    train(&whole, config.clone(), &toy);
    for (batches, checkpoint_batches) in [(2, 0), (5, 2), (8, 1)] {
        let folder = dir.path().join(format!("stopped{batches}"));
        fs::create_dir_all(&folder).unwrap();
        let mut config = config.clone();
        config.training.checkpoint_batches = checkpoint_batches;
        let data = data(&toy);
        let error = Trainer::start(&folder, config, &data)
            .unwrap()
            .run(&mut Stop(Some(batches)))
            .unwrap_err();
        assert!(matches!(error, ModelError::Cancelled { .. }), "{error}");
        resume(&folder, &toy);
        let (ours, expected) = (results(&folder), results(&whole));
        assert!(
            ours[..5] == expected[..5],
            "stopped after {batches} batches"
        );
    }
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bits() {
    let mut config = config(2, 3);
    config.training.accumulate = 2;
    config.model.levels[1].quantizer.revive_after = 3;
    stop_and_go_on(&config);
}

#[test]
fn a_stopped_training_of_averages_goes_on_to_the_same_bits() {
    let mut config = averaging(config(2, 3));
    config.training.accumulate = 2;
    stop_and_go_on(&config);
}

#[test]
fn codebooks_of_averages_move_without_the_optimizer() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, folder) = (Toy::new(40, 40, 2), dir.path().join("m"));
    fs::create_dir_all(&folder).unwrap();
    let data = data(&toy);
    let mut trainer = Trainer::start(&folder, averaging(config(2, 8)), &data).unwrap();
    let before = ModelFolder::open(&folder).unwrap().last().unwrap();
    trainer.run(&mut Stop(None)).unwrap();
    let rows = &trainer.state().history.rows;
    let of = |epoch: usize, name: &str| rows[epoch].train.get(name).unwrap();
    assert!(of(7, "loss") < 0.7 * of(0, "loss"), "{}", of(7, "loss"));
    let after = ModelFolder::open(&folder).unwrap().last().unwrap();
    let state = Weights::read(&folder.join("optimizer.safetensors")).unwrap();
    for level in 0..2 {
        let name = format!("vq_layers.{level}.codebook.weight");
        let codes = |w: &Weights| w.tensors()[&name].to_vec2::<f32>().unwrap();
        assert_ne!(codes(&after), codes(&before));
        assert!(!state.tensors().contains_key(&format!("exp_avg.{name}")));
        assert!(state.tensors().contains_key(&format!("ema_sum.{name}")));
        // Only the commitment is left in the loss; the quantisation error is measured all the same.
        let vq = |what: &str| of(7, &format!("vq{}_{what}", level + 1));
        assert!((vq("loss") / (0.25 * vq("commitment_loss")) - 1.0).abs() < 1e-5);
        assert!(vq("quantization_loss") > 0.0);
    }
}

#[test]
fn a_finished_training_stays_and_more_epochs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let (short, long) = (dir.path().join("short"), dir.path().join("long"));
    train(&short, config(2, 1), &toy);
    let before = results(&short);
    resume(&short, &toy);
    assert_eq!(results(&short), before);
    Trainer::resume(&short, &data(&toy), Some(2))
        .unwrap()
        .run(&mut Stop(None))
        .unwrap();
    train(&long, config(2, 2), &toy);
    assert_eq!(results(&short), results(&long));
}

#[test]
fn a_cuda_graph_wants_a_gpu() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, path) = (Toy::new(20, 40, 2), dir.path());
    let data = data(&toy);
    let placement = Placement::default().with_cuda_graph(true);
    let started = Trainer::start_at(path, config(2, 1), &data, &placement);
    let text = started.err().unwrap().to_string();
    assert!(
        text.contains("CUDA graph") && !text.contains('\n'),
        "{text}"
    );
    // Nothing was begun.
    assert!(ModelFolder::open(path).is_err());
    let model = Model::new(&config(2, 1).model, 1, &Device::Cpu).unwrap();
    let embedder = Embedder::new(&model).unwrap();
    assert!(embedder.with_cuda_graph(|_| ()).is_err());
}

#[test]
fn a_loss_that_is_not_a_number_keeps_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new(20, 40, 2);
    let folder = dir.path().join("m");
    train(&folder, config(2, 1), &toy);
    let good = fs::read(folder.join("last.safetensors")).unwrap();
    // A training crop goes bad between the runs: too large for a loss, or no number at all.
    for value in [OVERFLOWING, f32::NAN] {
        toy.broken = Some((0, value));
        let error = Trainer::resume(&folder, &data(&toy), Some(5))
            .unwrap()
            .run(&mut Stop(None))
            .unwrap_err();
        if value.is_nan() {
            assert!(error.to_string().contains("row 0"), "{error}");
        } else {
            assert!(
                matches!(error, ModelError::Diverged { kept: 1, .. }),
                "{error}"
            );
        }
        assert_eq!(fs::read(folder.join("last.safetensors")).unwrap(), good);
    }
    // A step length that no network survives.
    let wild = dir.path().join("wild");
    fs::create_dir_all(&wild).unwrap();
    let mut config = config(2, 3);
    config.training.learning_rate = 1e3;
    let sound = Toy::new(20, 40, 2);
    let data = data(&sound);
    let result = Trainer::start(&wild, config, &data)
        .unwrap()
        .run(&mut Stop(None));
    assert!(
        matches!(result, Err(ModelError::Diverged { .. }) | Ok(_)),
        "{result:?}"
    );
    ModelFolder::open(&wild).unwrap().state().unwrap();
}

#[test]
fn an_invalid_validation_loss_is_never_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new(20, 40, 2);
    // Row 6 lies in field 3: validation.
    toy.broken = Some((6, OVERFLOWING));
    let mut config = config(2, 2);
    config.training.variance = cytoself_model::VarianceRule::Training;
    let folder = dir.path().join("m");
    train(&folder, config, &toy);
    let state = ModelFolder::open(&folder).unwrap().state().unwrap();
    assert_eq!((state.best_epoch, state.epoch), (0, 2));
    assert!(!state.history.rows[1].validation.loss().is_finite());
}

#[test]
fn embeddings_do_not_depend_on_the_batch_or_on_other_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let folder = dir.path().join("m");
    train(&folder, config(2, 1), &toy);
    let embedder = Embedder::open(&folder).unwrap();
    let collect = |batch: usize, outputs: &[&str]| {
        let names: Vec<_> = outputs.iter().map(|o| o.parse().unwrap()).collect();
        let (mut dense, mut indices) = (Vec::new(), Vec::new());
        let mut progress = |_, _| ControlFlow::Continue(());
        embedder
            .run(
                &toy,
                &[3, 1, 4, 1, 5, 9, 2, 6],
                &names,
                batch,
                &mut progress,
                &mut |block| {
                    for (_, values) in block.outputs {
                        match values {
                            EmbeddingValues::Dense(a) => {
                                dense.extend(a.iter().map(|v| v.to_bits()))
                            }
                            EmbeddingValues::Indices(a) => indices.extend(a),
                        }
                    }
                    Ok(())
                },
            )
            .unwrap();
        (dense, indices)
    };
    assert_eq!(collect(8, &["vqvec2"]), collect(3, &["vqvec2"]));
    assert_eq!(collect(8, &["encoder1"]), collect(1, &["encoder1"]));
    let (histograms, indices) = collect(8, &["vqindhist1", "vqind1"]);
    assert_eq!(indices.len(), 8 * 100);
    assert_eq!(
        histograms.iter().map(|b| f32::from_bits(*b)).sum::<f32>(),
        800.0
    );
}

#[test]
fn a_checkpoint_cut_off_anywhere_is_either_old_or_new() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(20, 40, 2);
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    train(&one, config(2, 1), &toy);
    train(&two, config(2, 2), &toy);
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    let cut = dir.path().join("cut");
    let files = [
        "last.safetensors",
        "optimizer.safetensors",
        "best.safetensors",
    ];
    // `renamed` of the three files have their new content, the others still wait as .new; with the old state none does.
    for renamed in 0..=3 {
        let _ = fs::remove_dir_all(&cut);
        fs::create_dir_all(&cut).unwrap();
        for name in ["config.toml", "proteins.txt", "state.json", "history.csv"] {
            fs::write(cut.join(name), read(&two, name)).unwrap();
        }
        for (i, name) in files.iter().enumerate() {
            if i < renamed {
                fs::write(cut.join(name), read(&two, name)).unwrap();
            } else {
                fs::write(cut.join(name), read(&one, name)).unwrap();
                fs::write(cut.join(format!("{name}.new")), read(&two, name)).unwrap();
            }
        }
        let folder = ModelFolder::open(&cut).unwrap();
        folder.state().unwrap();
        for name in files {
            assert_eq!(read(&cut, name), read(&two, name), "{renamed} {name}");
        }
        // The new state was never written: the old files stay.
        for name in [
            "state.json",
            "last.safetensors",
            "optimizer.safetensors",
            "best.safetensors",
        ] {
            fs::write(cut.join(name), read(&one, name)).unwrap();
        }
        fs::write(
            cut.join("last.safetensors.new"),
            &read(&two, "last.safetensors")[..1000],
        )
        .unwrap();
        assert_eq!(folder.state().unwrap().epoch, 1);
        assert_eq!(
            read(&cut, "last.safetensors"),
            read(&one, "last.safetensors")
        );
    }
    fs::write(cut.join("state.json"), read(&two, "state.json")).unwrap();
    let error = ModelFolder::open(&cut)
        .unwrap()
        .state()
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not belong to state.json"), "{error}");
}

/// The training that `killed_at_random_moments` starts in a process of its own; it writes a checkpoint after every batch.
#[test]
#[ignore = "the child of killed_at_random_moments"]
fn child() {
    let Some(folder) = std::env::var_os("CYTOSELF_TEST_FOLDER") else {
        return;
    };
    let (folder, toy) = (Path::new(&folder), Toy::new(20, 40, 2));
    if folder.join("state.json").exists() {
        resume(folder, &toy);
    } else {
        let mut config = averaging(config(2, 4));
        config.training.checkpoint_batches = 1;
        train(folder, config, &toy);
    }
}

fn spawn(folder: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--ignored"])
        .env("CYTOSELF_TEST_FOLDER", folder);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Files of a checkpoint that is being written.
fn unfinished(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".new")).collect();
    names.sort();
    names
}

/// SIGKILL at moments spread over the whole run, every second one in the middle of the next checkpoint: the run that goes on ends
/// with the same bits each time.
#[test]
fn killed_at_random_moments() {
    let kills: u32 = std::env::var("CYTOSELF_KILLS")
        .ok()
        .and_then(|k| k.parse().ok())
        .unwrap_or(3);
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let start = Instant::now();
    assert!(spawn(&whole).wait().unwrap().success());
    let time = start.elapsed();
    let expected = results(&whole);
    let mut within = 0;
    for kill in 0..kills {
        let killed = dir.path().join(format!("killed{kill}"));
        // The fractions of the golden ratio's multiples are spread evenly, however many there are.
        let share = (0.37 + f64::from(kill) * 0.618_034).fract();
        let mut child = spawn(&killed);
        std::thread::sleep(time.mul_f64(share));
        while kill % 2 == 1 && unfinished(&killed).is_empty() && child.try_wait().unwrap().is_none()
        {
            std::hint::spin_loop();
        }
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        let left = unfinished(&killed);
        within += usize::from(!left.is_empty());
        let state = fs::read_to_string(killed.join("state.json")).unwrap_or_default();
        let of = |name: &str| {
            let line = state.lines().find(|l| l.trim_start().starts_with(name));
            line.map_or("none".to_string(), |l| {
                l.trim().trim_end_matches(',').to_string()
            })
        };
        println!(
            "killed at {:.0} % of the time{}: {}, being written: {left:?}",
            100.0 * share,
            if ended { " (it had ended)" } else { "" },
            of("\"step\""),
        );
        assert!(spawn(&killed).wait().unwrap().success());
        assert!(results(&killed) == expected, "kill {kill}");
    }
    println!("{kills} kills, {within} within a checkpoint; the same bits every time");
}
