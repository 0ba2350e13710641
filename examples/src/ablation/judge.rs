//! Scores of the maps.

use cytoself_eval::{Centre, clustering_score};
use cytoself_io::{CropSource, read_groups};
use ndarray::{Array2, Axis};

use super::bench::{Bench, mapped_rows};
use super::table::{Cell, Table, TableParams};
use super::{Arguments, Entry};
use crate::cli::Failure;
use crate::evaluation::{Subject, Truth, knn_macro_f1};

/// Neighbours that vote.
const NEIGHBOURS: usize = 10;

/// The scores of a map, in the order of [`Judge::score`].
pub(super) const SCORES: [&str; 3] = ["clustering_robust", "clustering_reference", "knn_macro_f1"];

/// The classes to judge by.
pub(super) struct Judge {
    truths: Vec<(&'static str, Subject)>,
}

impl Judge {
    /// Reads organelles and, where there are any, complexes of the crops that are mapped.
    pub(super) fn new(arguments: &Arguments, crops: &dyn CropSource) -> Result<Self, Failure> {
        let rows = mapped_rows(crops, arguments.limit)?;
        let table = crops.table().select(&rows)?;
        let organelles = match &arguments.groups {
            Some(path) => Truth::Groups(read_groups(path)?),
            None => Truth::Column(arguments.column.clone()),
        };
        let mut truths = vec![("organelles", organelles)];
        if let Some(path) = &arguments.complexes {
            truths.push(("complexes", Truth::Groups(read_groups(path)?)));
        }
        let subject = |(name, truth): (&'static str, Truth)| {
            let subject = Subject::choose(&table, &truth, "all", None, usize::MAX);
            subject
                .map(|s| (name, s))
                .map_err(|e| e.context(arguments.data.display()))
        };
        Ok(Self {
            truths: truths.into_iter().map(subject).collect::<Result<_, _>>()?,
        })
    }

    /// Names of the truths and what they say of the mapped crops.
    pub(super) fn truths(&self) -> &[(&'static str, Subject)] {
        &self.truths
    }

    /// The table of all finished maps.
    pub(super) fn table(
        &self,
        bench: &Bench<'_>,
        entries: &[Entry],
        seed: u64,
    ) -> Result<Table, Failure> {
        let arguments = bench.arguments();
        let mut cells = Vec::new();
        for line in entries.iter().flat_map(|e| e.lines()) {
            for training in 1..=arguments.trainings {
                for map in 1..=arguments.umaps {
                    let points = bench.read_map(&line, training, map)?;
                    for (truth, subject) in &self.truths {
                        cells.push(Cell {
                            model: line.name.clone(),
                            training,
                            map,
                            truth: (*truth).to_string(),
                            scores: score(&points, subject)?,
                        });
                    }
                }
            }
        }
        let seconds = |entry: &Entry| {
            let all = (1..=arguments.trainings).filter_map(|t| bench.seconds(*entry, t));
            all.sum::<f64>() / arguments.trainings as f64
        };
        let times = entries
            .iter()
            .flat_map(|e| e.lines().into_iter().map(|l| (l.name, seconds(e))))
            .collect();
        Table::new(cells, times, TableParams { seed })
    }
}

/// [`SCORES`] of a map; points that the map left out do not count.
fn score(map: &Array2<f32>, subject: &Subject) -> Result<[f64; 3], Failure> {
    let kept: Vec<usize> = (0..subject.rows.len())
        .filter(|&at| map.row(subject.rows[at]).iter().all(|v| v.is_finite()))
        .collect();
    let subject = subject.keep(&kept);
    let points = map.select(Axis(0), &subject.rows);
    let clusters = clustering_score(
        points.mapv(f64::from).view(),
        &subject.labels,
        Centre::Coordinatewise,
    )?;
    let votes = knn_macro_f1(points.view(), &subject, NEIGHBOURS)?;
    Ok([clusters.robust, clusters.reference, votes])
}
