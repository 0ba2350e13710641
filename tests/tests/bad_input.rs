//! Bad input, full disks and interrupts, through the binaries: the exit code, and a line that helps.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cytoself_io::{OmeTiff, npy, write_ome_tiff};
use cytoself_tests::fixture::{self, crops, field_path, fields, names, preprocess, train_flags};
use cytoself_tests::{Run, run};
use ndarray::{Array2, Array3, Array4};
use tempfile::TempDir;

/// Crops, a model and embeddings that every test may read.
struct Good {
    folder: TempDir,
}

impl Good {
    fn get() -> &'static Self {
        static GOOD: OnceLock<Good> = OnceLock::new();
        GOOD.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let store = crops(folder.path(), 6, 2);
            let model = folder.path().join("model");
            run("train", train_flags(&store, &model, &["--epochs", "1"])).expect(0, &[]);
            let good = Self { folder };
            embed(&store, &model, &good.embeddings()).expect(0, &[]);
            good
        })
    }

    fn crops(&self) -> PathBuf {
        self.folder.path().join("crops.zarr")
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn embeddings(&self) -> PathBuf {
        self.folder.path().join("embeddings.zarr")
    }
}

fn embed(data: &Path, model: &Path, out: &Path) -> Run {
    run("embed", embed_flags(data, model, out))
}

