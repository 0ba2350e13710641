//! ImageJ's image description: `key=value` lines.

use super::axes::{Axes, AxesFault, AxesSource, Source, micrometres, numbered, sample_names};

/// The axes of an ImageJ stack; planes are in the order channel, slice, frame.
pub(super) fn axes(source: &Source<'_>) -> Result<Axes, AxesFault> {
    let value = |key: &str| {
        source
            .description
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('=').map(str::trim))
    };
    let count = |key: &str| match value(key) {
        None => Ok(None),
        Some(text) => match text.parse::<usize>() {
            Ok(n) if n > 0 && n <= 1 << 24 => Ok(Some(n)),
            _ => Err(AxesFault::new(
                format!("{key}= a positive number in ImageJ's description"),
                text,
            )),
        },
    };
    let pages = source.pages.len();
    let samples = source.pages.first().map_or(1, |p| p.samples);
    let channels = count("channels")?.unwrap_or(1);
    let frames = count("frames")?.unwrap_or(1);
    // Samples of a pixel are the channels of a composite image, or the colours of an RGB image.
    let channel_pages = if samples > 1 { 1 } else { channels };
    if samples > 1 && channels > 1 && samples != channels {
        return Err(AxesFault::new(
            format!("{channels} samples per pixel, as ImageJ's description has channels"),
            samples,
        ));
    }
    let slices = match count("slices")? {
        Some(slices) => slices,
        None => (pages / (channel_pages * frames)).max(1),
    };
    let needed = channel_pages.saturating_mul(slices).saturating_mul(frames);
    if needed != pages {
        let expected = format!(
            "{channels} channels x {slices} slices x {frames} frames, as ImageJ's description says"
        );
        return Err(AxesFault::new(
            expected,
            format!("{pages} pages; was the stack cut short?"),
        ));
    }
    let planes = (0..pages)
        .flat_map(|page| (0..samples).map(move |sample| (page, sample)))
        .collect();
    let unit = value("unit").and_then(micrometres);
    let pixel_size_um = unit
        .zip(source.resolution)
        .map(|(unit, resolution)| unit / resolution);
    let spacing = value("spacing")
        .and_then(|s| s.parse::<f64>().ok())
        .map(f64::abs)
        .filter(|s| s.is_finite() && *s > 0.0);
    let z_step_um = if slices > 1 {
        unit.zip(spacing).map(|(unit, spacing)| unit * spacing)
    } else {
        None
    };
    let channels = if samples > 1 && channels == 1 {
        sample_names(samples)
    } else {
        numbered(channels)
    };
    Ok(Axes {
        source: AxesSource::ImageJ,
        channels,
        slices,
        frames,
        planes,
        pixel_size_um,
        z_step_um,
    })
}

/// Number of images that the description declares: more than one in a file of one page is a stack above 4 GB, whose planes follow
/// the first one without a directory of their own.
pub(super) fn images(description: &str) -> usize {
    let value = description.lines().find_map(|l| l.strip_prefix("images="));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(1)
}
