//! Our side of `vq.py` on a GPU: one batch stays there and is quantised as often as standard input asks for.
//!
//! `vq_gpu VECTORS CODEBOOK IMAGES SPLIT POSITIONS DIM PRECISION`; the files hold little-endian f32, vectors with channels first. A line
//! `TASK N` on standard input enqueues a task N times, waits, and gives a line with the seconds it took. Tasks: `search` (indices and
//! distances), `layer` (codes in the place of the vectors and the histogram of each image too), `train` (`layer` and both gradients,
//! which are copied back), `codebook` (laying out a new codebook), `indices` (prints them), `about` (prints the GPU).

use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use cytoself_vq::cuda::{CudaDevice, CudaPrecision, CudaSearch, DeviceVectors};
use cytoself_vq::{Codebook, NearestCode, Vectors};

type Failure = Box<dyn Error>;

fn read(path: &str) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vectors, codebook, sizes @ .., precision] = arguments.as_slice() else {
        return Err("see the first lines of vq.rs".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
    let &[images, split, positions, dim] = sizes.as_slice() else {
        return Err("see the first lines of vq.rs".into());
    };
    let z = read(vectors)?;
    let codes = read(codebook)?;
    let codebook = Codebook::new(codes.clone(), codes.len() / dim, dim)?;
    let precision: CudaPrecision = precision.parse()?;

    let device = Arc::new(CudaDevice::new(0, None)?);
    let here = Vectors::planes(&z, images, split, dim, positions)?;
    let there = DeviceVectors::new(&device, &here)?;
    let search = CudaSearch::new(Arc::clone(&device), codebook.clone(), precision)?;
    let mut plain = search.reserve(&there, false, false)?;
    let mut whole = search.reserve(&there, true, true)?;
    let scale = 1.0 / z.len().max(1) as f64;

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (task, repeats) = line.split_once(' ').ok_or("expected TASK N")?;
        let repeats: usize = repeats.trim().parse()?;
        let start = Instant::now();
        for _ in 0..repeats {
            match task {
                "search" => search.enqueue(&there, &mut plain)?,
                "layer" => search.enqueue(&there, &mut whole)?,
                "train" => {
                    search.enqueue(&there, &mut whole)?;
                    search.codebook_gradient(&there, &whole, scale)?;
                    search.commitment_gradient(&there, &whole, 0.25 * scale)?;
                }
                "codebook" => {
                    CudaSearch::new(Arc::clone(&device), codebook.clone(), precision)?;
                }
                "indices" => {
                    let indices: Vec<String> =
                        search.nearest(&here)?.iter().map(u32::to_string).collect();
                    println!("{}", indices.join(" "));
                }
                "about" => println!(
                    "{}, {} multiprocessors, kernels {:?}, {} splits",
                    device.name(),
                    device.multiprocessors(),
                    device.kernel_origin(),
                    whole.splits()
                ),
                other => return Err(format!("no task {other}").into()),
            }
        }
        device.wait()?;
        println!("{}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
