//! The CUDA kernels, compiled as C++ and run thread by thread on the processor, against the scalar reference.
//!
//! Skipped where there is no C++ compiler. It checks indices, barriers and the layout of the tensor-core fragments; speed and the
//! hardware's own arithmetic it cannot.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

use cytoself_vq::{
    Codebook, NearestCode, ScalarSearch, SearchOutput, Vectors, codebook_gradient,
    commitment_gradient, histograms,
};

const VARIANTS: [&str; 4] = ["f32", "tf32x3", "tf32", "bf16"];

fn compile(folder: &Path) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        eprintln!("skipped: no C++ compiler ({compiler}); set CXX");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulation/harness.cpp");
    let program = folder.join("harness");
    let arguments = [
        "-std=c++17",
        "-O1",
        "-U_FORTIFY_SOURCE",
        "-ffp-contract=off",
        "-w",
        "-x",
        "c++",
    ];
    let result = Command::new(compiler)
        .args(arguments)
        .arg(source)
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
    Some(program)
}

/// One case: the shape of the batch, the codes, the number of splits of the codebook.
struct Case {
    images: usize,
    split: usize,
    positions: usize,
    dim: usize,
    codes: usize,
    splits: usize,
    last: bool,
    scale: f32,
}

impl Case {
    fn check(&self, program: &Path, folder: &Path, variant: usize) {
        let Self {
            images,
            split,
            positions,
            dim,
            codes,
            splits,
            last,
            scale,
        } = *self;
        let noise =
            |n: usize, seed: u64| Codebook::uniform(n, 1, seed).unwrap().as_slice().to_vec();
        let data: Vec<f32> = noise(images * split * positions * dim, 1)
            .iter()
            .map(|v| v * scale)
            .collect();
        let mut weights: Vec<f32> = noise(codes * dim, 2).iter().map(|v| v * scale).collect();
        // Two codes alike: their ties go to the lower one.
        weights.copy_within(0..dim, (codes - 1) * dim);
        let codebook = Codebook::new(weights, codes, dim).unwrap();
        let (vectors, strides) = if last {
            (
                Vectors::channels_last(&data, images, split, dim, positions).unwrap(),
                [split * dim, 1],
            )
        } else {
            (
                Vectors::planes(&data, images, split, dim, positions).unwrap(),
                [1, positions],
            )
        };

        let header = [
            vectors.len(),
            split,
            positions,
            dim,
            codes,
            strides[0],
            strides[1],
            splits,
            variant,
            images,
        ];
        let mut bytes: Vec<u8> = header
            .iter()
            .flat_map(|&v| (v as u32).to_le_bytes())
            .collect();
        bytes.extend(
            data.iter()
                .chain(codebook.as_slice())
                .flat_map(|v| v.to_le_bytes()),
        );
        let (input, output) = (folder.join("case.in"), folder.join("case.out"));
        std::fs::write(&input, bytes).unwrap();
        let status = Command::new(program)
            .arg(&input)
            .arg(&output)
            .status()
            .unwrap();
        assert!(status.success());
        let found = std::fs::read(&output).unwrap();
        let mut words = found
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()));
        let mut take = |n: usize| words.by_ref().take(n).collect::<Vec<u32>>();
        let name = format!(
            "{} with {splits} splits, d {dim}, k {codes}",
            VARIANTS[variant]
        );

        let mut indices = vec![0; vectors.len()];
        let mut distances = vec![0.0; vectors.len()];
        let mut quantized = vec![0.0; data.len()];
        let expected = SearchOutput {
            indices: &mut indices,
            squared_distances: &mut distances,
            quantized: Some(&mut quantized),
        };
        ScalarSearch::new(codebook.clone())
            .search(&vectors, expected)
            .unwrap();
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(take(1), [0], "{name}: no vector is bad");
        assert_eq!(take(indices.len()), indices, "{name}: indices");
        assert_eq!(take(distances.len()), bits(&distances), "{name}: distances");
        assert_eq!(
            take(data.len()),
            bits(&quantized),
            "{name}: quantised vectors"
        );
        assert_eq!(
            take(images * codes),
            histograms(&indices, images, codes).unwrap(),
            "{name}: histogram"
        );
        assert_eq!(
            take(codes),
            histograms(&indices, 1, codes).unwrap(),
            "{name}: counts"
        );
        let into_codes = codebook_gradient(&vectors, &indices, &codebook, 0.25).unwrap();
        assert_eq!(
            take(codes * dim),
            bits(&into_codes),
            "{name}: codebook gradient"
        );
        let into_z = commitment_gradient(&vectors, &indices, &codebook, 0.25).unwrap();
        assert_eq!(
            take(data.len()),
            bits(&into_z),
            "{name}: commitment gradient"
        );
    }
}

#[test]
fn kernels_give_the_answer_of_the_reference() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_emulation");
    std::fs::create_dir_all(&folder).unwrap();
    let Some(program) = compile(&folder) else {
        return;
    };
    let case = |images, split, positions, dim, codes, splits| Case {
        images,
        split,
        positions,
        dim,
        codes,
        splits,
        last: false,
        scale: 1.0,
    };
    let cases = [
        case(2, 2, 25, 20, 300, 1),
        case(1, 3, 30, 16, 130, 2),
        case(1, 1, 70, 70, 140, 3), // more components than stay in shared memory
        Case {
            last: true,
            ..case(2, 3, 11, 9, 40, 1)
        },
        Case {
            scale: 1e15,
            ..case(1, 1, 20, 5, 33, 1)
        }, // scores near the largest float
        Case {
            scale: 1e-30,
            ..case(1, 1, 20, 5, 33, 1)
        },
        case(65, 1, 1, 1, 1, 1),
    ];
    for case in &cases {
        for variant in 0..VARIANTS.len() {
            case.check(&program, &folder, variant);
        }
    }
}
