use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::cli::Failure;

/// What a figure draws on.
pub type Area<'a, B> = DrawingArea<B, Shift>;

/// The outcome of drawing on backend `B`.
pub type Drawing<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A picture that can be drawn on any backend.
pub trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws the picture on a white `area` of [`Figure::size`].
    ///
    /// # Errors
    /// - the backend fails.
    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B>;
}

/// Writes a figure as PNG or SVG, by the extension of `path`.
///
/// # Errors
/// - the extension is neither `png` nor `svg`;
/// - the file cannot be written.
pub fn save(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    save_as(figure, path, path)
}

/// As [`save`], in the format of the extension of `name`, while `path` is a temporary name.
///
/// # Errors
/// As [`save`].
pub fn save_as(figure: &impl Figure, path: &Path, name: &Path) -> Result<(), Failure> {
    register_fonts();
    match name.extension().and_then(|e| e.to_str()) {
        Some("png") => save_png(figure, path),
        Some("svg") => save_svg(figure, path),
        _ => {
            return Err(Failure::input(format!(
                "{}: a picture is .png or .svg",
                name.display()
            )));
        }
    }
    .map_err(|failure| failure.context(name.display()))
}

fn save_svg(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, figure.size()).into_drawing_area();
        draw(figure, &area)?;
    }
    std::fs::write(path, text).map_err(Failure::from)
}

fn save_png(figure: &impl Figure, path: &Path) -> Result<(), Failure> {
    let (width, height) = figure.size();
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(figure, &area)?;
    }
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish().map_err(Failure::from)
}

fn draw<B: DrawingBackend>(figure: &impl Figure, area: &Area<'_, B>) -> Result<(), Failure> {
    let drawn = area
        .fill(&WHITE)
        .and_then(|()| figure.draw(area))
        .and_then(|()| area.present());
    drawn.map_err(|e| Failure::other(format!("drawing failed: {e}")))
}

fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let fonts = [
            ("sans-serif", epaint_default_fonts::UBUNTU_LIGHT),
            ("monospace", epaint_default_fonts::HACK_REGULAR),
        ];
        for (name, bytes) in fonts {
            // The fonts are compiled in and parse; the error type says nothing.
            let _ = plotters::style::register_font(name, FontStyle::Normal, bytes);
        }
    });
}
