//! Our side of `vq.py`: quantises one batch as often as standard input asks for and says how long it took.
//!
//! `vq_peer VECTORS CODEBOOK IMAGES SPLIT POSITIONS DIM THREADS`; the files hold little-endian f32, vectors with channels first. A line
//! `TASK N` on standard input runs a task N times and gives a line with the seconds it took. Tasks: see [`Batch::run`].

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use cytoself_vq::{
    Codebook, CpuSearch, NearestCode, SplitQuantizer, Vectors, codebook_gradient,
    commitment_gradient,
};

type Failure = Box<dyn Error>;

struct Batch {
    z: Vec<f32>,
    images: usize,
    split: usize,
    positions: usize,
    dim: usize,
    quantizer: SplitQuantizer<CpuSearch>,
}

impl Batch {
    fn run(&self, task: &str) -> Result<(), Failure> {
        let Self {
            images,
            split,
            positions,
            dim,
            ..
        } = *self;
        let vectors = Vectors::planes(&self.z, images, split, dim, positions)?;
        let search = self.quantizer.search();
        match task {
            // The same memory as plain rows, which is what matrix products like best.
            "search" => {
                let rows = Vectors::rows(&self.z, images * split * positions, 1, dim)?;
                black_box(search.nearest(&rows)?);
            }
            // Indices, quantised vectors, losses, histogram per image, perplexity.
            "layer" => {
                let found = self.quantizer.quantize(&vectors)?;
                black_box((found.mean_squared_error(), found.perplexity(), found));
            }
            // The same with the soft histogram, which the reference always makes.
            "layer_soft" => {
                let (found, soft) = self.quantizer.quantize_soft(&vectors)?;
                black_box((found.mean_squared_error(), found.perplexity(), found, soft));
            }
            // `layer` and the gradients of its loss.
            "train" => {
                let found = self.quantizer.quantize(&vectors)?;
                let scale = 1.0 / self.z.len() as f64;
                let codebook = self.quantizer.codebook();
                let into_codes = codebook_gradient(&vectors, &found.indices, codebook, scale)?;
                let into_z = commitment_gradient(&vectors, &found.indices, codebook, 0.25 * scale)?;
                black_box((found.perplexity(), into_codes, into_z));
            }
            // The indices as text, to compare them.
            "indices" => {
                let found = self.quantizer.quantize(&vectors)?;
                let text: Vec<String> = found.indices.iter().map(u32::to_string).collect();
                println!("{}", text.join(" "));
            }
            other => return Err(format!("no task {other}").into()),
        }
        Ok(())
    }
}

fn read(path: &str) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vectors, codebook, sizes @ ..] = arguments.as_slice() else {
        return Err("see the first lines of vq.rs".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
    let &[images, split, positions, dim, threads] = sizes.as_slice() else {
        return Err("see the first lines of vq.rs".into());
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()?;
    let codes = read(codebook)?;
    let count = codes.len() / dim;
    let batch = Batch {
        z: read(vectors)?,
        images,
        split,
        positions,
        dim,
        quantizer: SplitQuantizer::new(Codebook::new(codes, count, dim)?, split)?,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (task, repeats) = line.split_once(' ').ok_or("expected TASK N")?;
        let repeats: usize = repeats.trim().parse()?;
        let start = Instant::now();
        for _ in 0..repeats {
            batch.run(task)?;
        }
        println!("{}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
