//! The memory of a training as it is foreseen, beside what the allocator hands out.

#[path = "training/toy.rs"]
mod toy;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cytoself_model::{
    Config, EpochReport, InputNormalization, Trainer, TrainingData, TrainingObserver,
};
use toy::Toy;

/// Counts the bytes that are handed out, and the most there have been.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Silent;

impl TrainingObserver for Silent {
    fn batch(&mut self, _batch: u64, _batches: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, _report: &EpochReport<'_>) {}
}

/// Trains one epoch; foreseen and handed out bytes.
fn train(config: Config, toy: &Toy) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("m");
    fs::create_dir_all(&folder).unwrap();
    let channels = ["pro", "nuc"].map(String::from);
    let data = TrainingData::new(toy, &channels, &toy.splits(), None)
        .unwrap()
        .normalized(InputNormalization::None);
    let before = NOW.load(Relaxed);
    let (batch, accumulate) = (config.training.batch, config.training.accumulate);
    let mut trainer = Trainer::start(&folder, config, &data).unwrap();
    let foreseen = trainer.memory().unwrap().bytes(batch, accumulate);
    MOST.store(NOW.load(Relaxed), Relaxed);
    trainer.run(&mut Silent).unwrap();
    (foreseen, MOST.load(Relaxed) - before)
}

/// One test, because the counters are the process's.
#[test]
fn foreseen_and_measured_differ_by_less_than_a_quarter() {
    let toy = Toy::new(60, 40, 2);
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::preset("torch-micro").unwrap();
        config.model.channels = vec!["pro".into(), "nuc".into()];
        config.model.classes = 2;
        config.training.epochs = 1;
        config.training.batch = 32;
        change(&mut config);
        config
    };
    let mut found = Vec::new();
    for (name, config) in [
        ("32", with(&|_| {})),
        ("16", with(&|c| c.training.batch = 16)),
        (
            "2 x 16",
            with(&|c| (c.training.batch, c.training.accumulate) = (16, 2)),
        ),
        (
            "32, averages",
            with(&|c| c.model.levels[1].quantizer.ema_decay = 0.99),
        ),
        (
            "32, no decoders",
            with(&|c| *c = c.clone().without_decoders()),
        ),
    ] {
        let (foreseen, measured) = train(config, &toy);
        println!("{name}: foreseen {foreseen}, measured {measured}");
        let ratio = foreseen as f64 / measured as f64;
        assert!(
            (0.8..1.25).contains(&ratio),
            "{name}: {foreseen} {measured}"
        );
        found.push(measured);
    }
    assert!(found[1] < found[0] && found[2] < found[0]);
}
