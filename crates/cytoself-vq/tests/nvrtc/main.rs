//! The CUDA kernels compile for the GPUs that they are meant for, and the PTX that is checked in is current.
//!
//! NVRTC comes from PyPI (25 MB, once, into the target folder). Without Python, pip or a network the test says that it is skipped.
//! After a change of the kernels, `CYTOSELF_UPDATE_PTX=1 cargo test --workspace --test nvrtc` writes the new PTX.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest NVRTC that fits: its PTX (8.0) is read by every driver since 525, of the end of 2022.
const NVRTC: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";

/// Ampere, whose PTX is checked in, and Hopper.
const ARCHITECTURES: [&str; 2] = ["compute_80", "compute_90"];

fn kernels(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/kernels")
        .join(file)
}

/// Runs Python; the error is why there is no result.
fn python(arguments: &[&str]) -> Result<(), String> {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&interpreter)
        .args(arguments)
        .output()
        .map_err(|error| format!("{interpreter}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
}

/// The folder that NVRTC is installed in.
fn nvrtc() -> Result<PathBuf, String> {
    python(&["--version"])?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(NVRTC.replace("==", "-"));
    if !folder.is_dir() {
        let temporary = folder.with_extension("tmp");
        let target = temporary.to_string_lossy();
        let install = "-m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --upgrade --target";
        let mut arguments: Vec<&str> = install.split(' ').collect();
        arguments.extend([&target, NVRTC]);
        python(&arguments)?;
        std::fs::rename(&temporary, &folder).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

#[test]
fn kernels_compile_and_the_checked_in_ptx_is_current() {
    let folder = match nvrtc() {
        Ok(folder) => folder,
        Err(reason) => {
            let reason = reason.lines().last().unwrap_or_default();
            println!("skipped: {NVRTC} cannot be installed: {reason}");
            return;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvrtc/compile.py");
    let source = kernels("split_quantize.cu");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("split_quantize.ptx");
    let paths = [&script, &source, &output, &folder].map(|p| p.to_string_lossy());
    let mut arguments: Vec<&str> = paths.iter().map(|p| p.as_ref()).collect();
    arguments.extend(ARCHITECTURES);
    python(&arguments).unwrap_or_else(|error| panic!("{error}"));

    let compiled = ARCHITECTURES.map(|architecture| {
        let file = format!("{}.{architecture}", output.display());
        std::fs::read_to_string(file).unwrap()
    });
    for (architecture, ptx) in ARCHITECTURES.iter().zip(&compiled) {
        assert_eq!(
            ptx.matches(".visible .entry").count(),
            10,
            "{architecture}: kernels"
        );
    }
    let checked_in = kernels("split_quantize.ptx");
    if std::env::var_os("CYTOSELF_UPDATE_PTX").is_some() {
        std::fs::write(&checked_in, &compiled[0]).unwrap();
    }
    let current = std::fs::read_to_string(&checked_in).unwrap();
    assert!(
        current.replace('\r', "") == compiled[0],
        "split_quantize.ptx is older than split_quantize.cu; CYTOSELF_UPDATE_PTX=1 cargo test --workspace --test nvrtc writes it"
    );
}
