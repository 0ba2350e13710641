//! Aligned maps of the first training of every model: the same crop lies at about the same place in each.

use std::fs;
use std::path::Path;

use cytoself_io::npy;
use cytoself_umap::{AlignedParams, ParamGuard, Relation, UmapParams};
use ndarray::{Array2, Ix2};

use super::bench::Bench;
use super::judge::Judge;
use super::{Entry, Line};
use crate::cli::Failure;
use crate::evaluation::Subject;
use crate::output::Output;
use crate::plot::{self, ScatterGrid};
use crate::points::Points;
use crate::progress::Progress;

/// Panels in a row of the picture.
const COLUMNS: usize = 4;
/// Which models the maps are of, in order.
const MODELS: &str = "models.txt";

/// Writes `aligned/`, a map per model, and draws it once per truth.
pub(super) fn draw(bench: &Bench<'_>, judge: &Judge, entries: &[Entry]) -> Result<(), Failure> {
    let lines: Vec<Line> = entries.iter().flat_map(|e| e.lines()).collect();
    if lines.len() < 2 {
        return Ok(());
    }
    let folder = bench.arguments().out.join("aligned");
    if !is_of(&folder, &lines) {
        align(bench, &lines, &folder)?;
    }
    let maps = lines
        .iter()
        .map(|line| read(&folder.join(format!("{}.npy", line.name))))
        .collect::<Result<Vec<_>, _>>()?;
    for (name, subject) in judge.truths() {
        let class = classes(subject, maps[0].nrows());
        let title = format!("AlignedUMAP of the first training of every model: {name}");
        let grid = ScatterGrid::new(&class, subject.labels.names(), COLUMNS).title(title);
        let grid = lines.iter().zip(&maps).fold(grid, |grid, (line, map)| {
            grid.panel(line.name.replace('_', " "), map.view())
        });
        for ending in ["png", "svg"] {
            let path = bench
                .arguments()
                .out
                .join(format!("aligned_{name}.{ending}"));
            plot::save(&grid, &path)?;
        }
    }
    Ok(())
}

fn is_of(folder: &Path, lines: &[Line]) -> bool {
    fs::read_to_string(folder.join(MODELS)).is_ok_and(|text| text == listed(lines))
}

fn listed(lines: &[Line]) -> String {
    lines.iter().map(|l| l.name.clone() + "\n").collect()
}

fn align(bench: &Bench<'_>, lines: &[Line], folder: &Path) -> Result<(), Failure> {
    let points = lines
        .iter()
        .map(|line| bench.points(line, 1))
        .collect::<Result<Vec<Points>, _>>()?;
    let sources = points
        .iter()
        .map(Points::source)
        .collect::<Result<Vec<_>, _>>()?;
    let count = sources.first().map_or(0, cytoself_umap::PointSource::len);
    let relations: Vec<Relation> = (1..sources.len())
        .map(|_| Relation::identity(count))
        .collect();
    let common = bench.common();
    let progress = Progress::new("aligning", 1000, common.quiet);
    let models = AlignedParams::default()
        .slices(UmapParams::default().seed(common.seed))
        .check()?
        .fit(&sources, &relations, &mut |done, _| progress.update(done))?;
    drop(progress);
    let output = Output::folder(folder, true)?;
    for (line, model) in lines.iter().zip(&models) {
        let path = output.path().join(format!("{}.npy", line.name));
        npy::write(&path, &model.embedding())?;
    }
    fs::write(output.path().join(MODELS), listed(lines))?;
    output.commit()
}

fn read(path: &Path) -> Result<Array2<f32>, Failure> {
    npy::read_f32(path)?
        .into_dimensionality::<Ix2>()
        .map_err(|e| Failure::from(e).context(path.display()))
}

/// Class of every mapped crop.
fn classes(subject: &Subject, count: usize) -> Vec<Option<usize>> {
    let mut class = vec![None; count];
    for (&row, &of) in subject.rows.iter().zip(subject.labels.classes()) {
        class[row] = of;
    }
    class
}
