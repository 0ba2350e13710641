//! What single codes mean: zero them before decoding and look at what disappears. What `interpret` does.

mod panel;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cytoself_io::{CropSource, npy, open_crops};
use cytoself_model::{Model, ModelFolder, Pass};
use ndarray::{Array1, Array3, Array4, Axis};
use serde_json::json;

use crate::cli::{Common, Failure};
use crate::output::Output;

/// Version of the format of the folder.
const FORMAT: u32 = 1;

/// Which crop to interpret, and by which codes.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Crops
    #[arg(long, value_name = "CROPS")]
    pub data: PathBuf,
    /// The crop: its `crop` column, or a row number
    #[arg(long, value_name = "ID")]
    pub crop: String,
    /// Codes to zero, one at a time: the strongest peaks of the crop's spectrum
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub top: usize,
    /// Codes to zero instead of the peaks
    #[arg(
        long,
        value_name = "CODES",
        value_delimiter = ',',
        conflicts_with = "top"
    )]
    pub codes: Vec<u32>,
    /// Of the codes of the crop, those that take the most light of the first channel with them, instead of the peaks
    #[arg(long, conflicts_with_all = ["codes", "clusters"])]
    pub by_light: bool,
    /// Folder of `spectrum`: zero whole feature clusters instead of single codes
    #[arg(long, value_name = "DIR", conflicts_with = "codes")]
    pub clusters: Option<PathBuf>,
    /// Folder for the arrays and the picture
    #[arg(long, value_name = "DIR", default_value = "out/interpretation")]
    pub out: PathBuf,
}

/// One group of codes and the image without it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The code or feature cluster.
    pub name: String,
    /// Codes that were zeroed.
    pub codes: Vec<u32>,
    /// Positions of the local representation that held them.
    pub positions: usize,
    /// The decoded image without them, `[c, h, w]`.
    pub without: Array3<f32>,
}

/// A crop, its reconstruction, and what each part contributes.
#[derive(Debug, Clone)]
pub struct Interpretation {
    /// The crop, `[c, h, w]`.
    pub image: Array3<f32>,
    /// The unmodified reconstruction.
    pub reconstruction: Array3<f32>,
    /// Occurrences of each code in the crop.
    pub histogram: Array1<u32>,
    /// The parts, strongest first.
    pub parts: Vec<Part>,
}

/// Interprets a crop and writes arrays and a picture.
///
/// # Errors
/// - the model or the crops cannot be read or do not fit each other;
/// - there is no such crop or code;
/// - the output exists and may not be replaced.
pub fn run(arguments: &Arguments, common: &Common) -> Result<Interpretation, Failure> {
    let folder = ModelFolder::open(&arguments.model)?;
    let model =
        Model::with_weights(&folder.config()?.model, &folder.best()?, &Device::Cpu)?.frozen()?;
    let crops = open_crops(&arguments.data)?;
    let image = read_crop(crops.as_ref(), &model, &arguments.crop)
        .map_err(|e| e.context(arguments.data.display()))?;
    let clusters = arguments
        .clusters
        .as_deref()
        .map(read_clusters)
        .transpose()?;
    let choice = match (&clusters, arguments.codes.as_slice()) {
        (Some(clusters), _) => Choice::Clusters {
            clusters,
            top: arguments.top,
        },
        (None, []) if arguments.by_light => Choice::Light(arguments.top),
        (None, []) => Choice::Peaks(arguments.top),
        (None, codes) => Choice::Codes(codes),
    };
    let found = interpret(&model, image, &choice)?;
    let output = Output::folder(&arguments.out, common.overwrite)?;
    write(output.path(), &found, arguments, &model.config().channels)?;
    output.commit()?;
    Ok(found)
}

/// Which codes to zero.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// The codes that occur most, one at a time.
    Peaks(usize),
    /// The codes without which the first channel loses the most light, one at a time; every code of the crop is tried.
    Light(usize),
    /// These codes, one at a time.
    Codes(&'a [u32]),
    /// The feature clusters that occur most; `clusters[code]` counts from 1.
    Clusters {
        /// Cluster of each code.
        clusters: &'a [usize],
        /// How many clusters.
        top: usize,
    },
}

