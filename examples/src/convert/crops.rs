//! Crops between cytoself's files and the crop store.

use std::path::Path;

use cytoself_io::{
    CropLayout, CropSource, CropStoreWriter, CropTable, PixelType, TextColumn, npy::NpyWriter,
    open_crops,
};
use ndarray::Array4;

use super::{ConvertArgs, Pixels};
use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// Crops that are read at a time.
const BLOCK: usize = 256;
/// cytoself's label columns.
const LABELS: [&str; 7] = [
    "ensg",
    "name",
    "loc_grade1",
    "loc_grade2",
    "loc_grade3",
    "protein_id",
    "FOV_id",
];

/// Writes a crop store.
pub(super) fn to_store(args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let source = open_crops(&args.from)?;
    let names: Vec<&str> = source.channels().iter().map(String::as_str).collect();
    let pixels = match args.pixels {
        Pixels::F32 => PixelType::F32,
        Pixels::U16 => PixelType::U16,
    };
    let layout = CropLayout::new(&names, source.crop_shape())
        .pixels(pixels)
        .made("converted_from", args.from.display());
    let output = Output::folder(&args.to, common.overwrite)?;
    let mut writer = CropStoreWriter::create(output.path(), &layout)?;
    let progress = Progress::new("converting crops", source.len() as u64, common.quiet);
    let [h, w] = source.crop_shape();
    let channels: Vec<usize> = (0..names.len()).collect();
    for start in (0..source.len()).step_by(BLOCK) {
        stop_if_interrupted(&progress, start)?;
        let rows: Vec<usize> = (start..source.len().min(start + BLOCK)).collect();
        let mut images = Array4::zeros((rows.len(), names.len(), h, w));
        source.read_stored_into(&rows, &channels, images.as_slice_mut().unwrap_or_default())?;
        writer.append(images.view(), &source.table().select(&rows)?)?;
    }
    let crops = writer.finish()?;
    output.commit()?;
    common.say(format!(
        "{crops} crops of {h} x {w} px, channels {}: {}",
        names.join(", "),
        args.to.display()
    ));
    Ok(())
}

fn stop_if_interrupted(progress: &Progress, done: usize) -> Result<(), Failure> {
    if progress.update(done as u64).is_break() {
        return Err(Failure::Interrupted(
            "nothing was kept; run it again".into(),
        ));
    }
    Ok(())
}

/// Writes a folder of cytoself's per-protein files and a `labels.csv`.
pub(super) fn to_arrays(args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let source = open_crops(&args.from)?;
    let proteins = source.table().text("protein").ok_or_else(|| {
        Failure::input(format!(
            "{}: the crops have no column protein, by which cytoself's files are named",
            args.from.display()
        ))
    })?;
    let output = Output::folder(&args.to, common.overwrite)?;
    let progress = Progress::new("converting crops", source.len() as u64, common.quiet);
    let mut order: Vec<&str> = proteins.categories().collect();
    order.sort_unstable();
    let mut by_protein: Vec<Vec<usize>> = vec![Vec::new(); proteins.category_count()];
    proteins
        .codes()
        .iter()
        .enumerate()
        .for_each(|(row, &code)| by_protein[code as usize].push(row));
    let mut labels = CropTable::new();
    let mut done = 0;
    for protein in order {
        let rows = proteins
            .code_of(protein)
            .map_or(&[][..], |code| &by_protein[code as usize]);
        if protein.is_empty() || protein.contains(['/', '\\']) {
            return Err(Failure::input(format!(
                "protein {protein:?}: its name cannot be part of a file name"
            )));
        }
        write_protein(&*source, protein, rows, output.path(), &progress, &mut done)?;
        labels.concat(&label_rows(source.table(), rows)?)?;
    }
    labels.to_csv(&output.path().join("labels.csv"))?;
    output.commit()?;
    common.say(format!(
        "{} crops of {} proteins: {}",
        source.len(),
        proteins.category_count(),
        args.to.display()
    ));
    Ok(())
}

fn write_protein(
    source: &dyn CropSource,
    protein: &str,
    rows: &[usize],
    folder: &Path,
    progress: &Progress,
    done: &mut usize,
) -> Result<(), Failure> {
    let [h, w] = source.crop_shape();
    let mut writers = Vec::new();
    for channel in source.channels() {
        writers.push(NpyWriter::<f32>::create(
            &folder.join(format!("{protein}_{channel}.npy")),
            &[h, w],
        )?);
    }
    let mut block = Vec::new();
    for rows in rows.chunks(BLOCK) {
        stop_if_interrupted(progress, *done)?;
        block.resize(rows.len() * h * w, 0.0);
        for (channel, writer) in writers.iter_mut().enumerate() {
            source.read_stored_into(rows, &[channel], &mut block)?;
            writer.append(&block)?;
        }
        *done += rows.len();
    }
    writers.into_iter().try_for_each(|w| w.finish().map(drop))?;
    Ok(())
}

/// cytoself's seven columns, and the row within the protein's files.
fn label_rows(table: &CropTable, rows: &[usize]) -> Result<CropTable, Failure> {
    let graded = ["loc_grade1", "loc_grade2", "loc_grade3"]
        .iter()
        .any(|c| table.text(c).is_some());
    let mut labels = CropTable::new();
    for column in LABELS {
        let source = match column {
            "name" => "protein",
            "FOV_id" => "fov",
            // One localisation without grades is the main one.
            "loc_grade3" if !graded => "localization",
            other => other,
        };
        let texts = rows
            .iter()
            .map(|&row| table.text(source).map_or("", |c| c.get(row)));
        let values = TextColumn::from_texts(texts)?;
        labels.insert(column, values)?;
    }
    labels.insert(
        "index",
        (0..rows.len()).map(|i| i as f64).collect::<Vec<_>>(),
    )?;
    Ok(labels)
}
