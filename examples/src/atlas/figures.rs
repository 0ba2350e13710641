//! The paper's pictures of the atlas: Fig. 2 (map and sub-maps), Fig. 3 (a route, and outlined complexes).

use std::collections::BTreeMap;
use std::path::Path;

use cytoself_io::{CropSource, CropTable, read_groups};
use ndarray::{Array2, ArrayView2, Axis};

use crate::cli::Failure;
use crate::evaluation::column;
use crate::plot::{self, Landmarks, Submaps, Tile};
use crate::tiles::protein_images;

/// Stops of a route, its ends counted.
const STOPS: usize = 8;
/// Share of a complex's crops, the nearest to its middle, that its outline holds.
const INSIDE: f64 = 0.6;

/// A map with the table of its points.
pub(super) struct Mapped<'a> {
    pub(super) table: &'a CropTable,
    pub(super) points: ArrayView2<'a, f32>,
    pub(super) class: &'a [Option<usize>],
    pub(super) names: &'a [String],
}

impl Mapped<'_> {
    /// Fig. 2.
    pub(super) fn submaps(&self, folder: &Path, title: &str) -> Result<(), Failure> {
        let protein = codes(self.table)?;
        let figure = Submaps::new(self.points, self.class, self.names, &protein).title(title);
        save(&figure, folder, "figure2")
    }

    /// Fig. 3a: crops along the straight line between the middles of two proteins on the map.
    pub(super) fn route(
        &self,
        folder: &Path,
        [from, to]: [&str; 2],
        crops: &dyn CropSource,
    ) -> Result<(), Failure> {
        let ends = [self.middle_of(from)?, self.middle_of(to)?];
        let stops = stops(self.points, &codes(self.table)?, ends);
        let title = format!("from {from} to {to}; every crop stretched by itself");
        let figure = Landmarks::new(self.points, self.class)
            .title(title)
            .route(stops.iter().map(|&row| self.place(row)).collect());
        let images = protein_images(crops, self.table, &stops)?;
        let tiles = self.captioned(&stops, &images, |number, name| format!("{number} {name}"))?;
        save(&figure.tiles(tiles), folder, "figure3_route")
    }

    /// Fig. 3b: complexes outlined where most of their crops are, each with the crop nearest to its middle.
    pub(super) fn complexes(
        &self,
        folder: &Path,
        groups: &Path,
        crops: &dyn CropSource,
    ) -> Result<(), Failure> {
        let proteins = column(self.table, "protein")?;
        let groups_of = read_groups(groups)?;
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for row in (0..self.table.len()).filter(|&r| is_placed(self.points, r)) {
            if let Some(group) = groups_of.group(proteins.get(row)) {
                members.entry(group).or_default().push(row);
            }
        }
        if members.is_empty() {
            return Err(Failure::input(format!(
                "{}: names none of the proteins on the map",
                groups.display()
            )));
        }
        let mut class = vec![None; self.table.len()];
        let mut figure_of = Vec::new();
        let mut middles = Vec::new();
        for (index, (name, rows)) in members.iter().enumerate() {
            rows.iter().for_each(|&row| class[row] = Some(index));
            let near = nearest_first(self.points, rows, middle(self.points, rows));
            let kept = ((near.len() as f64 * INSIDE).ceil() as usize).max(1);
            let places: Vec<[f32; 2]> = near[..kept].iter().map(|&row| self.place(row)).collect();
            middles.push(near[0]);
            figure_of.push(((*name).to_string(), places));
        }
        let figure =
            Landmarks::new(self.points, &class).title("complexes; every crop stretched by itself");
        let figure = figure_of.iter().fold(figure, |figure, (name, places)| {
            figure.region(name.clone(), places)
        });
        let images = protein_images(crops, self.table, &middles)?;
        let names: Vec<&str> = members.keys().copied().collect();
        let tiles = self.captioned(&middles, &images, |number, protein| {
            format!("{}: {protein}", names[number - 1])
        })?;
        save(&figure.tiles(tiles), folder, "figure3_complexes")
    }

    fn captioned<'i>(
        &self,
        rows: &[usize],
        images: &'i [Array2<f32>],
        caption: impl Fn(usize, &str) -> String,
    ) -> Result<Vec<Tile<'i>>, Failure> {
        let proteins = column(self.table, "protein")?;
        let tile = |((number, &row), image): ((usize, &usize), &'i Array2<f32>)| Tile {
            image: image.view(),
            caption: caption(number, proteins.get(row)),
            glow: None,
        };
        Ok((1..).zip(rows).zip(images).map(tile).collect())
    }

    fn place(&self, row: usize) -> [f32; 2] {
        [self.points[[row, 0]], self.points[[row, 1]]]
    }

    fn middle_of(&self, protein: &str) -> Result<[f32; 2], Failure> {
        let proteins = column(self.table, "protein")?;
        let rows: Vec<usize> = (0..self.table.len())
            .filter(|&r| proteins.get(r) == protein && is_placed(self.points, r))
            .collect();
        if rows.is_empty() {
            return Err(Failure::input(format!(
                "--path {protein}: no crop of that protein is on the map"
            )));
        }
        Ok(middle(self.points, &rows))
    }
}

