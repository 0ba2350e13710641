//! The stage from fields of view to crops: what the binary `preprocess` does, for other binaries to call.

mod channels;
mod cut;
mod field;
mod options;
mod parts;
mod planes;
mod preview;
mod record;
mod shard;
mod workers;

pub use options::{Finder, Options};

use std::collections::HashMap;

use ndarray::Axis;

use cytoself_io::{
    CropLayout, CropStoreWriter, CropTable, FieldSpec, Manifest, Split, SplitParams, SplitReport,
    Value, split_by_field,
};

use crate::cli::Failure;
use crate::output::Output;
use crate::progress;
use parts::{FieldPart, Parts};
use preview::Preview;
use record::Record;

/// Channels of the store, in order.
pub const CHANNELS: [&str; 3] = ["pro", "nuc", "nucdist"];

/// Cuts the crops of all fields of the manifest that belong to the shard, and writes the crop store.
///
/// # Errors
/// - the options contradict each other, or the manifest cannot be read;
/// - no field gives a crop: the message says why;
/// - the output exists, or cannot be written;
/// - the user interrupts: what is finished is kept for `--resume`.
pub fn run(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let manifest = Manifest::open(&options.manifest)?;
    options.check_columns(&manifest)?;
    if options.resume {
        Output::remove_stale(&options.out)?;
    }
    let output = Output::folder(&options.out, options.common.overwrite)?;
    let (splits, division) = split_fields(&manifest, &options.split()?)?;
    options.common.say(said(&division));
    let fields: Vec<&FieldSpec> = manifest
        .fields()
        .iter()
        .filter(|f| options.shard.holds(&f.fov))
        .collect();
    let pictured = preview::pictured(options, &fields);
    let mut preview = Preview::open(options, &pictured)?;
    let parts = Parts::open(options)?;
    workers::work(options, &manifest, &fields, &parts, &pictured)?;

    let mut record = Record::new(options);
    std::fs::remove_dir(output.path()).map_err(Failure::from)?;
    let layout = CropLayout::new(&CHANNELS, [options.crop_size; 2]).slices(options.slices);
    let layout = options.describe(layout);
    let mut writer = CropStoreWriter::create(output.path(), &layout)?;
    for field in &fields {
        if progress::interrupted() {
            return Err(parts.interrupted(fields.len(), fields.len()));
        }
        let part = parts.read(field)?;
        record.add(field, &part);
        if let Some(preview) = &mut preview {
            preview.add(field, &parts, part.crops.as_ref().map(|c| &c.0))?;
        }
        if let FieldPart {
            crops: Some((images, table)),
            ..
        } = part
        {
            let split = splits.get(&field.fov).copied().unwrap_or(Split::Train);
            let table = with_split(table, split)?;
            match options.slices {
                1 => writer.append(images.index_axis(Axis(2), 0), &table)?,
                _ => writer.append_stacks(images.view(), &table)?,
            }
        }
    }
    let crops = writer.len();
    // A shard may happen to hold nothing but fields that cannot be used; the others go on without it.
    if crops == 0 && !options.shard.is_part() {
        return Err(record.nothing_found());
    }
    writer.finish()?;
    record.write(output.path())?;
    output.commit()?;
    if let Some(preview) = preview {
        preview.finish()?;
    }
    parts.remove()?;
    options.common.say(record.summary(crops));
    Ok(())
}

/// The split of every field, from the manifest alone: it depends neither on shards nor on what is found in the images.
fn split_fields(
    manifest: &Manifest,
    params: &SplitParams,
) -> Result<(HashMap<String, Split>, SplitReport), Failure> {
    let mut table = CropTable::new();
    for field in manifest.fields() {
        table.push(&[
            ("protein", Value::Text(&field.protein)),
            ("fov", Value::Text(&field.fov)),
        ])?;
    }
    let (splits, report) = split_by_field(&table, params)?;
    let fields = manifest.fields().iter().map(|f| f.fov.clone());
    Ok((fields.zip(splits).collect(), report))
}