/// Decodes a crop `[c, h, w]` with and without each chosen group of codes of the local representation.
///
/// Differs from the paper, which compares with the original image only: the difference from the unmodified
/// reconstruction shows the code alone, without the error of the reconstruction.
///
/// # Errors
/// - the model does not quantise the local representation, or has no decoder;
/// - a code does not exist, or the clusters are of another codebook.
pub fn interpret(
    model: &Model,
    image: Array3<f32>,
    choice: &Choice<'_>,
) -> Result<Interpretation, Failure> {
    let pass = Pass::evaluate();
    let (c, h, w) = image.dim();
    let pixels = Tensor::from_iter(image.iter().copied(), model.device())?.reshape((1, c, h, w))?;
    let [local, global] = model.embed_both(&pixels, &pass)?;
    let quantized = local.quantized.as_ref().ok_or_else(|| {
        Failure::input(
            "the model does not quantise its local representation, so it has no codes to interpret",
        )
    })?;
    let indices: Vec<u32> = quantized.indices.flatten_all()?.to_vec1()?;
    let mut histogram = Array1::<u32>::zeros(model.codebook(1)?.dim(0)?);
    for &index in &indices {
        histogram[index as usize] += 1;
    }
    let decode = |local: &Tensor| -> Result<Array3<f32>, Failure> {
        let image = model.decode(local, global.representation(), &pass)?;
        let shape = image.dims4()?;
        let image = Array4::from_shape_vec(shape, image.flatten_all()?.to_vec1()?)
            .map_err(Failure::other)?;
        Ok(image.index_axis_move(Axis(0), 0))
    };
    let reconstruction = decode(local.representation())?;
    let mut parts = Vec::new();
    for (name, codes) in groups(&histogram, choice)? {
        let zeroed = without(&quantized.quantized, &quantized.indices, &codes)?;
        let positions = indices.iter().filter(|i| codes.contains(i)).count();
        parts.push(Part {
            name,
            codes,
            positions,
            without: decode(&zeroed)?,
        });
    }
    if let Choice::Light(top) = *choice {
        let light: Vec<f64> = parts
            .iter()
            .map(|p| light_lost(&reconstruction, p))
            .collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by(|&a, &b| light[b].total_cmp(&light[a]));
        order.truncate(top);
        parts = order.into_iter().map(|i| parts[i].clone()).collect();
    }
    Ok(Interpretation {
        image,
        reconstruction,
        histogram,
        parts,
    })
}

/// What the first channel of the reconstruction has and the image without the part has not, summed over pixels.
fn light_lost(reconstruction: &Array3<f32>, part: &Part) -> f64 {
    let first = |image: &Array3<f32>| image.index_axis(Axis(0), 0).mapv(f64::from);
    (first(reconstruction) - first(&part.without))
        .mapv(|d| d.max(0.0))
        .sum()
}

