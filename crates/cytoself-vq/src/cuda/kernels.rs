//! The text of the kernels, its compilation and where the result is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use super::at;
use crate::error::VqError;

const SOURCE: &str = include_str!("../kernels/split_quantize.cu");
/// [`SOURCE`] for compute capability 8.0, which every later GPU runs; `tests/nvrtc.rs` makes it and checks that it is current.
const CHECKED_IN: &str = include_str!("../kernels/split_quantize.ptx");

/// Where the kernels on a GPU come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelOrigin {
    /// An earlier compilation, from this file.
    Cached(PathBuf),
    /// Compiled by NVRTC just now.
    Compiled,
    /// The PTX that is part of this library: NVRTC is not installed, does not know the GPU, or is newer than the driver.
    CheckedIn,
}

/// Loads the kernels for a GPU of compute capability `major.minor`: from the cache, by NVRTC, or the checked-in PTX.
///
/// The cache is a folder; failing to read or to write it costs time and nothing else.
pub(super) fn load(
    context: &Arc<CudaContext>,
    (major, minor): (i32, i32),
    cache: Option<&Path>,
) -> Result<(Arc<CudaModule>, KernelOrigin), VqError> {
    let architecture = format!("compute_{major}{minor}");
    let file = cache.map(|folder| folder.join(file_name(&architecture)));
    if let Some(file) = &file
        && let Ok(text) = std::fs::read_to_string(file)
        && !text.contains('\0')
        && let Ok(module) = context.load_module(Ptx::from_src(text))
    {
        return Ok((module, KernelOrigin::Cached(file.clone())));
    }
    if let Some(Ok(ptx)) = compile(&architecture) {
        let text = ptx.to_src();
        if let Ok(module) = context.load_module(ptx) {
            if let Some(file) = &file {
                keep(file, &text);
            }
            return Ok((module, KernelOrigin::Compiled));
        }
    }
    let module = context
        .load_module(Ptx::from_src(CHECKED_IN))
        .map_err(at("loading the kernels"))?;
    Ok((module, KernelOrigin::CheckedIn))
}

/// The PTX of the kernels by NVRTC; `None` where it is not installed.
fn compile(architecture: &str) -> Option<Result<Ptx, CompileError>> {
    if !nvrtc_is_there() {
        return None;
    }
    let options = CompileOptions {
        name: Some("split_quantize.cu".into()),
        options: vec![format!("--gpu-architecture={architecture}")],
        ..CompileOptions::default()
    };
    Some(compile_ptx_with_opts(SOURCE, options))
}

fn nvrtc_is_there() -> bool {
    // SAFETY: opens a library of the CUDA toolkit, whose initialisation has no conditions.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Names a compilation by what it depends on.
fn file_name(architecture: &str) -> String {
    let hash = fnv1a(SOURCE.bytes().chain(architecture.bytes()));
    format!("split_quantize-{architecture}-{hash:016x}.ptx")
}

/// The hash FNV-1a, which unlike the standard library's is the same in every release.
///
/// # References
/// Fowler, Noll, Vo; IETF draft-eastlake-fnv.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Writes under a temporary name and renames, so that no other program reads half a file.
fn keep(file: &Path, text: &str) {
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = file
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&temporary, text))
        .and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        // Nothing is lost but the time of the next compilation.
        let _ = std::fs::remove_file(&temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_architecture_is_part_of_the_name() {
        assert_ne!(file_name("compute_80"), file_name("compute_90"));
    }

    #[test]
    fn the_checked_in_ptx_has_every_kernel() {
        for name in super::super::device::KERNELS {
            assert!(
                CHECKED_IN.contains(&format!(".visible .entry {name}(")),
                "{name}"
            );
        }
        assert!(CHECKED_IN.contains(".target sm_80"));
    }
}