fn save(figure: &impl plot::Figure, folder: &Path, name: &str) -> Result<(), Failure> {
    plot::save(figure, &folder.join(format!("{name}.png")))?;
    plot::save(figure, &folder.join(format!("{name}.svg")))
}

fn codes(table: &CropTable) -> Result<Vec<usize>, Failure> {
    let codes = column(table, "protein")?.codes();
    Ok(codes.iter().map(|&c| c as usize).collect())
}

fn is_placed(points: ArrayView2<'_, f32>, row: usize) -> bool {
    points.row(row).iter().all(|v| v.is_finite())
}

/// Median of each coordinate.
fn middle(points: ArrayView2<'_, f32>, rows: &[usize]) -> [f32; 2] {
    [0, 1].map(|axis| {
        let mut values: Vec<f32> = rows.iter().map(|&row| points[[row, axis]]).collect();
        values.sort_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    })
}

fn squared(points: ArrayView2<'_, f32>, row: usize, to: [f32; 2]) -> f32 {
    (points[[row, 0]] - to[0]).powi(2) + (points[[row, 1]] - to[1]).powi(2)
}

fn nearest_first(points: ArrayView2<'_, f32>, rows: &[usize], to: [f32; 2]) -> Vec<usize> {
    let mut rows = rows.to_vec();
    rows.sort_by(|&a, &b| squared(points, a, to).total_cmp(&squared(points, b, to)));
    rows
}

/// The crop nearest to each of [`STOPS`] places on the line between two ends; of a protein that did not come yet where there is
/// one within a step of the place.
fn stops(points: ArrayView2<'_, f32>, protein: &[usize], ends: [[f32; 2]; 2]) -> Vec<usize> {
    let placed: Vec<usize> = (0..points.len_of(Axis(0)))
        .filter(|&row| is_placed(points, row))
        .collect();
    let way = [0, 1].map(|axis| ends[1][axis] - ends[0][axis]);
    let step = way[0].hypot(way[1]) / (STOPS - 1) as f32;
    let mut stops: Vec<usize> = Vec::new();
    for stop in 0..STOPS {
        let share = stop as f32 / (STOPS - 1) as f32;
        let at = [0, 1].map(|axis| ends[0][axis] + share * way[axis]);
        let near = nearest_first(points, &placed, at);
        let fresh = near
            .iter()
            .copied()
            .take_while(|&row| squared(points, row, at) <= step * step)
            .find(|&row| stops.iter().all(|&s| protein[s] != protein[row]));
        stops.extend(fresh.or(near.iter().copied().find(|row| !stops.contains(row))));
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_follow_the_line_and_do_not_repeat_proteins() {
        let points = Array2::from_shape_fn(
            (60, 2),
            |(i, j)| if j == 0 { i as f32 } else { (i % 2) as f32 },
        );
        let protein: Vec<usize> = (0..60).map(|i| i / 2).collect();
        let found = stops(points.view(), &protein, [[0.0, 0.0], [59.0, 0.0]]);
        assert_eq!(found.len(), STOPS);
        assert!(found.windows(2).all(|w| w[0] < w[1]), "{found:?}");
        let mut proteins: Vec<usize> = found.iter().map(|&r| protein[r]).collect();
        proteins.dedup();
        assert_eq!(proteins.len(), STOPS);
        // Two proteins only: crops repeat proteins, but no crop comes twice.
        let few = stops(points.view(), &vec![0; 60], [[0.0, 0.0], [59.0, 0.0]]);
        let mut distinct = few.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), few.len());
    }
}
