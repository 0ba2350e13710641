//! Pairs of cells of one image.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use cytoself_io::Split;

use crate::ModelError;
use crate::config::AugmentationGroup;
use crate::random::{Stream, Use};
use crate::training::TrainingData;
use crate::training::augment::Symmetry;
use crate::training::loader::chunk;

/// Keeps the flips of targets apart from those of sources.
const TARGET: u64 = 0x7461_7267;

/// Source cells, markers of the target cells, protein of the target cells; pixels with the number of pairs.
pub(super) struct Pixels {
    source: Vec<f32>,
    markers: Vec<f32>,
    protein: Vec<f32>,
    pairs: usize,
}

/// As tensors.
pub(super) struct Batch {
    pub(super) source: Tensor,
    pub(super) markers: Tensor,
    pub(super) protein: Tensor,
}

/// A protein, and one of its fields or all of them.
type Place = (u32, Option<u32>);

/// The crops of a split and the cells that each may be paired with.
pub(super) struct Pairs<'a> {
    data: &'a TrainingData<'a>,
    rows: Vec<usize>,
    members: HashMap<Place, Vec<usize>>,
}

/// Which pairs an epoch has: a function of the seed and the epoch alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) epoch: u64,
    pub(super) batch: usize,
    /// Whether the order, and the flips of both cells, are random.
    pub(super) training: bool,
}

impl<'a> Pairs<'a> {
    /// Partners are crops of the same protein and field; where a field has one crop, of the same protein.
    pub(super) fn new(data: &'a TrainingData<'a>, split: Split) -> Self {
        let rows = data.rows(split).to_vec();
        let mut members: HashMap<Place, Vec<usize>> = HashMap::new();
        for &row in &rows {
            let (protein, field) = place(data, row);
            for place in [(protein, Some(field)), (protein, None)] {
                members.entry(place).or_default().push(row);
            }
        }
        Self {
            data,
            rows,
            members,
        }
    }

    /// The crops among which the partner of `row` is.
    fn group(&self, row: usize) -> &[usize] {
        let (protein, field) = place(self.data, row);
        let of = |place: Place| self.members.get(&place).map_or(&[][..], Vec::as_slice);
        match of((protein, Some(field))) {
            field if field.len() > 1 => field,
            _ => of((protein, None)),
        }
    }

    /// Batches of an epoch; the last may be smaller.
    pub(super) fn batches(&self, batch: usize) -> usize {
        self.rows.len().div_ceil(batch)
    }

    /// The crops of an epoch in order.
    pub(super) fn order(&self, plan: &Plan) -> Vec<usize> {
        let mut rows = self.rows.clone();
        if plan.training {
            Stream::new(plan.seed, Use::Shuffle, &[plan.epoch, Split::Train as u64])
                .shuffle(&mut rows);
        }
        rows
    }

    /// The cell whose protein is predicted from `row`: another one of its group, itself only where it is alone.
    fn partner(&self, row: usize, plan: &Plan) -> usize {
        let group = self.group(row);
        let own = group.iter().position(|&r| r == row).unwrap_or(0);
        if group.len() < 2 {
            return row;
        }
        let mut stream = Stream::new(plan.seed, Use::Partner, &[plan.epoch, row as u64]);
        let drawn = stream.below(group.len() - 1);
        group[drawn + usize::from(drawn >= own)]
    }

    /// Pixels of batch `index` of an epoch whose crops are `order`.
    pub(super) fn make(
        &self,
        order: &[usize],
        index: usize,
        plan: &Plan,
    ) -> Result<Pixels, ModelError> {
        let rows = chunk(order, index, plan.batch);
        let partners: Vec<usize> = rows.iter().map(|&row| self.partner(row, plan)).collect();
        let source = self.read(rows, rows, plan, 0)?;
        let target = self.read(&partners, rows, plan, TARGET)?;
        let [h, w] = self.data.crop_shape();
        let (mut markers, mut protein) = (Vec::with_capacity(target.len()), Vec::new());
        for crop in target.chunks_exact(self.data.crop_values()) {
            protein.extend_from_slice(&crop[..h * w]);
            markers.extend_from_slice(&crop[h * w..]);
        }
        Ok(Pixels {
            source,
            markers,
            protein,
            pairs: rows.len(),
        })
    }

    /// Pixels of `rows`, each flipped as drawn for its entry of `keys`.
    fn read(
        &self,
        rows: &[usize],
        keys: &[usize],
        plan: &Plan,
        stream: u64,
    ) -> Result<Vec<f32>, ModelError> {
        let mut pixels = self.data.read(rows)?;
        if !plan.training {
            return Ok(pixels);
        }
        let size = self.data.crop_shape();
        let mut scratch = Vec::new();
        let crops = pixels.chunks_exact_mut(self.data.crop_values());
        for (crop, &key) in crops.zip(keys) {
            // The two flips and their product, as published.
            let group = AugmentationGroup::TorchSubset;
            Symmetry::draw(group, false, plan.seed ^ stream, plan.epoch, key as u64).apply(
                crop,
                size,
                &mut scratch,
            );
        }
        Ok(pixels)
    }

