//! Fields are worked on side by side, one per thread.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cytoself_io::{FieldSpec, Manifest};
use rayon::ThreadPoolBuilder;

use super::field::crops_of;
use super::options::Options;
use super::parts::{Input, Parts};
use crate::cli::Failure;
use crate::progress::{self, Progress};

/// Makes the part of every field that is not finished yet.
///
/// Each worker has a pool of its own, so that it holds exactly one field: in a shared pool, a thread that waits for the
/// rows of one field would start on another one.
pub(super) fn work(
    options: &Options,
    manifest: &Manifest,
    fields: &[&FieldSpec],
    parts: &Parts,
    pictured: &BTreeSet<usize>,
) -> Result<(), Failure> {
    let open: Vec<&FieldSpec> = fields
        .iter()
        .copied()
        .filter(|f| !parts.is_done(f, pictured.contains(&f.row)))
        .collect();
    if open.len() < fields.len() {
        let kept = fields.len() - open.len();
        options.common.say(format_args!(
            "{kept} of {} fields are finished already",
            fields.len()
        ));
    }
    let threads = rayon::current_num_threads();
    let workers = threads.min(open.len()).max(1);
    let progress = Progress::new("fields", open.len() as u64, options.common.quiet);
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let fault: Mutex<Option<Failure>> = Mutex::new(None);
    let worker = || {
        while let Some(field) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            if progress::interrupted() {
                return;
            }
            if let Err(failure) = finish(options, manifest, field, parts, pictured) {
                // The disk, not the field, is at fault: nothing else will work either.
                next.store(open.len(), Ordering::Relaxed);
                fault
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get_or_insert(failure);
                return;
            }
            // The interrupt is looked at before each field.
            let _ = progress.update(1 + done.fetch_add(1, Ordering::Relaxed) as u64);
        }
    };
    let pools = (0..workers)
        .map(|_| {
            ThreadPoolBuilder::new()
                .num_threads(threads.div_ceil(workers))
                .build()
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::other)?;
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(worker));
        }
    });
    if let Some(failure) = fault
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        return Err(failure);
    }
    let finished = fields.len() - open.len() + done.into_inner();
    if finished < fields.len() {
        return Err(parts.interrupted(finished, fields.len()));
    }
    Ok(())
}

fn finish(
    options: &Options,
    manifest: &Manifest,
    field: &FieldSpec,
    parts: &Parts,
    pictured: &BTreeSet<usize>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let result = crops_of(options, manifest, field, pictured.contains(&field.row));
    let inputs = field.paths.iter().map(|p| Input::of(p)).collect();
    parts.write(field, result, start.elapsed().as_secs_f64(), inputs)
}
