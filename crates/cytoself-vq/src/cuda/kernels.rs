//! The text of the kernels, its compilation and where the result is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use super::at;
use crate::error::VqError;

/// CUDA source with the PTX that stands in for it where there is no compiler.
///
/// Header-free CUDA C++, compiled by NVRTC for the GPU at hand; the result is kept in a folder, named by a hash of the source.
#[derive(Debug, Clone, Copy)]
pub struct KernelSource {
    /// File name, for messages and for the cache.
    pub name: &'static str,
    /// The text.
    pub source: &'static str,
    /// The text compiled for compute capability 8.0, which every later GPU runs.
    pub checked_in: &'static str,
}

/// The kernels of this crate; `tests/nvrtc.rs` makes the PTX and checks that it is current.
pub(super) const SPLIT_QUANTIZE: KernelSource = KernelSource {
    name: "split_quantize",
    source: include_str!("../kernels/split_quantize.cu"),
    checked_in: include_str!("../kernels/split_quantize.ptx"),
};

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

impl KernelSource {
    /// Loads the kernels for a GPU of compute capability `major.minor`: from the cache, by NVRTC, or the checked-in PTX.
    ///
    /// The cache is a folder; failing to read or to write it costs time and nothing else.
    ///
    /// # Errors
    /// - [`VqError::Cuda`]: the driver refused even the checked-in PTX.
    pub fn load(
        &self,
        context: &Arc<CudaContext>,
        (major, minor): (i32, i32),
        cache: Option<&Path>,
    ) -> Result<(Arc<CudaModule>, KernelOrigin), VqError> {
        let architecture = format!("compute_{major}{minor}");
        let file = cache.map(|folder| folder.join(self.file_name(&architecture)));
        if let Some(file) = &file
            && let Ok(text) = std::fs::read_to_string(file)
            && !text.contains('\0')
            && let Ok(module) = context.load_module(Ptx::from_src(text))
        {
            return Ok((module, KernelOrigin::Cached(file.clone())));
        }
        if let Some(Ok(ptx)) = self.compile(&architecture) {
            let text = ptx.to_src();
            if let Ok(module) = context.load_module(ptx) {
                if let Some(file) = &file {
                    keep(file, &text);
                }
                return Ok((module, KernelOrigin::Compiled));
            }
        }
        let module = context
            .load_module(Ptx::from_src(self.checked_in))
            .map_err(at("loading the kernels"))?;
        Ok((module, KernelOrigin::CheckedIn))
    }

    /// The PTX of the kernels by NVRTC; `None` where it is not installed.
    fn compile(&self, architecture: &str) -> Option<Result<Ptx, CompileError>> {
        if !nvrtc_is_there() {
            return None;
        }
        let options = CompileOptions {
            name: Some(format!("{}.cu", self.name)),
            options: vec![format!("--gpu-architecture={architecture}")],
            ..CompileOptions::default()
        };
        Some(compile_ptx_with_opts(self.source, options))
    }

    /// Names a compilation by what it depends on.
    fn file_name(&self, architecture: &str) -> String {
        let hash = fnv1a(self.source.bytes().chain(architecture.bytes()));
        format!("{}-{architecture}-{hash:016x}.ptx", self.name)
    }
}

#[cfg(not(feature = "candle-cuda"))]
fn nvrtc_is_there() -> bool {
    // SAFETY: opens a library of the CUDA toolkit, whose initialisation has no conditions.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Linked with the program, which would not have started without it.
#[cfg(feature = "candle-cuda")]
fn nvrtc_is_there() -> bool {
    true
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
        let name = |architecture| SPLIT_QUANTIZE.file_name(architecture);
        assert_ne!(name("compute_80"), name("compute_90"));
    }

    #[test]
    fn the_checked_in_ptx_has_every_kernel() {
        for name in super::super::device::KERNELS {
            assert!(
                SPLIT_QUANTIZE
                    .checked_in
                    .contains(&format!(".visible .entry {name}(")),
                "{name}"
            );
        }
        assert!(SPLIT_QUANTIZE.checked_in.contains(".target sm_80"));
    }
}
