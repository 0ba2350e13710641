//! `quantize`: the nearest code of every chunk of every row; see `--help`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_io::npy;
use cytoself_vq::{Codebook, CpuSearch, NearestCode, Vectors, histograms};
use ndarray::ArrayView2;

/// Finds the nearest code of every chunk of every row
#[derive(Debug, Clone, Parser)]
#[command(
    version,
    after_help = "Example:\n  quantize --vectors z.npy --codebook codes.npy --split 9 --output indices.npy --histogram counts.npy"
)]
struct Arguments {
    /// Vectors, f32 [n, split * d]
    #[arg(long, value_name = "NPY")]
    vectors: PathBuf,
    /// Codes, f32 [k, d]
    #[arg(long, value_name = "NPY")]
    codebook: PathBuf,
    /// Chunks per row
    #[arg(long, value_name = "S", default_value_t = 1)]
    split: usize,
    /// Indices of the nearest codes, [n, split], u16 or from 65,537 codes on u32
    #[arg(long, value_name = "NPY")]
    output: PathBuf,
    /// How often each code occurs in each row, u32 [n, k]
    #[arg(long, value_name = "NPY")]
    histogram: Option<PathBuf>,
    /// Where to search: cpu, cuda or cuda:K
    #[arg(long, value_name = "D", default_value = "cpu")]
    device: String,
    /// Arithmetic of a GPU: f32, tf32x3, tf32 or bf16; never changes the answer
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: String,
    /// Searches R times and reports the fastest
    #[arg(long, value_name = "R", default_value_t = 1)]
    repeat: usize,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(body)
}

fn body(arguments: Arguments) -> Result<(), Failure> {
    if arguments.split == 0 || arguments.repeat == 0 {
        return Err(Failure::input("--split and --repeat: expected at least 1"));
    }
    let (codes, [k, d]) = read_matrix(&arguments.codebook, "[k, d]")?;
    let codebook = Codebook::new(codes, k, d)
        .map_err(|e| Failure::from(e).context(arguments.codebook.display()))?;
    let (values, [n, width]) = read_matrix(&arguments.vectors, "[n, split * d]")?;
    if width != arguments.split * d {
        return Err(Failure::input(format!(
            "{}: rows of {width} values; expected {} = split {} x {d}, the width of the codes in {}; check --split",
            arguments.vectors.display(),
            arguments.split * d,
            arguments.split,
            arguments.codebook.display(),
        )));
    }
    let in_vectors = |e| Failure::from(e).context(arguments.vectors.display());
    let vectors = Vectors::rows(&values, n, arguments.split, d).map_err(in_vectors)?;
    let indices_file = Output::file(&arguments.output, arguments.common.overwrite)?;
    let histogram_file = arguments
        .histogram
        .as_deref()
        .map(|path| Output::file(path, arguments.common.overwrite))
        .transpose()?;

    let search = engine(&arguments, codebook)?;
    let mut seconds = f64::INFINITY;
    let mut indices = Vec::new();
    for _ in 0..arguments.repeat {
        let start = Instant::now();
        indices = search.nearest(&vectors).map_err(in_vectors)?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }

    write_indices(indices_file.path(), &indices, [n, arguments.split], k)?;
    if let Some(file) = &histogram_file {
        write(file.path(), &histograms(&indices, n, k)?, [n, k])?;
    }
    indices_file.commit()?;
    histogram_file.map_or(Ok(()), Output::commit)?;
    let rate = if indices.is_empty() {
        0.0
    } else {
        indices.len() as f64 / seconds
    };
    println!(
        "{rate:.0} vectors/s ({} vectors of {d}, {k} codes, {:.3} ms)",
        indices.len(),
        1e3 * seconds
    );
    Ok(())
}

/// The search on the device that the user named.
fn engine(arguments: &Arguments, codebook: Codebook) -> Result<Box<dyn NearestCode>, Failure> {
    let device = arguments.device.as_str();
    let ordinal = match device.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|k| k.parse().ok()),
        None if device == "cpu" => return Ok(Box::new(CpuSearch::new(codebook))),
        None => None,
    };
    let ordinal = ordinal.ok_or_else(|| {
        Failure::input(format!("--device {device}: expected cpu, cuda or cuda:K"))
    })?;
    on_gpu(ordinal, arguments, codebook)
}

#[cfg(feature = "cuda")]
fn on_gpu(
    ordinal: usize,
    arguments: &Arguments,
    codebook: Codebook,
) -> Result<Box<dyn NearestCode>, Failure> {
    use cytoself_vq::cuda::{CudaDevice, CudaSearch};

    let named = |e| Failure::from(e).context(format!("--device {}", arguments.device));
    let precision = arguments.precision.parse().map_err(named)?;
    let device = CudaDevice::new(
        ordinal,
        cytoself_examples::model::device::kernel_cache().as_deref(),
    )
    .map_err(named)?;
    arguments.common.say(format_args!(
        "{}, compute capability {}.{}, kernels: {:?}",
        device.name(),
        device.capability().0,
        device.capability().1,
        device.kernel_origin(),
    ));
    let search = CudaSearch::new(device.into(), codebook, precision).map_err(named)?;
    Ok(Box::new(search))
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: usize, arguments: &Arguments, _: Codebook) -> Result<Box<dyn NearestCode>, Failure> {
    Err(Failure::input(format!(
        "--device {}: this program was built without CUDA; build it with --features cuda",
        arguments.device
    )))
}

fn read_matrix(path: &Path, expected: &str) -> Result<(Vec<f32>, [usize; 2]), Failure> {
    let array = npy::read_f32(path)?;
    let &[rows, columns] = array.shape() else {
        let shape = array.shape();
        return Err(Failure::input(format!(
            "{}: shape {shape:?}; expected {expected}",
            path.display()
        )));
    };
    Ok((array.into_raw_vec_and_offset().0, [rows, columns]))
}

fn write_indices(
    path: &Path,
    indices: &[u32],
    shape: [usize; 2],
    codes: usize,
) -> Result<(), Failure> {
    if codes > usize::from(u16::MAX) + 1 {
        return write(path, indices, shape);
    }
    // Every index is below the number of codes, which a u16 holds here.
    let narrow: Vec<u16> = indices.iter().map(|&index| index as u16).collect();
    write(path, &narrow, shape)
}

fn write<T: npy::Element>(path: &Path, values: &[T], shape: [usize; 2]) -> Result<(), Failure> {
    let array = ArrayView2::from_shape(shape, values).map_err(Failure::other)?;
    Ok(npy::write(path, &array)?)
}