fn embed_flags(data: &Path, model: &Path, out: &Path) -> Vec<String> {
    [
        "--data",
        &data.display().to_string(),
        "--model",
        &model.display().to_string(),
        "--out",
        &out.display().to_string(),
        "--outputs",
        "vqind2,vqindhist1",
    ]
    .map(String::from)
    .to_vec()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The binary failed with `code`, explained itself in one line that holds `words`, and left nothing but `left` behind.
fn refused(run: &Run, code: i32, words: &[&str], folder: &Path, left: &[&str]) {
    run.expect(code, words);
    assert!(
        run.stderr.lines().count() <= 2 && run.last_line().contains(": error: "),
        "{}",
        run.stderr
    );
    assert_eq!(names(folder), left, "after: {}", run.stderr);
}

/// Replaces the file of one field and says how the only crops left are reported.
fn with_broken_field(spoil: impl Fn(&Path), words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(dir.path(), 3, 3);
    spoil(&field_path(dir.path(), 1));
    let out = dir.path().join("crops.zarr");
    preprocess(&manifest, &out, &[]).expect(0, &[]);
    let failures = fs::read_to_string(out.join("failures.csv")).unwrap();
    assert_eq!(failures.lines().count(), 2, "{failures}");
    for word in ["f1", "P1", "f1.ome.tif"].iter().chain(words) {
        assert!(failures.contains(word), "no `{word}` in: {failures}");
    }
    let table = fs::read_to_string(out.join("table.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 18, "{table}");

    // Nothing else in the manifest: the same reason is the error.
    let lines = fs::read_to_string(&manifest).unwrap();
    let kept: Vec<&str> = [0, 2].map(|i| lines.lines().nth(i).unwrap()).to_vec();
    fs::write(&manifest, kept.join("\n")).unwrap();
    let only = dir.path().join("only.zarr");
    let failed = preprocess(&manifest, &only, &[]);
    failed.expect(2, words);
    failed.expect(2, &["f1.ome.tif", "1 fields failed"]);
    assert!(!only.exists());
}

#[test]
fn a_truncated_tiff_is_a_row_of_failures() {
    with_broken_field(
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
        },
        &["page 1", "expected", "found", "truncated"],
    );
}

#[test]
fn a_wrong_channel_count_is_a_row_of_failures() {
    let spoil = |path: &Path| {
        let stack = Array4::<u16>::from_elem((3, 1, 60, 60), 7);
        write_ome_tiff(path, stack.view(), &OmeTiff::new(&["a", "b", "c"])).unwrap();
    };
    with_broken_field(spoil, &["expected", "2", "found", "3", "channels"]);
}

#[test]
fn pixels_that_are_no_numbers_are_a_row_of_failures() {
    let spoil = |path: &Path| {
        let mut stack = vec![1.0f32; 2 * 60 * 60];
        stack[60 * 60 + 7 * 60 + 11] = f32::NAN;
        float_tiff(path, &stack, [60, 60]);
    };
    with_broken_field(spoil, &["channel pro", "row 7", "column 11", "NaN"]);
}

/// A plain TIFF of floating-point pages.
fn float_tiff(path: &Path, values: &[f32], [h, w]: [u32; 2]) {
    let page = (h * w) as usize;
    let pages = values.len() / page;
    let mut bytes: Vec<u8> = b"II*\0".to_vec();
    let entries = |offset: u32, description: u32| {
        [
            (256u16, 4u16, w),
            (257, 4, h),
            (258, 3, 32),
            (259, 3, 1),
            (262, 3, 1),
            (270, 2, description),
            (273, 4, offset),
            (277, 3, 1),
            (278, 4, h),
            (279, 4, h * w * 4),
            (339, 3, 3),
        ]
    };
    // Without axes the pages would be slices.
    let text = b"ImageJ=1.53\nimages=2\nchannels=2\n\0";
    let directory = 2 + 11 * 12 + 4;
    let data = 8 + pages * directory;
    bytes.extend(8u32.to_le_bytes());
    for i in 0..pages {
        let entries = entries(
            (data + i * page * 4) as u32,
            (data + values.len() * 4) as u32,
        );
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            let count = if tag == 270 { text.len() as u32 } else { 1 };
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let next = if i + 1 < pages {
            8 + (i + 1) * directory
        } else {
            0
        };
        bytes.extend((next as u32).to_le_bytes());
    }
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes.extend(text);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_manifest_without_fields_or_columns() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("manifest.csv");
    let out = dir.path().join("crops.zarr");
    let cases: [(&str, &[&str]); 4] = [
        ("", &["manifest.csv", "header"]),
        (
            "path,protein\n",
            &["rows", "at least one field", "found none"],
        ),
        ("file,protein\na.tif,A\n", &["column path", "file"]),
        ("path,protein\n,A\n", &["row 0", "column path"]),
    ];
    for (content, words) in cases {
        fs::write(&manifest, content).unwrap();
        let run = preprocess(&manifest, &out, &[]);
        refused(&run, 2, words, dir.path(), &["manifest.csv"]);
    }
    fs::remove_file(&manifest).unwrap();
    let run = preprocess(&manifest, &out, &[]);
    refused(&run, 2, &["manifest.csv", "No such file"], dir.path(), &[]);
}

#[test]
fn a_protein_with_one_field_is_trained_on_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(&dir.path().join("fields"), 6, 1);
    let proteins = ["P0", "P0", "P0", "P1", "P2", "P2"];
    let lines = fs::read_to_string(&manifest).unwrap();
    let lines: Vec<String> = lines
        .lines()
        .enumerate()
        .map(|(i, l)| {
            if i > 0 {
                l.replace("P0", proteins[i - 1])
            } else {
                l.into()
            }
        })
        .collect();
    fs::write(&manifest, lines.join("\n")).unwrap();
    let out = dir.path().join("crops.zarr");
    let arguments = [
        "--manifest",
        &text(&manifest),
        "--out",
        &text(&out),
        "--crop-size",
        "40",
        "--downsample",
        "1",
    ];
    run("preprocess", arguments).expect(
        0,
        &[
            "1 proteins with two fields only, none of them in validation: P2",
            "1 proteins with one field only, in training alone: P1",
        ],
    );
    let table = fs::read_to_string(out.join("table.csv")).unwrap();
    let of = |protein: &str, split: &str| {
        table
            .lines()
            .filter(|l| l.contains(&format!(",{protein},")) && l.contains(&format!(",{split},")))
            .count()
    };
    assert_eq!((of("P1", "train"), of("P2", "train")), (9, 9));
    assert_eq!((of("P0", "val"), of("P2", "test")), (9, 9));
    let model = dir.path().join("model");
    run("train", train_flags(&out, &model, &["--epochs", "1"])).expect(0, &["3 proteins"]);

    // With that protein alone there is nothing to validate on.
    let kept = [&lines[0], &lines[4]].map(String::as_str);
    fs::write(&manifest, kept.join("\n")).unwrap();
    let only = dir.path().join("only.zarr");
    preprocess(&manifest, &only, &[]).expect(0, &[]);
    let model = dir.path().join("model_of_one");
    run("train", train_flags(&only, &model, &[]))
        .expect(2, &["split val", "found none", "split.csv"]);
    assert!(!model.exists());
}

/// cytoself's own layout with one crop that holds a NaN.
fn crops_with_nan(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let label = |n: usize| {
        (0..n)
            .map(|i| format!("E,A,,,,A,{}\n", i / 4))
            .collect::<String>()
    };
    for channel in ["pro", "nucdist"] {
        let mut images = Array3::from_shape_fn((12, 40, 40), |(n, y, x)| {
            ((n * 7 + y * 3 + x) % 13) as f32 / 13.0
        });
        if channel == "pro" {
            images[[5, 3, 9]] = f32::NAN;
        }
        npy::write(&folder.join(format!("A_{channel}.npy")), &images).unwrap();
    }
    let header = "ensg,name,loc_grade1,loc_grade2,loc_grade3,protein_id,FOV_id\n";
    fs::write(folder.join("labels.csv"), format!("{header}{}", label(12))).unwrap();
}

#[test]
fn crops_that_are_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    crops_with_nan(&data);
    let words = ["A_pro.npy", "row 5", "y 3", "x 9", "NaN"];
    let model = dir.path().join("model");
    run("train", train_flags(&data, &model, &["--epochs", "1"])).expect(2, &words);
    let out = dir.path().join("out.zarr");
    embed(&data, &Good::get().model(), &out).expect(2, &words);
    assert!(!out.exists());
    let arguments = ["--from", &text(&data), "--to", &text(&out)];
    run("convert", arguments).expect(2, &["NaN"]);
    assert!(!out.exists(), "{:?}", names(dir.path()));
}

