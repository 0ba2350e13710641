//! The host side of the CUDA search, on a GPU where there is one and on an emulated driver everywhere, against the processor.
#![cfg(feature = "cuda")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cytoself_vq::cuda::{CudaDevice, CudaPrecision, CudaSearch, DeviceVectors, KernelOrigin};
use cytoself_vq::{
    CodeSums, Codebook, CpuSearch, EmaParams, MovingAverage, NearestCode, SplitQuantizer, Vectors,
    VqError, codebook_gradient, commitment_gradient,
};

fn noise(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    let values = Codebook::uniform(count.max(1), 1, seed).unwrap();
    let unit = (count.max(1) as f32 / 3.0).sqrt();
    values.as_slice()[..count]
        .iter()
        .map(|v| v * unit * scale)
        .collect()
}

/// Images, split, positions, components, codes, channels last, scale.
type Case = (usize, usize, usize, usize, usize, bool, f32);

const SMALL: [Case; 8] = [
    (2, 2, 25, 20, 300, false, 1.0),
    (1, 3, 30, 16, 130, false, 1.0),
    (13, 1, 64, 8, 40, false, 1.0),
    (1, 1, 70, 70, 140, false, 1.0), // more components than stay in shared memory
    (2, 3, 11, 9, 40, true, 1.0),
    (1, 1, 20, 5, 33, false, 1e17), // scores near the largest float
    (1, 1, 20, 5, 33, false, 1e-30),
    (65, 1, 1, 1, 1, false, 1.0),
];

/// The paper's sizes and others that an emulation is too slow for.
const LARGE: [Case; 8] = [
    (1, 1, 625, 64, 2048, false, 1.0),
    (16, 1, 625, 64, 2048, false, 1.0),
    (64, 9, 16, 64, 2048, false, 1.0),
    (64, 9, 16, 64, 2048, true, 1.0),
    (256, 1, 625, 64, 2048, false, 0.05),
    (4, 1, 625, 128, 512, false, 1.0),
    (3, 9, 16, 100, 5000, false, 1.0),
    (5, 2, 77, 33, 777, true, 3.0),
];

/// Compares everything that a GPU computes with the processor, bit for bit.
fn check(device: &Arc<CudaDevice>, case: Case, precision: CudaPrecision) {
    let (images, split, positions, dim, codes, last, scale) = case;
    let data = noise(images * split * positions * dim, 1, scale);
    let mut weights = noise(codes * dim, 2, scale);
    // Two codes alike: their ties go to the lower one.
    weights.copy_within(0..dim, (codes - 1) * dim);
    let codebook = Codebook::new(weights, codes, dim).unwrap();
    let layout = if last {
        Vectors::channels_last
    } else {
        Vectors::planes
    };
    let vectors = layout(&data, images, split, dim, positions).unwrap();
    let expected = SplitQuantizer::new(codebook.clone(), split)
        .unwrap()
        .quantize(&vectors)
        .unwrap();

    let search = CudaSearch::new(Arc::clone(device), codebook.clone(), precision).unwrap();
    let there = DeviceVectors::new(device, &vectors).unwrap();
    let mut codes_there = search.reserve(&there, true, true).unwrap();
    // Twice into the same memory: nothing may be left over.
    for _ in 0..2 {
        search.enqueue(&there, &mut codes_there).unwrap();
    }
    let found = search.download(&codes_there, &vectors).unwrap();
    let name = format!("{case:?} {precision} in {} splits", codes_there.splits());
    assert_eq!(found, expected, "{name}");

    let indices = search.nearest(&vectors).unwrap();
    assert_eq!(indices, expected.indices, "{name}: as a NearestCode");
    let sums = search.code_sums(&there, &codes_there).unwrap();
    assert_eq!(
        sums,
        CodeSums::new(&vectors, &indices, codes).unwrap(),
        "{name}: sums"
    );
    let gradient = search.codebook_gradient(&there, &codes_there, 0.3).unwrap();
    let on_processor = codebook_gradient(&vectors, &indices, &codebook, 0.3).unwrap();
    assert_eq!(gradient, on_processor, "{name}: codebook gradient");
    let gradient = search
        .commitment_gradient(&there, &codes_there, 0.3)
        .unwrap();
    let on_processor = commitment_gradient(&vectors, &indices, &codebook, 0.3).unwrap();
    assert_eq!(gradient, on_processor, "{name}: commitment gradient");
    if scale < 1e6 {
        let mut averages =
            [(); 2].map(|()| MovingAverage::new(&codebook, EmaParams::default()).unwrap());
        let [here, on_gpu] = &mut averages;
        let here = here.update(&vectors, &indices).unwrap();
        assert_eq!(
            on_gpu.update_with(&sums, &vectors).unwrap(),
            here,
            "{name}: average"
        );
    }
}