/// Names and codes of the groups to zero, strongest first.
fn groups(
    histogram: &Array1<u32>,
    choice: &Choice<'_>,
) -> Result<Vec<(String, Vec<u32>)>, Failure> {
    let single = |code: u32| (format!("code_{code}"), vec![code]);
    match *choice {
        Choice::Peaks(top) => {
            let mut codes: Vec<u32> = (0..histogram.len() as u32)
                .filter(|&c| histogram[c as usize] > 0)
                .collect();
            codes.sort_by_key(|&code| std::cmp::Reverse(histogram[code as usize]));
            Ok(codes.into_iter().take(top).map(single).collect())
        }
        Choice::Light(_) => groups(histogram, &Choice::Peaks(histogram.len())),
        Choice::Codes(codes) => {
            match codes.iter().find(|&&code| code as usize >= histogram.len()) {
                Some(code) => Err(Failure::input(format!(
                    "--codes {code}: the codebook has {} codes, from 0",
                    histogram.len()
                ))),
                None => Ok(codes.iter().copied().map(single).collect()),
            }
        }
        Choice::Clusters { clusters, top } => {
            if clusters.len() != histogram.len() {
                let text = format!(
                    "{} clustered codes for a codebook of {}; give the spectra of this model",
                    clusters.len(),
                    histogram.len()
                );
                return Err(Failure::input(text));
            }
            let mut members: std::collections::BTreeMap<usize, Vec<u32>> =
                std::collections::BTreeMap::new();
            clusters
                .iter()
                .zip(0..)
                .for_each(|(&cluster, code)| members.entry(cluster).or_default().push(code));
            let count = |codes: &[u32]| {
                codes
                    .iter()
                    .map(|&code| histogram[code as usize])
                    .sum::<u32>()
            };
            let mut groups: Vec<(usize, Vec<u32>)> = members.into_iter().collect();
            groups.sort_by_key(|(_, codes)| std::cmp::Reverse(count(codes)));
            Ok(groups
                .into_iter()
                .take(top)
                .map(|(cluster, codes)| (format!("cluster_{cluster}"), codes))
                .collect())
        }
    }
}

/// The representation `[1, s * d, h, w]` with the vectors of some codes set to 0; `indices: [1, s, h, w]`.
fn without(representation: &Tensor, indices: &Tensor, codes: &[u32]) -> Result<Tensor, Failure> {
    let (n, channels, h, w) = representation.dims4()?;
    let split = indices.dim(1)?;
    let found: Vec<u32> = indices.flatten_all()?.to_vec1()?;
    let keep: Vec<f32> = found
        .iter()
        .map(|i| if codes.contains(i) { 0.0 } else { 1.0 })
        .collect();
    let mask = Tensor::from_vec(keep, (n, split, 1, h, w), representation.device())?;
    let parts = representation.reshape((n, split, channels / split.max(1), h, w))?;
    Ok(parts.broadcast_mul(&mask)?.reshape((n, channels, h, w))?)
}

fn read_crop(crops: &dyn CropSource, model: &Model, id: &str) -> Result<Array3<f32>, Failure> {
    let named = crops
        .table()
        .text("crop")
        .and_then(|column| column.iter().position(|name| name == id));
    let numbered = || id.parse::<usize>().ok().filter(|&row| row < crops.len());
    let row = named.or_else(numbered).ok_or_else(|| {
        Failure::input(format!(
            "--crop {id}: neither a name in the column `crop` nor a row below {}",
            crops.len()
        ))
    })?;
    let names: Vec<&str> = model.config().channels.iter().map(String::as_str).collect();
    let channels = crops.channel_indices(&names)?;
    let [h, w] = crops.crop_shape();
    let mut pixels = vec![0.0; channels.len() * h * w];
    crops.read_into(&[row], &channels, &mut pixels)?;
    let config = model.config();
    config
        .normalization
        .apply(&mut pixels, &config.channels, h * w);
    Array3::from_shape_vec((channels.len(), h, w), pixels).map_err(Failure::other)
}

fn read_clusters(folder: &Path) -> Result<Vec<usize>, Failure> {
    let path = folder.join("clusters.npy");
    let values = npy::read_i64(&path)?;
    let cluster = |&v: &i64| {
        usize::try_from(v)
            .map_err(|_| Failure::input(format!("{}: cluster {v} is below 0", path.display())))
    };
    values.iter().map(cluster).collect()
}