#[test]
fn arrays_that_are_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let mut x = Array2::from_shape_fn((30, 4), |(i, j)| ((i * 7 + j * 5) % 11) as f32);
    x[[12, 3]] = f32::NAN;
    npy::write(&dir.path().join("x.npy"), &x).unwrap();
    npy::write(&dir.path().join("c.npy"), &Array2::<f32>::ones((5, 4))).unwrap();
    fs::write(dir.path().join("l.txt"), "a\nb\n".repeat(15)).unwrap();
    let left = ["c.npy", "l.txt", "x.npy"];
    let cases: [(&str, Vec<String>); 4] = [
        (
            "umap",
            ["--input", &at("x.npy"), "--output", &at("y.npy")]
                .map(String::from)
                .to_vec(),
        ),
        (
            "quantize",
            [
                "--vectors",
                &at("x.npy"),
                "--codebook",
                &at("c.npy"),
                "--split",
                "1",
                "--output",
                &at("i.npy"),
            ]
            .map(String::from)
            .to_vec(),
        ),
        (
            "biclust",
            ["--histograms", &at("x.npy"), "--output", &at("b")]
                .map(String::from)
                .to_vec(),
        ),
        (
            "score",
            ["--coordinates", &at("x.npy"), "--labels", &at("l.txt")]
                .map(String::from)
                .to_vec(),
        ),
    ];
    for (name, arguments) in cases {
        let run = run(name, arguments);
        refused(&run, 2, &["x.npy", "row 12", "NaN"], dir.path(), &left);
    }
}

