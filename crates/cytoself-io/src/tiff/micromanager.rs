//! MicroManager's metadata: one JSON text per page.
//!
//! # References
//! - OpenCell, raw microscopy stacks: the lower channel index is 405 nm, the next 488 nm, a third is the bright field

use serde_json::Value;

use super::axes::{Axes, AxesFault, AxesSource, Source};

/// One page's place in the stack.
#[derive(Clone, Copy)]
struct Place {
    channel: i64,
    slice: i64,
    frame: i64,
}

/// The axes from the channel, slice and frame index of each page.
///
/// Where all pages have the same channel index and their number is even, the first half is the first channel and the second half
/// the second, as in OpenCell's early acquisitions.
pub(super) fn axes(source: &Source<'_>) -> Result<Axes, AxesFault> {
    if source.pages.first().is_some_and(|p| p.samples > 1) {
        return Err(AxesFault::new(
            "one sample per pixel with MicroManager's metadata",
            "several",
        ));
    }
    let texts: Vec<&str> = source
        .micromanager
        .iter()
        .map(|t| t.as_deref().unwrap_or_default())
        .collect();
    let pages: Vec<Value> = texts
        .iter()
        .map(|t| serde_json::from_str(t).unwrap_or_default())
        .collect();
    let places: Vec<Place> = pages
        .iter()
        .enumerate()
        .map(|(i, page)| place(i, page))
        .collect::<Result<_, _>>()?;
    let mut indices: Vec<i64> = places.iter().map(|p| p.channel).collect();
    indices.sort_unstable();
    indices.dedup();
    let (planes, channels, slices, frames) = if indices.len() == 1 && same_slices(&places) {
        halves(places.len())?
    } else {
        ordered(&places, &indices)?
    };
    let channels = channel_names(channels, &indices, &places, &pages);
    let number = |key: &str| {
        pages
            .first()
            .and_then(|p| find(p, key))
            .and_then(number_of)
            .filter(|v| *v > 0.0)
    };
    let pixel_size_um = number("PixelSizeUm").or_else(|| number("PixelSize_um"));
    let z_step_um = number("z-step_um").or_else(|| number("ZStep_um"));
    Ok(Axes {
        source: AxesSource::MicroManager,
        channels,
        slices,
        frames,
        planes,
        pixel_size_um,
        z_step_um,
    })
}

/// A value by its plain key, or by a key such as `Core-Channel` under `UserData`.
fn find<'a>(page: &'a Value, key: &str) -> Option<&'a Value> {
    page.get(key)
        .or_else(|| page.get("UserData")?.get(key)?.get("scalar"))
}

fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn place(page: usize, metadata: &Value) -> Result<Place, AxesFault> {
    let index = |keys: [&str; 2]| {
        let value = keys
            .iter()
            .find_map(|k| find(metadata, k))
            .and_then(number_of);
        value.map(|v| v as i64)
    };
    let channel = index(["ChannelIndex", "Channel_index"]).ok_or_else(|| {
        AxesFault::new(
            format!("a ChannelIndex in MicroManager's metadata of page {page}"),
            "none",
        )
    })?;
    let slice = index(["SliceIndex", "Slice"]).unwrap_or(0);
    let frame = index(["FrameIndex", "Frame"]).unwrap_or(0);
    Ok(Place {
        channel,
        slice,
        frame,
    })
}

/// Whether the second half of the pages repeats the slices of the first half: two channels that share one index.
fn same_slices(places: &[Place]) -> bool {
    let half = places.len() / 2;
    if half == 0 || places.len() % 2 == 1 {
        return false;
    }
    let key = |p: &Place| (p.frame, p.slice);
    let repeats = places[..half]
        .iter()
        .zip(&places[half..])
        .all(|(a, b)| key(a) == key(b));
    let constant = places.iter().all(|p| key(p) == key(&places[0]));
    let counts_on = places
        .iter()
        .enumerate()
        .all(|(i, p)| p.slice == places[0].slice + i as i64);
    repeats || constant || counts_on
}

type Order = (Vec<(usize, usize)>, usize, usize, usize);

fn halves(pages: usize) -> Result<Order, AxesFault> {
    let slices = pages / 2;
    let planes = (0..slices)
        .flat_map(|z| [(z, 0), (slices + z, 0)])
        .collect();
    Ok((planes, 2, slices, 1))
}

/// Every combination of channel, slice and frame once.
fn ordered(places: &[Place], indices: &[i64]) -> Result<Order, AxesFault> {
    let sorted = |of: fn(&Place) -> i64| {
        let mut values: Vec<i64> = places.iter().map(of).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let (slices, frames) = (sorted(|p| p.slice), sorted(|p| p.frame));
    let expected = indices
        .len()
        .saturating_mul(slices.len())
        .saturating_mul(frames.len());
    let fault = |found: String| {
        let expected = format!(
            "{} channels x {} slices x {} frames, each once",
            indices.len(),
            slices.len(),
            frames.len()
        );
        AxesFault::new(expected, found)
    };
    if expected != places.len() {
        return Err(fault(format!(
            "{} pages; was the acquisition aborted?",
            places.len()
        )));
    }
    let mut planes = vec![None; expected];
    for (page, place) in places.iter().enumerate() {
        let position = |values: &[i64], value: i64| values.binary_search(&value).unwrap_or(0);
        let (c, z, t) = (
            position(indices, place.channel),
            position(&slices, place.slice),
            position(&frames, place.frame),
        );
        let plane = &mut planes[(t * slices.len() + z) * indices.len() + c];
        if plane.replace((page, 0)).is_some() {
            return Err(fault(format!(
                "page {page} with the indices of an earlier page"
            )));
        }
    }
    Ok((
        planes.into_iter().flatten().collect(),
        indices.len(),
        slices.len(),
        frames.len(),
    ))
}

/// The channel names of the metadata, else `index0`, `index1`, ... by channel index.
fn channel_names(count: usize, indices: &[i64], places: &[Place], pages: &[Value]) -> Vec<String> {
    let of = |c: usize| {
        let index = *indices.get(c)?;
        let page = places.iter().position(|p| p.channel == index)?;
        find(&pages[page], "Channel")
            .or_else(|| find(&pages[page], "ChannelName"))?
            .as_str()
            .map(str::to_string)
    };
    let names: Vec<String> = (0..count)
        .map(|c| {
            of(c)
                .filter(|_| indices.len() == count)
                .unwrap_or(format!("channel{c}"))
        })
        .collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() == count {
        names
    } else {
        super::axes::numbered(count)
    }
}
