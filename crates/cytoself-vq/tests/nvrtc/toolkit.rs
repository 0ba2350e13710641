//! NVRTC from PyPI (25 MB, once, into the target folder), run by Python. Included by the tests of every crate that has kernels.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest NVRTC that fits: its PTX (8.0) is read by every driver since 525, of the end of 2022.
const NVRTC: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";

/// Ampere, whose PTX is checked in, and Hopper.
pub const ARCHITECTURES: [&str; 2] = ["compute_80", "compute_90"];

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

/// The PTX of `source` for each of [`ARCHITECTURES`]; `None`, with a line that says why, without Python, pip or a network.
pub fn compile(source: &Path) -> Option<[String; 2]> {
    let folder = match nvrtc() {
        Ok(folder) => folder,
        Err(reason) => {
            let reason = reason.lines().last().unwrap_or_default();
            println!("skipped: {NVRTC} cannot be installed: {reason}");
            return None;
        }
    };
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../cytoself-vq/tests/nvrtc/compile.py");
    let name = source.with_extension("ptx");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.file_name().unwrap());
    let paths = [&script, source, &output, &folder].map(|p| p.to_string_lossy());
    let mut arguments: Vec<&str> = paths.iter().map(|p| p.as_ref()).collect();
    arguments.extend(ARCHITECTURES);
    python(&arguments).unwrap_or_else(|error| panic!("{error}"));
    Some(ARCHITECTURES.map(|architecture| {
        let file = format!("{}.{architecture}", output.display());
        std::fs::read_to_string(file).unwrap()
    }))
}

/// Asserts that the checked-in PTX is what the kernels compile to; writes it first if `CYTOSELF_UPDATE_PTX` is set.
pub fn check_current(checked_in: &Path, compiled: &str, test: &str) {
    if std::env::var_os("CYTOSELF_UPDATE_PTX").is_some() {
        std::fs::write(checked_in, compiled).unwrap();
    }
    let current = std::fs::read_to_string(checked_in).unwrap();
    assert!(
        current.replace('\r', "") == compiled,
        "{} is older than the kernels; CYTOSELF_UPDATE_PTX=1 cargo test --workspace --test {test} writes it",
        checked_in.display()
    );
}
