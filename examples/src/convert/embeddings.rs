//! Embeddings into files of one array or one table.

use cytoself_io::{EmbeddingStore, npy::NpyWriter};

use super::{ConvertArgs, extension, parquet};
use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// Rows that are read at a time.
const BLOCK: usize = 1024;
/// The most columns of an array that go into a table.
const WIDEST: usize = 4096;

/// Writes the array or table that the output's ending asks for.
pub(super) fn convert(args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let store = EmbeddingStore::open(&args.from)?;
    match extension(&args.to).as_str() {
        "npy" => to_npy(&store, args, common),
        "csv" => {
            let output = Output::file(&args.to, common.overwrite)?;
            store.obs().to_csv(output.path())?;
            output.commit()?;
            common.say(format!("{} crops: {}", store.len(), args.to.display()));
            Ok(())
        }
        "parquet" => to_parquet(&store, args, common),
        "h5ad" => Err(Failure::input(format!(
            "{}: .h5ad is HDF5, which has no writer in Rust without the C library; run: python -c \"import anndata; \
             anndata.read_zarr('{}').write_h5ad('{}')\"",
            args.to.display(),
            args.from.display(),
            args.to.display()
        ))),
        other => Err(Failure::input(format!(
            "--to {}: embeddings convert to .npy, .parquet or .csv, not to .{other}",
            args.to.display()
        ))),
    }
}

/// The array asked for, else the one that the output is named after, else the global representation.
fn array_name(store: &EmbeddingStore, args: &ConvertArgs) -> String {
    let stem = args
        .to
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    match &args.array {
        Some(name) => name.clone(),
        None if store.width(&stem).is_ok() => stem,
        None => "vqvec2".to_string(),
    }
}

fn to_npy(store: &EmbeddingStore, args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let name = array_name(store, args);
    let width = store.width(&name)?;
    let output = Output::file(&args.to, common.overwrite)?;
    let progress = Progress::new("writing rows", store.len() as u64, common.quiet);
    let codes = name.starts_with("vqind") && !name.starts_with("vqindhist");
    let rows = if codes {
        let mut writer = NpyWriter::<u16>::create(output.path(), &[width])?;
        blocks(store, &progress, |range| {
            let block = store.indices_rows(&name, range)?;
            Ok(writer.append(&block.into_raw_vec_and_offset().0)?)
        })?;
        writer.finish()?
    } else {
        let mut writer = NpyWriter::<f32>::create(output.path(), &[width])?;
        blocks(store, &progress, |range| {
            let block = store.dense_rows(&name, range)?;
            Ok(writer.append(&block.into_raw_vec_and_offset().0)?)
        })?;
        writer.finish()?
    };
    output.commit()?;
    common.say(format!("{name}: {rows} x {width}: {}", args.to.display()));
    Ok(())
}

fn blocks(
    store: &EmbeddingStore,
    progress: &Progress,
    mut each: impl FnMut(std::ops::Range<usize>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for start in (0..store.len()).step_by(BLOCK) {
        if progress.update(start as u64).is_break() {
            return Err(Failure::Interrupted(
                "nothing was kept; run it again".into(),
            ));
        }
        each(start..store.len().min(start + BLOCK))?;
    }
    Ok(())
}

/// The crop table, and the columns of an array if one is asked for or there is a map.
fn to_parquet(store: &EmbeddingStore, args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let name = args
        .array
        .clone()
        .or_else(|| store.width("X_umap").is_ok().then(|| "X_umap".to_string()));
    let mut arrays = Vec::new();
    if let Some(name) = &name {
        let width = store.width(name)?;
        if width > WIDEST {
            return Err(Failure::input(format!(
                "--array {name}: {width} columns are too many for a table (at most {WIDEST}); convert to .npy"
            )));
        }
        arrays.push(name.as_str());
    }
    let output = Output::file(&args.to, common.overwrite)?;
    parquet::write(output.path(), store, &arrays)?;
    output.commit()?;
    common.say(format!("{} crops: {}", store.len(), args.to.display()));
    Ok(())
}
