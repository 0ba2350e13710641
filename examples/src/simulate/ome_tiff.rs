//! The stacks on disk: 16-bit OME-TIFF, DNA and protein in turn for every slice, as the microscope's software writes them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tiff::TiffResult;
use tiff::encoder::{TiffEncoder, TiffKind, colortype};
use tiff::tags::Tag;

use super::cell::PIXEL_UM;
use super::field::{SimulatedField, z_step_um};
use crate::cli::Failure;

/// Above this size of the pixels a file needs the 64-bit layout.
const CLASSIC_LIMIT: usize = 4_000_000_000;

/// Writes a field; the channels are `nuc;pro` and the pages go channel by channel within each slice (`XYCZT`).
///
/// # Errors
/// - the file cannot be written.
pub fn write(path: &Path, name: &str, field: &SimulatedField) -> Result<(), Failure> {
    let context = |message: String| Failure::other(format!("{}: {message}", path.display()));
    let file = File::create(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let bytes = 4 * field.size * field.size * field.protein.len();
    let written = if bytes < CLASSIC_LIMIT {
        TiffEncoder::new(&mut out).and_then(|mut e| pages(&mut e, name, field))
    } else {
        TiffEncoder::new_big(&mut out).and_then(|mut e| pages(&mut e, name, field))
    };
    written.map_err(|e| context(e.to_string()))?;
    out.flush()
        .map_err(|e| Failure::from(e).context(path.display()))
}

fn pages<W: Write + std::io::Seek, K: TiffKind>(
    encoder: &mut TiffEncoder<W, K>,
    name: &str,
    field: &SimulatedField,
) -> TiffResult<()> {
    let side = field.size as u32;
    let slices = field
        .dna
        .iter()
        .zip(&field.protein)
        .flat_map(|(dna, protein)| [dna, protein]);
    for (page, counts) in slices.enumerate() {
        let mut image = encoder.new_image::<colortype::Gray16>(side, side)?;
        if page == 0 {
            image
                .encoder()
                .write_tag(Tag::ImageDescription, description(name, field).as_str())?;
        }
        image.write_data(counts)?;
    }
    Ok(())
}

fn description(name: &str, field: &SimulatedField) -> String {
    let (size, slices) = (field.size, field.protein.len());
    let step = z_step_um(slices);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" Creator=\"cytoself simulate {version}\">\
         <Image ID=\"Image:0\" Name=\"{name}\"><Pixels ID=\"Pixels:0\" Type=\"uint16\" DimensionOrder=\"XYCZT\" BigEndian=\"false\" \
         SizeX=\"{size}\" SizeY=\"{size}\" SizeZ=\"{slices}\" SizeC=\"2\" SizeT=\"1\" PhysicalSizeX=\"{PIXEL_UM}\" PhysicalSizeXUnit=\"&#181;m\" \
         PhysicalSizeY=\"{PIXEL_UM}\" PhysicalSizeYUnit=\"&#181;m\" PhysicalSizeZ=\"{step}\" PhysicalSizeZUnit=\"&#181;m\">\
         <Channel ID=\"Channel:0:0\" Name=\"nuc\" SamplesPerPixel=\"1\"/><Channel ID=\"Channel:0:1\" Name=\"pro\" SamplesPerPixel=\"1\"/>\
         <TiffData/></Pixels></Image></OME>",
        version = env!("CARGO_PKG_VERSION"),
    )
}