/// How the fields were divided; in the table that was divided, a row is a field.
fn said(division: &SplitReport) -> String {
    division
        .to_string()
        .replacen("crops:", "fields:", 1)
        .lines()
        .map(|line| line.split(" (").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn with_split(mut table: CropTable, split: Split) -> Result<CropTable, Failure> {
    let column = cytoself_io::TextColumn::repeat(split.as_str(), table.len());
    table.insert("split", column)?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use cytoself_io::{OmeTiff, merge_crop_stores, open_crops, write_ome_tiff, write_png_u16};
    use ndarray::Array2;

    use super::*;
    use crate::cli::Common;

    fn common(overwrite: bool) -> Common {
        Common {
            threads: None,
            seed: 7,
            quiet: true,
            overwrite,
        }
    }

    /// Fields of 240 px with nine nuclei each; the one numbered `broken` is cut short.
    fn fields(folder: &Path, count: usize, broken: Option<usize>) -> PathBuf {
        let mut manifest = String::from("path,protein,fov,channels\n");
        for i in 0..count {
            let draw = |name: &str, radius: f32| {
                let image = Array2::from_shape_fn((240, 240), |(y, x)| {
                    let (dy, dx) = ((y % 80) as f32 - 40.0, (x % 80) as f32 - 38.0 - i as f32);
                    let noise = ((y * 7919 + x * 104_729 + i * 31) % 97) as f32;
                    (20_000.0 / (1.0 + ((dy * dy + dx * dx).sqrt() - radius).exp()) + 500.0 + noise)
                        as u16
                });
                let path = folder.join(format!("{i}_{name}.png"));
                write_png_u16(&path, image.view()).unwrap();
                if broken == Some(i) {
                    let bytes = fs::read(&path).unwrap();
                    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                }
            };
            draw("nuc", 12.0);
            draw("pro", 20.0);
            manifest.push_str(&format!(
                "{i}_nuc.png;{i}_pro.png,P{},f{i},nuc;pro\n",
                i % 2
            ));
        }
        let path = folder.join("manifest.csv");
        fs::write(&path, manifest).unwrap();
        path
    }

    fn options(folder: &Path, manifest: &Path, out: &str) -> Options {
        let new = Options::new(manifest.to_path_buf(), folder.join(out), common(false));
        Options {
            crop_size: 40,
            downsample: 1,
            ..new
        }
    }

    fn bytes(store: &Path) -> Vec<Vec<u8>> {
        [
            "zarr.json",
            "table.csv",
            "images/zarr.json",
            "images/c/0/0/0/0",
        ]
        .map(|f| fs::read(store.join(f)).unwrap())
        .to_vec()
    }

    #[test]
    fn crops_lead_back_to_their_field_at_any_thread_count() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = fields(dir.path(), 3, None);
        let mut stores = Vec::new();
        for threads in [1, 3] {
            let options = options(dir.path(), &manifest, &format!("t{threads}.zarr"));
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| run(&options)).unwrap();
            stores.push(bytes(&options.out));
        }
        assert!(stores[0] == stores[1]);
        let crops = open_crops(&dir.path().join("t1.zarr")).unwrap();
        assert_eq!((crops.len(), crops.channels().len()), (27, 3));
        let table = crops.table();
        assert_eq!(table.text("crop").unwrap().get(0), "f0:1");
        assert!((table.number("y").unwrap()[0] - 40.0).abs() <= 1.0);
        assert!((table.number("x").unwrap()[9] - 39.0).abs() <= 1.0);
        let mut out = vec![0.0; 3 * 1600];
        crops.read_into(&[4], &[0, 1, 2], &mut out).unwrap();
        assert!(out[..3200].iter().all(|v| (0.0..=1.0).contains(v)));
        // The middle of a nucleus of radius 12 px, in hundredths of a pixel.
        assert!(
            (out[3200 + 20 * 40 + 20] - 0.12).abs() < 0.02,
            "{}",
            out[3200 + 20 * 40 + 20]
        );
    }

    #[test]
    fn shards_join_to_the_same_bytes_and_a_broken_field_is_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = fields(dir.path(), 5, Some(3));
        let mut merged = Vec::new();
        for count in [1, 2] {
            let mut parts = Vec::new();
            for i in 0..count {
                let shard = format!("{i}/{count}").parse().unwrap();
                let options = Options {
                    shard,
                    ..options(dir.path(), &manifest, &format!("s{i}of{count}.zarr"))
                };
                run(&options).unwrap();
                parts.push(options.out);
            }
            let path = dir.path().join(format!("merged{count}.zarr"));
            merge_crop_stores(&parts, &path, &mut |_, _| {
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            merged.push(bytes(&path));
        }
        assert!(merged[0] == merged[1]);
        let failures = fs::read_to_string(dir.path().join("s0of1.zarr/failures.csv")).unwrap();
        assert!(
            failures.lines().count() == 2
                && failures.contains("f3")
                && failures.contains("3_nuc.png"),
            "{failures}"
        );
        let done = fs::read_to_string(dir.path().join("s0of1.zarr/done.json")).unwrap();
        let done: serde_json::Value = serde_json::from_str(&done).unwrap();
        assert_eq!((&done["failed"], &done["crops"]), (&1.into(), &36.into()));
    }

    #[test]
    fn a_run_goes_on_where_it_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = fields(dir.path(), 3, None);
        let whole = options(dir.path(), &manifest, "whole.zarr");
        run(&whole).unwrap();

        let cut = Options {
            resume: true,
            ..options(dir.path(), &manifest, "cut.zarr")
        };
        let parts = Parts::open(&cut).unwrap();
        let read = Manifest::open(&manifest).unwrap();
        let first: Vec<&FieldSpec> = read.fields().iter().take(2).collect();
        workers::work(&cut, &read, &first, &parts, &BTreeSet::new()).unwrap();
        // A field that was being written when the run was killed.
        fs::write(parts.folder().join("2.npy"), "half").unwrap();
        fs::write(parts.folder().join("2.json.partial"), "{").unwrap();
        run(&cut).unwrap();
        assert!(bytes(&whole.out) == bytes(&cut.out));
        assert!(!parts.folder().exists());
    }

    /// A field of 6 slices with four nuclei that fill slices 2 to 4, cells of 30 px around them, and a membrane between these.
    fn thick_field(folder: &Path, z_step: f64) -> PathBuf {
        let value = |channel: usize, z: usize, y: usize, x: usize| {
            let away = ((y % 60) as f32 - 36.0).hypot((x % 60) as f32 - 36.0);
            let inside = away < 9.0 && (2..5).contains(&z);
            let seam = y.is_multiple_of(60) || x.is_multiple_of(60);
            let noise = ((y * 7919 + x * 104_729 + z * 31) % 97) as u16;
            noise
                + match channel {
                    0 if inside => 9000,
                    // The lower right cell is by far the brightest.
                    1 if y >= 63 && x >= 63 => 20_000,
                    1 => 4000,
                    2 if seam => 8000,
                    _ => 300,
                }
        };
        let stack =
            ndarray::Array4::from_shape_fn((3, 6, 120, 120), |(c, z, y, x)| value(c, z, y, x));
        let about = OmeTiff::new(&["nuc", "pro", "mem"]).pixel_size_um(0.2);
        let about = about.z_step_um(z_step);
        write_ome_tiff(&folder.join("thick.ome.tif"), stack.view(), &about).unwrap();
        let path = folder.join("manifest.csv");
        fs::write(&path, "path,protein\nthick.ome.tif,P\n").unwrap();
        path
    }

    #[test]
    fn crops_with_slices_and_distances_in_three_dimensions() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = thick_field(dir.path(), 0.4);
        let thick = Options {
            crop_size: 41,
            slices: 5,
            diameter: Some(18.0),
            ..options(dir.path(), &manifest, "thick.zarr")
        };
        run(&thick).unwrap();
        let crops = open_crops(&thick.out).unwrap();
        assert_eq!((crops.len(), crops.crop_shape()), (4, [5 * 41, 41]));
        let mut out = vec![0.0; 3 * 5 * 41 * 41];
        crops.read_into(&[0], &[0, 1, 2], &mut out).unwrap();
        let distance = |z: usize| out[2 * 5 * 41 * 41 + z * 41 * 41 + 20 * 41 + 20] * 100.0;
        // The layer is slices 1 to 5 of the stack; a slice is two pixels high, and the nucleus three slices.
        let found = [0, 1, 2, 3, 4].map(distance);
        assert_eq!(found.map(|d| d.round() as i32), [-2, 2, 4, 2, -2]);
        let few = Options {
            slices: 7,
            ..options(dir.path(), &manifest, "few.zarr")
        };
        let text = format!("{:?}", run(&few));
        assert!(
            text.contains("--z-slices 7") && text.contains("found 6"),
            "{text}"
        );
    }

    #[test]
    fn other_cells_are_masked_out_by_a_marker() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = thick_field(dir.path(), 0.4);
        let of = |name: &str, masked: bool, marker: &str| Options {
            // Rows and columns 6 to 65 around the first nucleus: the last six show the cells beside it.
            crop_size: 60,
            diameter: Some(18.0),
            mask_neighbours: masked,
            marker: masked.then(|| marker.to_string()),
            marker_stain: options::Stain::Membrane,
            ..options(dir.path(), &manifest, name)
        };
        let crop = |options: &Options| {
            run(options).unwrap();
            let crops = open_crops(&options.out).unwrap();
            let mut out = vec![0.0; 3600];
            crops.read_into(&[0], &[0], &mut out).unwrap();
            Array2::from_shape_vec((60, 60), out).unwrap()
        };
        let (plain, masked) = (
            crop(&of("plain", false, "")),
            crop(&of("masked", true, "mem")),
        );
        let corner = ndarray::s![58.., 58..];
        assert!(plain.slice(corner).iter().all(|&v| v > 0.9) && plain[[30, 30]] < 0.3);
        assert!(
            masked.slice(corner).iter().all(|&v| v == 0.0),
            "{:?}",
            masked.slice(corner)
        );
        // The own cell alone now spans the range from 0 to 1.
        let own = ndarray::s![..40, ..40];
        let highest = |crop: &Array2<f32>| crop.slice(own).fold(0.0, |a: f32, &b| a.max(b));
        assert!(highest(&plain) < 0.3 && highest(&masked) > 0.95);
        let text = format!("{:?}", run(&of("none", true, "actin")));
        assert!(
            text.contains("--marker actin") && text.contains("nuc, pro, mem"),
            "{text}"
        );
    }

    #[test]
    fn bad_input_is_one_line_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = fields(dir.path(), 1, None);
        let text = |options: &Options| match run(options) {
            Err(Failure::Input(text)) => text,
            other => panic!("{other:?}"),
        };
        let of = |out: &str| options(dir.path(), &manifest, out);
        assert!(
            text(&Options {
                crop_size: 400,
                ..of("a")
            })
            .contains("9 nuclei too near the edge for --crop-size 400")
        );
        assert!(
            text(&Options {
                method: Finder::Labels,
                ..of("b")
            })
            .contains("a column labels")
        );
        assert!(
            text(&Options {
                reject: vec!["ugly".into()],
                ..of("c")
            })
            .contains("--reject ugly")
        );
        fs::write(&manifest, "path,protein,channels\n0_nuc.png,P,nuc\n").unwrap();
        assert!(text(&of("d")).contains("expected a protein channel"));
        assert!(!dir.path().join("d").exists());
    }
}