fn check_errors(device: &Arc<CudaDevice>) {
    let codebook = Codebook::new(noise(20 * 4, 1, 1.0), 20, 4).unwrap();
    let search = CudaSearch::new(Arc::clone(device), codebook.clone(), CudaPrecision::F32).unwrap();
    let mut data = noise(2 * 3 * 4 * 30, 2, 1.0);
    data[((3 + 2) * 4) * 30 + 5] = f32::INFINITY; // image 1, chunk 2, component 0, position 5
    data[(3 * 4 + 3) * 30 + 29] = f32::NAN; // image 1, chunk 0, component 3, position 29
    let vectors = Vectors::planes(&data, 2, 3, 4, 30).unwrap();
    let on_gpu = search.nearest(&vectors).unwrap_err();
    let here = CpuSearch::new(codebook).nearest(&vectors).unwrap_err();
    assert_eq!(on_gpu.to_string(), here.to_string());
    assert!(matches!(on_gpu, VqError::NonFiniteVector { row: 1, .. }));

    let wide = Vectors::rows(&[0.0; 8], 1, 1, 8).unwrap();
    assert!(matches!(
        search.nearest(&wide),
        Err(VqError::Dimension { .. })
    ));
    let none = Vectors::rows(&[], 0, 1, 4).unwrap();
    assert!(search.nearest(&none).unwrap().is_empty());
    let there = DeviceVectors::new(device, &none).unwrap();
    let mut out = search.reserve(&there, true, true).unwrap();
    search.enqueue(&there, &mut out).unwrap();
    assert!(search.download(&out, &none).unwrap().indices.is_empty());
    assert!(matches!(
        CudaDevice::new(99, None),
        Err(VqError::NoCudaDevice { ordinal: 99, .. })
    ));
}

/// The emulated driver as `libcuda.so` in `folder`.
fn build_driver(folder: &Path) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        println!("skipped: no C++ compiler ({compiler}); set CXX");
        return None;
    }
    std::fs::create_dir_all(folder).unwrap();
    let library = folder.join("libcuda.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulation/driver.cpp");
    let result = Command::new(compiler)
        .args("-std=c++17 -O1 -U_FORTIFY_SOURCE -ffp-contract=off -w -shared -fPIC".split(' '))
        .arg(source)
        .arg("-o")
        .arg(&library)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{messages}");
    Some(library)
}

/// Runs the ignored test below with the emulated driver in the place of the real one.
#[test]
#[cfg(target_os = "linux")]
fn the_emulated_driver_gives_the_answer_of_the_processor() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_host");
    if build_driver(&folder).is_none() {
        return;
    }
    let cache = folder.join("cache");
    let _ = std::fs::remove_dir_all(&cache);
    let mut libraries = folder.into_os_string();
    if let Some(more) = std::env::var_os("LD_LIBRARY_PATH") {
        libraries.push(":");
        libraries.push(more);
    }
    let result = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "inside_the_emulation",
            "--ignored",
            "--nocapture",
        ])
        .env("LD_LIBRARY_PATH", libraries)
        .env("CYTOSELF_EMULATED_CACHE", cache)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&result.stdout);
    let messages = String::from_utf8_lossy(&result.stderr);
    assert!(
        result.status.success() && text.contains("1 passed"),
        "{text}\n{messages}"
    );
}

#[test]
#[ignore = "only with the emulated driver, by the test above"]
fn inside_the_emulation() {
    let cache = PathBuf::from(std::env::var_os("CYTOSELF_EMULATED_CACHE").unwrap());
    let device = Arc::new(CudaDevice::new(0, Some(&cache)).unwrap());
    assert_eq!(
        (device.name(), device.capability()),
        ("emulated GPU", (9, 0))
    );
    match device.kernel_origin() {
        KernelOrigin::CheckedIn => println!("NVRTC is not installed"),
        KernelOrigin::Compiled => {
            let again = CudaDevice::new(0, Some(&cache)).unwrap();
            let KernelOrigin::Cached(file) = again.kernel_origin() else {
                panic!("the cache was not used: {:?}", again.kernel_origin());
            };
            // What is no PTX is compiled again.
            std::fs::write(file, "half a file").unwrap();
            let third = CudaDevice::new(0, Some(&cache)).unwrap();
            assert_eq!(third.kernel_origin(), &KernelOrigin::Compiled);
        }
        other => panic!("an empty cache gave {other:?}"),
    }
    check_errors(&device);
    for case in SMALL {
        for precision in CudaPrecision::ALL {
            check(&device, case, precision);
        }
    }
}

#[test]
fn a_gpu_gives_the_answer_of_the_processor() {
    let device = match CudaDevice::new(0, None) {
        Ok(device) => Arc::new(device),
        Err(error) => {
            println!("skipped: {error}");
            assert!(!error.to_string().contains('\n'));
            return;
        }
    };
    println!("on {}, kernels {:?}", device.name(), device.kernel_origin());
    check_errors(&device);
    for case in SMALL.into_iter().chain(LARGE) {
        for precision in CudaPrecision::ALL {
            check(&device, case, precision);
            println!("{case:?} {precision}: equal");
        }
    }
}

#[test]
fn a_precision_is_read_from_its_name() {
    for precision in CudaPrecision::ALL {
        assert_eq!(
            precision.to_string().parse::<CudaPrecision>().unwrap(),
            precision
        );
    }
    let error = "fp64".parse::<CudaPrecision>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "precision = fp64: expected f32, tf32x3, tf32 or bf16"
    );
}