#[test]
fn a_store_of_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let good = Good::get();
    let newer = |from: &Path, name: &str| {
        let to = dir.path().join(name);
        copy(from, &to);
        let path = to.join("zarr.json");
        let json = fs::read_to_string(&path).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let attributes = &mut value["attributes"];
        if attributes.get("format_version").is_some() {
            attributes["format_version"] = 9.into();
        } else {
            attributes["cytoself"]["format_version"] = 9.into();
        }
        fs::write(&path, value.to_string()).unwrap();
        to
    };
    let store = newer(&good.crops(), "crops.zarr");
    let words = ["crops.zarr", "version 9", "reads version 1"];
    let out = dir.path().join("out");
    run("train", train_flags(&store, &out, &[])).expect(2, &words);
    embed(&store, &good.model(), &out).expect(2, &words);
    for name in ["merge", "convert"] {
        let arguments = match name {
            "merge" => vec![text(&store), "--out".into(), text(&out)],
            _ => vec!["--from".into(), text(&store), "--to".into(), text(&out)],
        };
        run(name, arguments).expect(2, &words);
    }
    let store = newer(&good.embeddings(), "embeddings.zarr");
    let words = ["embeddings.zarr", "version 9", "reads version 1"];
    for name in ["atlas", "spectrum", "evaluate"] {
        let arguments = ["--embeddings", &text(&store), "--out", &text(&out)];
        run(name, arguments).expect(2, &words);
    }
    assert_eq!(names(dir.path()), ["crops.zarr", "embeddings.zarr"]);
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in fixture::contents(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn an_existing_output_is_not_touched() {
    let good = Good::get();
    let before = fixture::contents(&good.embeddings());
    embed(&good.crops(), &good.model(), &good.embeddings()).expect(2, &["--overwrite"]);
    let manifest = good.folder.path().join("fields/manifest.csv");
    preprocess(&manifest, &good.crops(), &[]).expect(2, &["--overwrite"]);
    run("train", train_flags(&good.crops(), &good.model(), &[])).expect(2, &["--overwrite"]);
    assert!(before == fixture::contents(&good.embeddings()));
}

#[cfg(unix)]
mod full_disk {
    use std::process::Command;

    use cytoself_tests::binary;

    use super::*;

    /// Runs a binary that may not write more than `blocks` of 512 bytes into any file.
    fn limited(blocks: usize, name: &str, arguments: &[String]) -> Run {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        Command::new("sh")
            .args(["-c", &script])
            .arg(binary(name))
            .args(arguments)
            .output()
            .unwrap()
            .into()
    }

    /// Runs a binary with a file system of `kib` at `folder`; `None` where namespaces are not allowed.
    fn on_small_disk(folder: &Path, kib: usize, name: &str, arguments: &[String]) -> Option<Run> {
        // The listing tells what is left on the file system, which is gone with the process.
        let script = format!(
            "mount -t tmpfs -o size={kib}k none {0} || exit 77; \"$0\" \"$@\"; code=$?; ls -A {0} | sed 's/^/left: /' >&2; exit $code",
            folder.display()
        );
        let run: Run = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(binary(name))
            .args(arguments)
            .output()
            .ok()?
            .into();
        let allowed = !matches!(run.code, Some(77 | 125..=127)) && !run.stderr.contains("unshare");
        if !allowed {
            println!(
                "skipped: no file system can be mounted here ({})",
                run.stderr.trim()
            );
        }
        allowed.then_some(run)
    }

    /// What each stage writes to, with arguments that write to `out`; the atlas adds its map to `embeddings`.
    fn stages(out: &Path, embeddings: &Path) -> [(&'static str, Vec<String>); 4] {
        let good = Good::get();
        copy(&good.embeddings(), embeddings);
        let manifest = good.folder.path().join("fields/manifest.csv");
        let mut preprocess = ["--manifest", &text(&manifest), "--out", &text(out)]
            .map(String::from)
            .to_vec();
        preprocess.extend(fixture::PREPROCESS.map(String::from));
        let atlas = ["--embeddings", &text(embeddings), "--out", &text(out)]
            .map(String::from)
            .to_vec();
        [
            ("preprocess", preprocess),
            (
                "train",
                train_flags(&good.crops(), out, &["--epochs", "1", "--quiet"]),
            ),
            ("embed", embed_flags(&good.crops(), &good.model(), out)),
            ("atlas", atlas),
        ]
    }

    /// Nothing of the map is there unless all of it is.
    fn no_map_in(embeddings: &Path) {
        let left: Vec<String> = fixture::contents(embeddings)
            .into_iter()
            .map(|f| f.0)
            .filter(|name| name.contains("X_umap"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_file_that_may_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let other = tempfile::tempdir().unwrap();
        let embeddings = other.path().join("embeddings.zarr");
        for (name, arguments) in stages(&out, &embeddings) {
            let run = limited(2, name, &arguments);
            run.expect(1, &["File too large"]);
            let places = [&out.with_file_name(""), &embeddings].map(|p| text(p));
            assert!(
                places.iter().any(|p| run.last_line().contains(p)),
                "{}",
                run.stderr
            );
            assert!(!out.exists(), "{name}: {:?}", names(dir.path()));
            let left: Vec<String> = names(dir.path())
                .into_iter()
                .filter(|n| name != "preprocess" || n != ".out.parts")
                .collect();
            assert!(left.is_empty(), "{name} left {left:?}");
            let _ = fs::remove_dir_all(dir.path().join(".out.parts"));
        }
        no_map_in(&embeddings);
    }

    #[test]
    fn no_space_left() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let other = tempfile::tempdir().unwrap();
        let embeddings = other.path().join("embeddings.zarr");
        for (name, arguments) in stages(&out, &embeddings) {
            let Some(run) = on_small_disk(dir.path(), 24, name, &arguments) else {
                return;
            };
            run.expect(1, &["No space left on device"]);
            let left: Vec<&str> = run
                .stderr
                .lines()
                .filter_map(|l| l.strip_prefix("left: "))
                .filter(|n| *n != ".out.parts")
                .collect();
            assert!(left.is_empty(), "{name} left {left:?}");
        }
    }
}

#[cfg(unix)]
mod interrupt {
    use cytoself_tests::{signal, start, wait_until};

    use super::*;

    #[test]
    fn preprocess_keeps_finished_fields() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = fields(&dir.path().join("fields"), 24, 2);
        let out = dir.path().join("crops.zarr");
        let parts = dir.path().join(".crops.zarr.parts");
        let mut arguments = ["--manifest", &text(&manifest), "--out", &text(&out)]
            .map(String::from)
            .to_vec();
        arguments.extend(fixture::PREPROCESS.map(String::from));
        arguments.extend(["--threads", "1"].map(String::from));
        let mut child = start("preprocess", &arguments);
        assert!(wait_until(&mut child, || parts.join("1.json").exists()));
        let run = signal(child, "INT");
        run.expect(130, &["interrupted", "of 24 fields are kept", "--resume"]);
        assert_eq!(names(dir.path()), [".crops.zarr.parts", "fields"]);
        arguments.push("--resume".into());
        cytoself_tests::run("preprocess", &arguments).expect(0, &[]);
        assert_eq!(names(dir.path()), ["crops.zarr", "fields"]);
    }

    #[test]
    fn train_keeps_a_state_to_resume_from() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("model");
        let flags = train_flags(&Good::get().crops(), &out, &["--epochs", "400"]);
        let mut child = start("train", flags);
        assert!(wait_until(&mut child, || out.join("history.csv").exists()));
        let run = signal(child, "INT");
        run.expect(130, &["interrupted", "--resume"]);
        assert_eq!(names(dir.path()), ["model"]);
        assert!(!names(&out).iter().any(|n| n.contains("partial")));
    }

    #[test]
    fn embed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let good = Good::get();
        let data = dir.path().join("crops.zarr");
        // Enough crops that the signal comes in the middle.
        let store = crops(&dir.path().join("more"), 60, 2);
        fs::rename(&store, &data).unwrap();
        fs::remove_dir_all(dir.path().join("more")).unwrap();
        let out = dir.path().join("embeddings.zarr");
        let mut flags = embed_flags(&data, &good.model(), &out);
        flags.extend(["--threads", "1", "--batch-size", "1"].map(String::from));
        let mut child = start("embed", flags);
        let started = || names(dir.path()).iter().any(|n| n.contains("partial"));
        assert!(wait_until(&mut child, started));
        let run = signal(child, "INT");
        run.expect(130, &["interrupted"]);
        assert_eq!(names(dir.path()), ["crops.zarr"]);
    }
}
