//! The embedding stage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use cytoself_io::{
    CropSource, CropTable, EmbeddingLayout, EmbeddingPart, EmbeddingStoreWriter, Split, TextColumn,
    open_crops,
};
use cytoself_model::{
    Embedder, EmbeddingBlock, EmbeddingValues, ModelError, OutputKind, OutputName,
};
use ndarray::Array2;

use super::device::DeviceArgs;
use super::{held_out, split};
use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// What to embed with what.
#[derive(Debug, Clone, Args)]
pub struct EmbedArgs {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Crops: a crop store, or a folder of cytoself's .npy files
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Embedding store to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Representations: encoder, vqvec, vqind or vqindhist with the level 1 or 2, comma-separated
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "vqind2,vqvec2,vqindhist1"
    )]
    pub outputs: Vec<String>,
    /// Only crops of this split: train, val or test
    #[arg(long, value_name = "S")]
    pub split: Option<String>,
    /// Only part I of N, counted from 0; `merge` joins the parts
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Crops in a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// Device and precision
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.parse::<usize>().ok();
        let parts = text
            .split_once('/')
            .and_then(|(i, n)| Some((number(i)?, number(n)?)));
        match parts {
            // N/N is the same as 0/N, for those who count from 1.
            Some((index, count)) if index <= count && count > 0 => Ok(Self {
                index: index % count,
                count,
            }),
            _ => Err(format!(
                "expected I/N with I from 0 to N-1, e.g. 0/4, found {text}"
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// This part of `rows`: consecutive, the parts differ in length by one at most.
    fn of(self, rows: &[usize]) -> &[usize] {
        let at = |i: usize| i * rows.len() / self.count;
        &rows[at(self.index)..at(self.index + 1)]
    }
}

/// Embeds crops into a store, in constant memory; returns how many.
///
/// # Errors
/// - bad arguments, model or data;
/// - the user interrupted: nothing is kept.
pub fn embed(args: &EmbedArgs, common: &Common) -> Result<usize, Failure> {
    embed_from(open_crops(&args.data)?.as_ref(), args, common)
}

/// As [`embed`], from crops that are open already.
///
/// # Errors
/// As [`embed`].
pub fn embed_from(
    source: &dyn CropSource,
    args: &EmbedArgs,
    common: &Common,
) -> Result<usize, Failure> {
    let outputs = args
        .outputs
        .iter()
        .map(|o| o.parse())
        .collect::<Result<Vec<OutputName>, ModelError>>()?;
    let mut embedder = Embedder::open_on(&args.model, &args.device.open()?)?;
    if args.device.cuda_graph {
        let told = common.clone();
        embedder = embedder.with_cuda_graph(move |text| told.say(text))?;
    }
    let splits = split::known(source.table(), &args.model)?;
    let rows = choose(args, source, &splits)?;
    let rows = args.shard.map_or(&rows[..], |s| s.of(&rows));
    let output = Output::folder(&args.out, common.overwrite)?;
    let stored = Stored::of(&embedder, &outputs);
    let mut layout = layout(&embedder, &stored, &args.model)?;
    if let Some(shard) = args.shard {
        // What `merge` counts the parts by.
        layout = layout.made("shard", shard);
    }
    let mut writer = EmbeddingStoreWriter::create(output.path(), &layout)?;
    let progress = Progress::new("crops", rows.len() as u64, common.quiet);
    embedder.run(
        source,
        rows,
        &stored.outputs(),
        args.batch_size,
        &mut |done, _| progress.update(done),
        &mut |block| {
            let table = table(source.table(), &rows[block.places.clone()], &splits)?;
            append(&mut writer, &table, &block)
        },
    )?;
    let crops = writer.finish()?;
    output.commit()?;
    common.say(format!(
        "{}: {crops} crops, {}",
        args.out.display(),
        stored.names().join(", ")
    ));
    Ok(crops)
}

/// Rows of the split that was asked for.
fn choose(
    args: &EmbedArgs,
    source: &dyn CropSource,
    splits: &[Option<Split>],
) -> Result<Vec<usize>, Failure> {
    let Some(text) = &args.split else {
        return Ok((0..source.len()).collect());
    };
    let wanted: Split = text.parse()?;
    let rows: Vec<usize> = (0..source.len())
        .filter(|&r| splits[r] == Some(wanted))
        .collect();
    if rows.is_empty() {
        return Err(Failure::input(format!(
            "--split {text}: no crop of {} is known to belong to it; the split is taken from the crops' table or the model's split.csv",
            args.data.display()
        )));
    }
    Ok(rows)
}

/// The arrays of the store: quantised vectors are kept as codes, from which they are expanded on demand.
struct Stored(Vec<OutputName>);

impl Stored {
    fn of(embedder: &Embedder, outputs: &[OutputName]) -> Self {
        let mut stored = Vec::new();
        for output in outputs {
            let quantized = embedder.model().config().levels[output.level() - 1]
                .quantizer
                .enabled;
            let kept = match output.kind() {
                OutputKind::Vectors if quantized => output.with_kind(OutputKind::Indices),
                _ => *output,
            };
            if !stored.contains(&kept) {
                stored.push(kept);
            }
        }
        Self(stored)
    }

    fn outputs(&self) -> Vec<OutputName> {
        self.0.clone()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

fn layout(embedder: &Embedder, stored: &Stored, model: &Path) -> Result<EmbeddingLayout, Failure> {
    let config = embedder.model().config();
    let mut layout = EmbeddingLayout::new().made("model", model.display());
    let held_out = held_out::read(model)?;
    if !held_out.is_empty() {
        layout = layout.made("held_out", held_out.join(","));
    }
    for output in &stored.0 {
        let (name, number) = (output.to_string(), output.level());
        let quantizer = &config.levels[number - 1].quantizer;
        let [h, w] = config.embedding(number - 1);
        layout = match output.kind() {
            OutputKind::Indices => {
                let (k, d) = (quantizer.codes, quantizer.dimension);
                let codes = embedder
                    .model()
                    .codebook(number)?
                    .flatten_all()?
                    .to_vec1::<f32>()?;
                let codebook = Array2::from_shape_vec((k, d), codes).map_err(Failure::other)?;
                layout.indices(number as u32, [quantizer.split, h, w], codebook)
            }
            OutputKind::Histogram => layout.counts(&name, quantizer.codes),
            OutputKind::Encoder | OutputKind::Vectors => {
                layout.dense(&name, config.representation(number - 1))
            }
        };
    }
    Ok(layout)
}

fn table(
    all: &CropTable,
    rows: &[usize],
    splits: &[Option<Split>],
) -> Result<CropTable, ModelError> {
    let mut table = all.select(rows)?;
    if rows.iter().any(|&r| splits[r].is_some()) {
        let names = rows.iter().map(|&r| splits[r].map_or("", Split::as_str));
        let text = TextColumn::from_texts(names)?;
        table.insert("split", text)?;
    }
    Ok(table)
}

fn append(
    writer: &mut EmbeddingStoreWriter,
    table: &CropTable,
    block: &EmbeddingBlock,
) -> Result<(), ModelError> {
    let arrays: Vec<(String, Array)> = block
        .outputs
        .iter()
        .map(|(name, values)| (name.to_string(), Array::of(*name, values)))
        .collect();
    let parts: Vec<(&str, EmbeddingPart<'_>)> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array.part()))
        .collect();
    Ok(writer.append(table, &parts)?)
}

enum Array {
    U16(Array2<u16>),
    F32(Array2<f32>),
}

impl Array {
    fn of(name: OutputName, values: &EmbeddingValues) -> Self {
        match values {
            EmbeddingValues::Indices(a) => Self::U16(a.clone()),
            // Counts of at most the positions of a map: they fit.
            EmbeddingValues::Dense(a) if name.kind() == OutputKind::Histogram => {
                Self::U16(a.mapv(|v| v as u16))
            }
            EmbeddingValues::Dense(a) => Self::F32(a.clone()),
        }
    }

    fn part(&self) -> EmbeddingPart<'_> {
        match self {
            Self::U16(a) => EmbeddingPart::U16(a.view()),
            Self::F32(a) => EmbeddingPart::F32(a.view()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_everything_once() {
        let rows: Vec<usize> = (0..10).collect();
        let parts: Vec<usize> = (0..3)
            .flat_map(|i| Shard { index: i, count: 3 }.of(&rows).to_vec())
            .collect();
        assert_eq!(parts, rows);
        assert_eq!("3/3".parse::<Shard>(), "0/3".parse());
        assert!("4/3".parse::<Shard>().is_err());
        assert!("1".parse::<Shard>().is_err());
        assert_eq!("1/3".parse::<Shard>().unwrap().of(&rows), [3, 4, 5]);
        assert_eq!("3/3".parse::<Shard>().unwrap().to_string(), "0/3");
    }
}
