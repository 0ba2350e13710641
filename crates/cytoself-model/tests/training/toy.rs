//! Crops in memory: proteins that differ by the size of a bright spot.

use cytoself_io::{CropSource, CropTable, IoError, Split};

/// Square crops of two channels.
pub struct Toy {
    table: CropTable,
    channels: Vec<String>,
    side: usize,
    proteins: usize,
    /// A row all of whose pixels have this value.
    pub broken: Option<(usize, f32)>,
}

impl Toy {
    /// `crops` crops of `side` px of `proteins` proteins in turn.
    pub fn new(crops: usize, side: usize, proteins: usize) -> Self {
        let mut table = CropTable::new();
        for row in 0..crops {
            let protein = format!("P{}", row % proteins);
            let fov = format!("f{}", row / proteins % 5);
            table
                .push(&[
                    ("protein", protein.as_str().into()),
                    ("fov", fov.as_str().into()),
                ])
                .unwrap();
        }
        Self {
            table,
            channels: vec!["pro".into(), "nuc".into()],
            side,
            proteins,
            broken: None,
        }
    }

    /// Fields 0 to 2 train, 3 val, 4 test.
    pub fn splits(&self) -> Vec<Option<Split>> {
        let of = |row: usize| match row / self.proteins % 5 {
            3 => Split::Validation,
            4 => Split::Test,
            _ => Split::Train,
        };
        (0..self.table.len()).map(|row| Some(of(row))).collect()
    }

    fn pixel(&self, row: usize, channel: usize, y: usize, x: usize) -> f32 {
        if let Some((broken, value)) = self.broken
            && broken == row
        {
            return value;
        }
        let jitter = |k: usize| ((row * 2_654_435_761 + k * 40_503) >> 7 & 7) as f32 - 3.5;
        let centre = self.side as f32 / 2.0;
        let distance = (y as f32 - centre - jitter(1)).hypot(x as f32 - centre - jitter(2));
        let radius = if channel == 1 {
            8.0
        } else {
            3.0 + 4.0 * (row % self.proteins) as f32
        };
        let noise = ((row * 31 + channel * 17 + y * 7919 + x * 104_729) % 97) as f32 / 970.0;
        1.0 / (1.0 + (distance - radius).exp()) + noise
    }
}

impl CropSource for Toy {
    fn table(&self) -> &CropTable {
        &self.table
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn crop_shape(&self) -> [usize; 2] {
        [self.side; 2]
    }

    fn read_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let mut pixels = out.iter_mut();
        for &row in rows {
            for &channel in channels {
                for y in 0..self.side {
                    for x in 0..self.side {
                        *pixels.next().unwrap() = self.pixel(row, channel, y, x);
                    }
                }
            }
        }
        Ok(())
    }
}
