//! OME-XML: sizes, order of planes, channel names, pixel size.

use super::axes::{Axes, AxesFault, AxesSource, Source, micrometres};
use crate::xml::{Tag, Tags};

/// What is needed of the first `Image` of an OME-XML text.
#[derive(Default)]
struct Image {
    order: String,
    sizes: [usize; 3],
    channels: Vec<(String, usize)>,
    pixel_size_um: Option<f64>,
    z_step_um: Option<f64>,
    data: Vec<Data>,
}

/// One `TiffData` element.
struct Data {
    ifd: Option<usize>,
    first: [usize; 3],
    count: Option<usize>,
    file: Option<String>,
}

/// The axes of the first image of an OME-TIFF.
pub(super) fn axes(source: &Source<'_>) -> Result<Axes, AxesFault> {
    let image = parse(source.description)?;
    let [channels, slices, frames] = image.sizes;
    let samples = source.pages.first().map_or(1, |p| p.samples);
    // A channel with several samples holds that many of the SizeC planes in one page.
    if channels % samples != 0 {
        return Err(AxesFault::new(
            format!("SizeC a multiple of {samples} samples per pixel"),
            channels,
        ));
    }
    let groups = channels / samples;
    let count = groups
        .checked_mul(slices)
        .and_then(|n| n.checked_mul(frames));
    // Each plane needs a page, so that a declared size allocates no more than the file has pages.
    let count = count.filter(|&n| n <= source.pages.len()).ok_or_else(|| {
        let found = format!(
            "{} pages; are the other planes in further files?",
            source.pages.len()
        );
        AxesFault::new(
            format!("{groups} channels x {slices} slices x {frames} frames, as the OME-XML says"),
            found,
        )
    })?;
    let mut pages = vec![None; count];
    place_pages(&image, source, groups, &mut pages)?;
    let mut planes = Vec::with_capacity(count * samples);
    for (index, page) in pages.into_iter().enumerate() {
        let page = page.filter(|&p| p < source.pages.len()).ok_or_else(|| {
            let (c, z) = (index % groups, index / groups % slices.max(1));
            AxesFault::new(
                format!("a page for channel {c}, slice {z}"),
                "none in this file",
            )
        })?;
        planes.extend((0..samples).map(|sample| (page, sample)));
    }
    Ok(Axes {
        source: AxesSource::OmeXml,
        channels: names(&image, channels, samples),
        slices,
        frames,
        planes,
        pixel_size_um: image.pixel_size_um,
        z_step_um: image.z_step_um,
    })
}

fn parse(text: &str) -> Result<Image, AxesFault> {
    let mut image = Image::default();
    let mut inside = None;
    for tag in Tags::new(text) {
        match (tag.name, inside) {
            ("BinaryOnly", None) => {
                let file = tag.attribute("MetadataFile").unwrap_or_default();
                return Err(AxesFault::new(
                    "OME-XML in this file",
                    format!("a reference to {file}; open that file instead"),
                ));
            }
            // A second image of the file is another field.
            ("Pixels", Some(_)) => break,
            ("Pixels", None) => {
                pixels(&tag, &mut image)?;
                inside = Some(tag.depth);
            }
            ("Channel", Some(_)) => {
                let samples = tag.parse("SamplesPerPixel").unwrap_or(1).clamp(1, 4096);
                image
                    .channels
                    .push((tag.attribute("Name").unwrap_or_default(), samples));
            }
            ("TiffData", Some(_)) => image.data.push(Data {
                ifd: tag.parse("IFD"),
                first: [
                    tag.parse("FirstC"),
                    tag.parse("FirstZ"),
                    tag.parse("FirstT"),
                ]
                .map(Option::unwrap_or_default),
                count: tag.parse("PlaneCount"),
                file: None,
            }),
            ("UUID", Some(_)) => {
                if let Some(data) = image.data.last_mut() {
                    data.file = tag.attribute("FileName");
                }
            }
            _ => {}
        }
    }
    if inside.is_none() {
        return Err(AxesFault::new("an element Pixels in the OME-XML", "none"));
    }
    Ok(image)
}

