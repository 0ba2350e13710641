//! `--device`, `--precision` and `--cuda-graph`.

use std::path::PathBuf;

use candle_core::Device;
use clap::Args;
use cytoself_model::open_device;
use cytoself_model::ops::Precision;

use crate::cli::Failure;

/// Where a network computes, and how.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Where to compute: cpu, cuda or cuda:K (a GPU needs a build with the feature candle-cuda)
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// How a GPU multiplies: f32, tf32 or bf16
    #[arg(long, value_name = "P", default_value = "f32")]
    pub precision: String,
    /// Let a GPU replay training steps and batches of an embedding as a CUDA graph: less work for the host, the same results, more
    /// memory
    #[arg(long)]
    pub cuda_graph: bool,
}

impl Default for DeviceArgs {
    fn default() -> Self {
        Self {
            device: "cpu".into(),
            precision: "f32".into(),
            cuda_graph: false,
        }
    }
}

impl DeviceArgs {
    /// Opens the device.
    ///
    /// # Errors
    /// - there is no such device or precision, or this program was built without it.
    pub fn open(&self) -> Result<Device, Failure> {
        let precision: Precision = self.precision.parse().map_err(|expected| {
            Failure::input(format!("--precision {}: {expected}", self.precision))
        })?;
        if self.device == "cpu" && precision != Precision::F32 {
            return Err(Failure::input(format!(
                "--precision {precision}: the processor computes in f32; leave --precision out, or add --device cuda"
            )));
        }
        if self.device == "cpu" && self.cuda_graph {
            return Err(Failure::input(
                "--cuda-graph: the processor has none; leave it out, or add --device cuda",
            ));
        }
        Ok(open_device(
            &self.device,
            precision,
            kernel_cache().as_deref(),
        )?)
    }
}

/// Where compiled kernels are kept from one run to the next.
#[must_use]
pub fn kernel_cache() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("cytoself").join("kernels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(device: &str, precision: &str) -> Result<Device, Failure> {
        DeviceArgs {
            device: device.into(),
            precision: precision.into(),
            ..DeviceArgs::default()
        }
        .open()
    }

    #[test]
    fn flags_that_cannot_be_are_refused_by_name() {
        assert!(DeviceArgs::default().open().unwrap().is_cpu());
        for (device, precision, word) in [
            ("cpu", "bf16", "--precision bf16"),
            ("cpu", "f16", "--precision f16"),
            ("tpu", "f32", "tpu"),
        ] {
            let Err(Failure::Input(text)) = opened(device, precision) else {
                panic!("{device} {precision} was accepted")
            };
            assert!(text.contains(word) && !text.contains('\n'), "{text}");
        }
        let graph = DeviceArgs {
            cuda_graph: true,
            ..DeviceArgs::default()
        };
        let Err(Failure::Input(text)) = graph.open() else {
            panic!("a CUDA graph on the processor")
        };
        assert!(text.contains("--cuda-graph"), "{text}");
    }
}