fn write(
    folder: &Path,
    found: &Interpretation,
    arguments: &Arguments,
    channels: &[String],
) -> Result<(), Failure> {
    npy::write(&folder.join("image.npy"), &found.image)?;
    npy::write(&folder.join("reconstruction.npy"), &found.reconstruction)?;
    npy::write(
        &folder.join("histogram.npy"),
        &found.histogram.mapv(i64::from),
    )?;
    for part in &found.parts {
        npy::write(
            &folder.join(format!("without_{}.npy", part.name)),
            &part.without,
        )?;
        npy::write(
            &folder.join(format!("input_minus_{}.npy", part.name)),
            &(&found.image - &part.without),
        )?;
        npy::write(
            &folder.join(format!("reconstruction_minus_{}.npy", part.name)),
            &(&found.reconstruction - &part.without),
        )?;
    }
    let parts: Vec<_> = found
        .parts
        .iter()
        .map(|part| json!({ "name": part.name, "codes": part.codes, "positions": part.positions }))
        .collect();
    let made = json!({
        "format": "cytoself-interpretation",
        "version": FORMAT,
        "tool": concat!("cytoself interpret ", env!("CARGO_PKG_VERSION")),
        "model": arguments.model.display().to_string(),
        "data": arguments.data.display().to_string(),
        "crop": arguments.crop,
        "channels": channels,
        "parts": parts,
    });
    std::fs::write(folder.join("interpretation.json"), format!("{made:#}\n"))?;
    panel::save(folder, found, channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cytoself_model::Config;

    fn model() -> Model {
        let mut config = Config::preset("torch-micro").unwrap().model;
        config.classes = 3;
        Model::new(&config, 1, &Device::Cpu).unwrap()
    }

    fn image() -> Array3<f32> {
        Array3::from_shape_fn((2, 40, 40), |(c, y, x)| {
            ((c * 3 + y * 7 + x * 5) % 11) as f32 / 11.0
        })
    }

    #[test]
    fn peaks_are_the_commonest_codes_and_change_the_image() {
        let found = interpret(&model(), image(), &Choice::Peaks(2)).unwrap();
        assert_eq!(found.histogram.sum(), 100);
        assert!(!found.parts.is_empty());
        let peak = found.histogram.iter().copied().max().unwrap();
        assert_eq!(found.parts[0].positions, peak as usize);
        assert_ne!(found.parts[0].without, found.reconstruction);
    }

    #[test]
    fn by_light_come_first_the_codes_that_take_most_with_them() {
        // Each quarter at another brightness, for several codes.
        let image = Array3::from_shape_fn((2, 40, 40), |(_, y, x)| {
            let quarter = 2 * (y / 20) + x / 20;
            (quarter * quarter) as f32 * (1.0 + ((y * 7 + x * 5) % 11) as f32)
        });
        let every = interpret(&model(), image.clone(), &Choice::Peaks(32)).unwrap();
        let found = interpret(&model(), image, &Choice::Light(2)).unwrap();
        assert!(every.parts.len() > 2);
        let mut light: Vec<f64> = every
            .parts
            .iter()
            .map(|p| light_lost(&every.reconstruction, p))
            .collect();
        light.sort_by(|a, b| b.total_cmp(a));
        let two: Vec<f64> = found
            .parts
            .iter()
            .map(|p| light_lost(&found.reconstruction, p))
            .collect();
        assert_eq!(two, light[..2]);
        assert!(two[0] > 0.0);
    }

    #[test]
    fn a_code_that_does_not_occur_changes_nothing() {
        let model = model();
        let histogram = interpret(&model, image(), &Choice::Peaks(1))
            .unwrap()
            .histogram;
        let absent = histogram.iter().position(|&count| count == 0).unwrap() as u32;
        let found = interpret(&model, image(), &Choice::Codes(&[absent])).unwrap();
        assert_eq!(found.parts[0].without, found.reconstruction);
        assert!(interpret(&model, image(), &Choice::Codes(&[99])).is_err());
    }

    #[test]
    fn clusters_of_another_codebook_are_refused() {
        let clusters: Vec<usize> = (0..32).map(|code| 1 + code % 4).collect();
        let found = interpret(
            &model(),
            image(),
            &Choice::Clusters {
                clusters: &clusters,
                top: 4,
            },
        )
        .unwrap();
        assert_eq!(found.parts.iter().map(|p| p.positions).sum::<usize>(), 100);
        assert!(
            interpret(
                &model(),
                image(),
                &Choice::Clusters {
                    clusters: &clusters[1..],
                    top: 4
                }
            )
            .is_err()
        );
    }
}
