//! The Rust side of `segment.py`: times the stages of the OpenCell chain on the images named on the command line.
//!
//! Arguments are `scale repeats image...`; answers with one line of JSON per image: CPU milliseconds of each stage in its
//! fastest repeat, on one thread, and the number of nuclei.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use cytoself_io::read_image;
use cytoself_segment::{
    OpenCellParams, background_mask, clean_mask, crop_windows, refine_mask, regions,
    remove_edge_labels, signed_distance, split_nuclei,
};
use ndarray::Array2;

/// CPU seconds of the calling thread.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists on Linux, and the pointer is to a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Stages with their CPU seconds.
#[derive(Default)]
struct Stages(Vec<(&'static str, f64)>);

impl Stages {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let start = cpu_seconds();
        let result = black_box(work());
        self.0.push((name, cpu_seconds() - start));
        result
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|s| s.1).sum()
    }
}

fn run(image: &Array2<f32>, scale: f64) -> Result<(Stages, usize), cytoself_segment::SegmentError> {
    let chain = OpenCellParams::default().scale(scale).check()?;
    let mut stages = Stages::default();
    let wide = stages.time("to double", || image.mapv(f64::from));
    let (background, _) = stages.time("background", || background_mask(wide.view(), &chain));
    let refined = stages.time("refine", || {
        refine_mask(wide.view(), background.view(), &chain)
    });
    let cleaned = stages.time("clean", || clean_mask(refined.view(), &chain));
    let split = stages.time("split", || split_nuclei(cleaned.view(), &chain))?;
    let labels = stages.time("edges", || remove_edge_labels(split.view()));
    stages.time("signed distance", || signed_distance(labels.view()));
    let found = stages.time("crops", || {
        let found = regions(labels.view());
        let (windows, _) = crop_windows(&found, labels.dim(), 100);
        let crops: Vec<Array2<f32>> = windows
            .iter()
            .map(|w| w.cut(image.view()).to_owned())
            .collect();
        black_box(crops);
        found.len()
    });
    Ok((stages, found))
}

fn main() -> ExitCode {
    // As the binaries do, whose allocator this is too.
    cytoself_examples::cli::keep_freed_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scale, repeats, images @ ..] = &arguments[..] else {
        eprintln!("segment_peer: expected scale, repeats and images");
        return ExitCode::from(2);
    };
    let (Ok(scale), Ok(repeats)) = (scale.parse::<f64>(), repeats.parse::<usize>()) else {
        eprintln!("segment_peer: expected two numbers, found {scale} and {repeats}");
        return ExitCode::from(2);
    };
    let Ok(pool) = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    for path in images {
        let image = match read_image(Path::new(path)) {
            Ok(plane) => plane.to_f32(),
            Err(error) => {
                eprintln!("segment_peer: {error}");
                return ExitCode::from(2);
            }
        };
        let mut best: Option<(Stages, usize)> = None;
        for _ in 0..repeats.max(1) {
            match pool.install(|| run(&image, scale)) {
                Ok(found) if best.as_ref().is_none_or(|b| found.0.total() < b.0.total()) => {
                    best = Some(found);
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("segment_peer: {path}: {error}");
                    return ExitCode::from(2);
                }
            }
        }
        if let Some((stages, nuclei)) = best {
            let stages: Vec<String> = stages
                .0
                .iter()
                .map(|(name, seconds)| format!("\"{name}\": {:.4}", seconds * 1e3))
                .collect();
            println!(
                "{{\"nuclei\": {nuclei}, \"ms\": {{{}}}}}",
                stages.join(", ")
            );
        }
    }
    ExitCode::SUCCESS
}
