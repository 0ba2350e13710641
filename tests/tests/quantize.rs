//! `quantize` as a user runs it.

use std::path::{Path, PathBuf};

use cytoself_io::npy;
use cytoself_tests::run;
use ndarray::{Array2, array};

/// Two rows of two chunks and three codes, of which the last is a copy of the first.
fn files(folder: &Path, z: &Array2<f32>) -> [PathBuf; 4] {
    let paths = ["z.npy", "c.npy", "i.npy", "h.npy"].map(|name| folder.join(name));
    let codes: Array2<f32> = array![[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
    npy::write(&paths[0], &z.view()).unwrap();
    npy::write(&paths[1], &codes.view()).unwrap();
    paths
}

fn quantize([z, c, i, h]: &[PathBuf; 4], more: &[&str]) -> cytoself_tests::Run {
    let arguments = [
        ("--vectors", z),
        ("--codebook", c),
        ("--output", i),
        ("--histogram", h),
    ];
    let flags = arguments
        .iter()
        .flat_map(|(flag, path)| [flag.to_string(), path.display().to_string()]);
    let more = ["--split", "2"].iter().chain(more).map(|a| a.to_string());
    run("quantize", flags.chain(more))
}

#[test]
fn nearest_codes_with_ties_to_the_lowest() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(
        folder.path(),
        &array![[0.1, 0.2, 0.9, 1.0], [0.5, 0.5, 0.0, 0.0]],
    );
    let run = quantize(&paths, &[]);
    run.expect(0, &[]);
    assert!(run.stdout.contains("vectors/s"), "{}", run.stdout);
    let values = |path| npy::read_f32(path).unwrap().into_raw_vec_and_offset().0;
    assert_eq!(values(&paths[2]), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(values(&paths[3]), [1.0, 1.0, 0.0, 2.0, 0.0, 0.0]);
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(
        folder.path(),
        &array![[0.1, 0.2, 0.9, 1.0], [0.5, 0.5, 0.0, f32::NAN]],
    );
    let run = quantize(&paths, &[]);
    run.expect(2, &["z.npy", "row 1", "chunk 1", "component 1", "NaN"]);
    assert!(!paths[2].exists(), "no output is left behind");
}

#[test]
fn a_device_that_is_not_there_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(folder.path(), &array![[0.1, 0.2, 0.9, 1.0]]);
    for (device, words) in [
        ("gpu", ["expected cpu, cuda or cuda:K", "gpu"]),
        ("cuda:x", ["expected cpu, cuda or cuda:K", "cuda:x"]),
        // Far beyond the GPUs of any machine, whether or not this one has CUDA or the program was built with it.
        ("cuda:4096", ["--device cuda:4096", "cuda"]),
    ] {
        let run = quantize(&paths, &["--device", device]);
        run.expect(2, &words);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
