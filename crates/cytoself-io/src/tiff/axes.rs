//! Which page holds which plane.

use super::imagej;
use super::micromanager;
use super::ome;
use super::page::Page;

/// Where the axes of a stack were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxesSource {
    /// OME-XML in the image description.
    OmeXml,
    /// ImageJ's image description.
    ImageJ,
    /// MicroManager's metadata of each page.
    MicroManager,
    /// Nothing: samples are channels, and pages are slices of one channel.
    None,
}

/// Channels, slices and frames of a stack, and the page and sample of each plane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axes {
    pub source: AxesSource,
    /// Channel names; `channel0`, `channel1`, ... where the file names none.
    pub channels: Vec<String>,
    pub slices: usize,
    pub frames: usize,
    /// Page and sample of plane `(t * slices + z) * channels + c`.
    pub planes: Vec<(usize, usize)>,
    pub pixel_size_um: Option<f64>,
    pub z_step_um: Option<f64>,
}

/// Why a stack has no usable axes: what was expected, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AxesFault {
    pub expected: String,
    pub found: String,
}

impl AxesFault {
    pub(super) fn new(expected: impl ToString, found: impl ToString) -> Self {
        Self {
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// What the metadata readers need to know of a file.
pub(super) struct Source<'a> {
    pub pages: &'a [Page],
    /// Image description of the first page.
    pub description: &'a str,
    /// MicroManager's tag of each page, where it is there.
    pub micromanager: &'a [Option<String>],
    /// Resolution tag, pixels per unit.
    pub resolution: Option<f64>,
    /// Name of the file without its folder.
    pub file_name: &'a str,
}

/// Reads the axes from the metadata that is there.
pub(super) fn find(source: &Source<'_>) -> Result<Axes, AxesFault> {
    let description = source
        .description
        .trim_start_matches('\u{feff}')
        .trim_start();
    if description.starts_with('<') && description.contains("<OME") || description.contains(":OME ")
    {
        return ome::axes(source);
    }
    if description.starts_with("ImageJ=") {
        return imagej::axes(source);
    }
    if source.micromanager.iter().any(Option::is_some) {
        return micromanager::axes(source);
    }
    Ok(plain(source))
}

fn plain(source: &Source<'_>) -> Axes {
    let samples = source.pages.first().map_or(1, |p| p.samples);
    let pages = source.pages.len();
    let planes = (0..pages)
        .flat_map(|page| (0..samples).map(move |sample| (page, sample)))
        .collect();
    let channels = sample_names(samples);
    Axes {
        source: AxesSource::None,
        channels,
        slices: pages,
        frames: 1,
        planes,
        pixel_size_um: None,
        z_step_um: None,
    }
}

/// `channel0`, `channel1`, ...
pub(super) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|c| format!("channel{c}")).collect()
}

/// Names of the samples of a pixel.
pub(crate) fn sample_names(samples: usize) -> Vec<String> {
    match samples {
        3 => ["red", "green", "blue"].map(String::from).to_vec(),
        4 => ["red", "green", "blue", "alpha"].map(String::from).to_vec(),
        _ => numbered(samples),
    }
}

/// Micrometres per unit of length.
pub(super) fn micrometres(unit: &str) -> Option<f64> {
    Some(match unit.trim() {
        "\u{b5}m" | "\u{3bc}m" | "\\u00B5m" | "\\u03BCm" | "um" | "micron" | "microns"
        | "micrometer" | "micrometre" => 1.0,
        "nm" | "nanometer" => 1e-3,
        "mm" | "millimeter" => 1e3,
        "cm" => 1e4,
        "m" => 1e6,
        "\u{c5}" | "A" => 1e-4,
        "inch" | "in" => 25_400.0,
        _ => return None,
    })
}