    /// The pixels as tensors.
    pub(super) fn batch(&self, pixels: Pixels, device: &Device) -> Result<Batch, ModelError> {
        let (n, [h, w]) = (pixels.pairs, self.data.crop_shape());
        let channels = self.data.channels().len();
        Ok(Batch {
            source: Tensor::from_vec(pixels.source, (n, channels, h, w), device)?,
            markers: Tensor::from_vec(pixels.markers, (n, channels - 1, h, w), device)?,
            protein: Tensor::from_vec(pixels.protein, (n, 1, h, w), device)?,
        })
    }
}

/// Protein and field of a crop; without a column of fields, all crops of a protein are of one.
fn place(data: &TrainingData<'_>, row: usize) -> (u32, u32) {
    let code = |column: &str| {
        let column = data.table().text(column);
        column.map_or(0, |c| c.codes()[row])
    };
    (code("protein"), code("fov"))
}

#[cfg(test)]
mod tests {
    use cytoself_io::{CropSource, CropTable, IoError};

    use super::*;

    /// Crops of 2 x 2 pixels of the value `10 * row + channel`.
    struct Flat(CropTable, Vec<String>);

    impl CropSource for Flat {
        fn table(&self) -> &CropTable {
            &self.0
        }

        fn channels(&self) -> &[String] {
            &self.1
        }

        fn crop_shape(&self) -> [usize; 2] {
            [2; 2]
        }

        fn read_into(
            &self,
            rows: &[usize],
            channels: &[usize],
            out: &mut [f32],
        ) -> Result<(), IoError> {
            let places = rows
                .iter()
                .flat_map(|r| channels.iter().map(move |c| (r, c)));
            for (plane, (row, channel)) in out.chunks_exact_mut(4).zip(places) {
                plane.fill((10 * row + channel) as f32);
            }
            Ok(())
        }
    }

    fn source() -> Flat {
        let mut table = CropTable::new();
        // Protein A: fields of three crops and of one; protein B: one crop.
        for (protein, fov) in [("A", "f"), ("A", "f"), ("A", "g"), ("A", "f"), ("B", "f")] {
            table
                .push(&[("protein", protein.into()), ("fov", fov.into())])
                .unwrap();
        }
        Flat(table, ["pro", "nuc"].map(String::from).to_vec())
    }

    #[test]
    fn partners_share_protein_and_field_and_are_others_where_there_are() {
        let source = source();
        // Two rows stand for the validation that training data must have.
        let mut splits = vec![Some(Split::Train); 5];
        splits[4] = Some(Split::Validation);
        let data = TrainingData::new(&source, &source.1, &splits, None).unwrap();
        let pairs = Pairs::new(&data, Split::Train);
        let mut drawn: HashMap<usize, Vec<usize>> = HashMap::new();
        for epoch in 0..40 {
            let plan = Plan {
                seed: 3,
                epoch,
                batch: 3,
                training: true,
            };
            for row in pairs.order(&plan) {
                drawn
                    .entry(row)
                    .or_default()
                    .push(pairs.partner(row, &plan));
            }
        }
        for partners in drawn.values_mut() {
            partners.sort_unstable();
            partners.dedup();
        }
        assert_eq!(drawn[&0], [1, 3]);
        assert_eq!(drawn[&3], [0, 1]);
        // Alone in its field: any other crop of the protein.
        assert_eq!(drawn[&2], [0, 1, 3]);
        let alone = Pairs::new(&data, Split::Validation);
        let plan = Plan {
            seed: 3,
            epoch: 0,
            batch: 3,
            training: false,
        };
        assert_eq!(alone.partner(4, &plan), 4);
    }

    #[test]
    fn the_target_is_the_partner() {
        let source = source();
        let mut splits = vec![Some(Split::Train); 5];
        splits[4] = Some(Split::Validation);
        let data = TrainingData::new(&source, &source.1, &splits, None).unwrap();
        let pairs = Pairs::new(&data, Split::Train);
        let plan = Plan {
            seed: 1,
            epoch: 2,
            batch: 3,
            training: true,
        };
        let order = pairs.order(&plan);
        assert_eq!(pairs.batches(3), 2);
        let pixels = pairs.make(&order, 1, &plan).unwrap();
        let partner = pairs.partner(order[3], &plan);
        assert_eq!(pixels.pairs, 1);
        assert_eq!(pixels.source[0], (10 * order[3]) as f32);
        assert_eq!(pixels.protein, [(10 * partner) as f32; 4]);
        assert_eq!(pixels.markers, [(10 * partner + 1) as f32; 4]);
        let batch = pairs.batch(pixels, &Device::Cpu).unwrap();
        assert_eq!(batch.source.dims(), [1, 2, 2, 2]);
    }
}