fn pixels(tag: &Tag<'_>, image: &mut Image) -> Result<(), AxesFault> {
    for (slot, name) in image.sizes.iter_mut().zip(["SizeC", "SizeZ", "SizeT"]) {
        let value: Option<usize> = tag.parse(name);
        *slot = value.filter(|&v| v > 0).ok_or_else(|| {
            AxesFault::new(
                format!("{name} a positive number in the OME-XML"),
                tag.attribute(name).unwrap_or_default(),
            )
        })?;
    }
    image.order = tag
        .attribute("DimensionOrder")
        .unwrap_or_else(|| "XYCZT".into());
    let size = |name: &str| {
        let value: f64 = tag.parse(name)?;
        let unit = tag.attribute(&format!("{name}Unit"));
        let unit = unit.as_deref().map_or(Some(1.0), micrometres)?;
        Some(value * unit).filter(|v| v.is_finite() && *v > 0.0)
    };
    image.pixel_size_um = size("PhysicalSizeX");
    image.z_step_um = size("PhysicalSizeZ");
    Ok(())
}

/// The page of each plane `(t * slices + z) * groups + c`.
fn place_pages(
    image: &Image,
    source: &Source<'_>,
    groups: usize,
    pages: &mut [Option<usize>],
) -> Result<(), AxesFault> {
    let sizes = [groups, image.sizes[1], image.sizes[2]];
    let order = axis_order(&image.order)?;
    let here = |data: &&Data| match &data.file {
        None => true,
        // A file that was renamed still holds its own planes if it is the only one named.
        Some(name) => {
            name == source.file_name
                || image
                    .data
                    .iter()
                    .all(|d| d.file.as_ref().is_none_or(|f| f == name))
        }
    };
    let all = [Data {
        ifd: Some(0),
        first: [0; 3],
        count: None,
        file: None,
    }];
    let listed: Vec<&Data> = if image.data.is_empty() {
        all.iter().collect()
    } else {
        image.data.iter().filter(here).collect()
    };
    for data in listed {
        // Without IFD and PlaneCount, all planes in order; with an IFD alone, one plane.
        let count = data
            .count
            .unwrap_or(if data.ifd.is_some() && !image.data.is_empty() {
                1
            } else {
                pages.len()
            });
        let mut place = data.first;
        for k in 0..count.min(pages.len()) {
            if place.iter().zip(sizes).any(|(p, s)| *p >= s) {
                break;
            }
            let index = (place[2] * sizes[1] + place[1]) * sizes[0] + place[0];
            pages[index] = data.ifd.unwrap_or(0).checked_add(k);
            advance(&mut place, sizes, order);
        }
    }
    Ok(())
}

/// The axes C, Z, T (0, 1, 2) from the fastest to the slowest.
fn axis_order(text: &str) -> Result<[usize; 3], AxesFault> {
    let axes: Vec<usize> = text
        .strip_prefix("XY")
        .unwrap_or_default()
        .chars()
        .filter_map(|c| "CZT".find(c))
        .collect();
    match axes[..] {
        [a, b, c] if a != b && b != c && a != c => Ok([a, b, c]),
        _ => Err(AxesFault::new(
            "DimensionOrder such as XYCZT in the OME-XML",
            text,
        )),
    }
}

fn advance(place: &mut [usize; 3], sizes: [usize; 3], order: [usize; 3]) {
    for (turn, &axis) in order.iter().enumerate() {
        place[axis] += 1;
        if place[axis] < sizes[axis] || turn == 2 {
            return;
        }
        place[axis] = 0;
    }
}

fn names(image: &Image, channels: usize, samples: usize) -> Vec<String> {
    let mut names = Vec::with_capacity(channels);
    for (index, (name, channel_samples)) in image.channels.iter().enumerate() {
        let name = if name.is_empty() {
            format!("channel{index}")
        } else {
            name.clone()
        };
        if *channel_samples == 1 || samples == 1 {
            names.push(name);
        } else {
            names.extend((0..*channel_samples).map(|s| format!("{name}.{s}")));
        }
        if names.len() >= channels {
            break;
        }
    }
    names.truncate(channels);
    (names.len()..channels).for_each(|c| names.push(format!("channel{c}")));
    names
}
