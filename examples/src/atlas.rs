//! The atlas: a map of all crops, as a page, as pictures and as tables.

mod base64;
mod columns;
mod crops;
mod figures;
mod groups;
mod map;
mod page;
mod parquet;
mod sprites;

use std::fs;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cytoself_io::{CropTable, EmbeddingStore, npy, open_crops};
use cytoself_umap::UmapParams;
use ndarray::Array2;

pub use page::{Page, PageColumn, PageValues};
pub use sprites::{Sprites, TILE, composite};

use crate::cli::Failure;
use crate::plot::{self, Scatter};

/// Pictures that a page holds at most; with them it has about 20 MB.
pub const DEFAULT_PICTURES: usize = 12_000;

/// What an atlas shows.
#[derive(Debug, Clone)]
pub struct AtlasParams {
    /// Which representation to map.
    pub representation: String,
    /// The map.
    pub umap: UmapParams,
    /// Column that colours the points first; without it `group`, `localization` or `protein`.
    pub color_by: Option<String>,
    /// Table `protein,group`, added as column `group`.
    pub groups: Option<PathBuf>,
    /// Crops of this split only.
    pub split: Option<String>,
    /// Where the crops are; without it, where the embeddings say they were.
    pub crops: Option<PathBuf>,
    /// Pictures at most.
    pub pictures: usize,
    /// Two proteins: a picture of the crops on the way from one to the other (needs crops).
    pub route: Option<[String; 2]>,
    /// Table `protein,group` of complexes: a picture with their outlines (needs crops).
    pub complexes: Option<PathBuf>,
    /// Heading of the page.
    pub title: String,
}

impl Default for AtlasParams {
    fn default() -> Self {
        Self {
            representation: "vqvec2".to_string(),
            umap: UmapParams::default(),
            color_by: None,
            groups: None,
            split: None,
            crops: None,
            pictures: DEFAULT_PICTURES,
            route: None,
            complexes: None,
            title: "Protein localisation atlas".to_string(),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct AtlasSummary {
    /// Points on the map.
    pub points: usize,
    /// Points with a picture in the page.
    pub pictures: usize,
    /// How the map was found.
    pub map: String,
}

/// Maps embeddings and writes `umap.npy`, `umap.png`, `umap.svg`, `figure2.png`, `figure2.svg`, `atlas.html`, `atlas.parquet`
/// and `atlas.csv` into the folder `out`, which must exist; where asked for, `figure3_route` and `figure3_complexes` too. The coordinates are also stored with the embeddings, as `X_umap`.
///
/// # Errors
/// - the embeddings, the groups or the crops cannot be read;
/// - there is no such representation, column or split;
/// - a file cannot be written;
/// - `progress` breaks.
pub fn write_atlas(
    embeddings: &Path,
    out: &Path,
    params: &AtlasParams,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<AtlasSummary, Failure> {
    let mut store = EmbeddingStore::open(embeddings)?;
    let rows = rows_of_split(store.obs(), params.split.as_deref())?;
    let mut table = store.obs().select(&rows)?;
    if let Some(path) = &params.groups {
        groups::add_groups(&mut table, path)?;
    }
    let color_by = color_column(&table, params.color_by.as_deref())?;
    let (coordinates, map) = map::place(
        &store,
        &params.representation,
        &rows,
        params.umap.clone(),
        progress,
    )?;
    npy::write(&out.join("umap.npy"), &coordinates)?;
    store_coordinates(&mut store, &rows, &coordinates)?;

    let made = record(embeddings, params, &map);
    let recorded = store
        .made("data")
        .map(PathBuf::from)
        .filter(|path| path.is_dir());
    let crops = params.crops.clone().or(recorded);
    draw_pictures(out, &table, &color_by, &coordinates, params)?;
    draw_landmarks(
        out,
        &table,
        &color_by,
        &coordinates,
        (params, crops.as_deref()),
    )?;
    let pictures = match crops {
        Some(path) if params.pictures > 0 => crops::pictures(&path, &table, params.pictures)?,
        _ => None,
    };
    let summary = AtlasSummary {
        points: rows.len(),
        pictures: pictures
            .as_ref()
            .map_or(0, |p| p.slots.iter().filter(|&&slot| slot >= 0).count()),
        map,
    };
    write_page(
        &out.join("atlas.html"),
        &table,
        color_by,
        &coordinates,
        pictures,
        params,
        &made,
    )?;
    for (axis, name) in ["umap_x", "umap_y"].into_iter().enumerate() {
        table.insert(
            name,
            coordinates
                .column(axis)
                .iter()
                .map(|&v| f64::from(v))
                .collect::<Vec<f64>>(),
        )?;
    }
    table.to_csv(&out.join("atlas.csv"))?;
    parquet::write(&out.join("atlas.parquet"), &table, &made)?;
    Ok(summary)
}

fn rows_of_split(table: &CropTable, split: Option<&str>) -> Result<Vec<usize>, Failure> {
    let Some(wanted) = split else {
        return Ok((0..table.len()).collect());
    };
    let column = table.text("split").ok_or_else(|| {
        Failure::input("--split: the embeddings have no column split; leave the flag out")
    })?;
    let rows: Vec<usize> = (0..table.len())
        .filter(|&row| column.get(row) == wanted)
        .collect();
    if rows.is_empty() {
        let there: Vec<&str> = column.categories().collect();
        return Err(Failure::input(format!(
            "--split {wanted}: no crop is in it; the embeddings have {}",
            there.join(", ")
        )));
    }
    Ok(rows)
}

fn color_column(table: &CropTable, wanted: Option<&str>) -> Result<String, Failure> {
    let there = |name: &str| table.columns().any(|column| column == name);
    match wanted {
        Some(name) if there(name) => Ok(name.to_string()),
        Some(name) => {
            let columns: Vec<&str> = table.columns().collect();
            Err(Failure::input(format!(
                "--color-by {name}: no such column; there are {}",
                columns.join(", ")
            )))
        }
        None => Ok(["group", "localization", "protein"]
            .into_iter()
            .find(|n| there(n))
            .unwrap_or("")
            .to_string()),
    }
}

/// `X_umap` has a row for every crop of the store; crops outside the split have none.
fn store_coordinates(
    store: &mut EmbeddingStore,
    rows: &[usize],
    coordinates: &Array2<f32>,
) -> Result<(), Failure> {
    let mut all = Array2::from_elem((store.len(), coordinates.ncols()), f32::NAN);
    for (&row, place) in rows.iter().zip(coordinates.outer_iter()) {
        all.row_mut(row).assign(&place);
    }
    Ok(store.put_obsm("X_umap", all.view())?)
}

fn record(embeddings: &Path, params: &AtlasParams, map: &str) -> Vec<(String, String)> {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned()
    };
    let split = params.split.clone().unwrap_or_else(|| "all".to_string());
    [
        (
            "tool",
            format!("cytoself atlas {}", env!("CARGO_PKG_VERSION")),
        ),
        ("format_version", "1".to_string()),
        ("embeddings", name(embeddings)),
        ("representation", params.representation.clone()),
        ("split", split),
        ("umap", format!("{:?}", params.umap)),
        ("map", map.to_string()),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .to_vec()
}

/// The plain map, and the map of the paper's Fig. 2.
fn draw_pictures(
    out: &Path,
    table: &CropTable,
    color_by: &str,
    coordinates: &Array2<f32>,
    params: &AtlasParams,
) -> Result<(), Failure> {
    let (mut class, names) = table
        .column(color_by)
        .map(columns::classes)
        .unwrap_or_default();
    class.resize(table.len(), None);
    let scatter = Scatter::new(coordinates.view(), &class, &names).title(&params.title);
    plot::save(&scatter, &out.join("umap.png"))?;
    plot::save(&scatter, &out.join("umap.svg"))?;
    let (class, names) = single_classes(table, color_by);
    figures::Mapped {
        table,
        points: coordinates.view(),
        class: &class,
        names: &names,
    }
    .submaps(out, &params.title)
}

/// The pictures that need crops: the route and the complexes of the paper's Fig. 3.
fn draw_landmarks(
    out: &Path,
    table: &CropTable,
    color_by: &str,
    coordinates: &Array2<f32>,
    (params, crops): (&AtlasParams, Option<&Path>),
) -> Result<(), Failure> {
    if params.route.is_none() && params.complexes.is_none() {
        return Ok(());
    }
    let crops = crops.ok_or_else(|| {
        Failure::input("--path and --complexes draw crops: say where they are with --crops")
    })?;
    let crops = open_crops(crops)?;
    let (class, names) = single_classes(table, color_by);
    let mapped = figures::Mapped {
        table,
        points: coordinates.view(),
        class: &class,
        names: &names,
    };
    if let Some([from, to]) = &params.route {
        mapped.route(out, [from, to], crops.as_ref())?;
    }
    if let Some(groups) = &params.complexes {
        mapped.complexes(out, groups, crops.as_ref())?;
    }
    Ok(())
}

/// Classes of a column whose values with `;` are mixed and belong to none.
fn single_classes(table: &CropTable, column: &str) -> (Vec<Option<usize>>, Vec<String>) {
    let (mut class, mut names) = table
        .column(column)
        .map(columns::classes)
        .unwrap_or_default();
    class.resize(table.len(), None);
    // Single classes come first.
    let single = names.iter().take_while(|n| !n.contains(';')).count();
    names.truncate(single);
    let class = class.into_iter().map(|c| c.filter(|&c| c < single));
    (class.collect(), names)
}

fn write_page(
    path: &Path,
    table: &CropTable,
    colour_by: String,
    coordinates: &Array2<f32>,
    pictures: Option<Sprites>,
    params: &AtlasParams,
    made: &[(String, String)],
) -> Result<(), Failure> {
    let place = |row: usize, axis: usize| coordinates.get((row, axis)).copied().unwrap_or(0.0);
    let page = Page {
        title: params.title.clone(),
        made: made
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect::<Vec<_>>()
            .join(". "),
        coordinates: (0..table.len())
            .map(|row| [place(row, 0), place(row, 1)])
            .collect(),
        columns: columns::page_columns(table),
        colour_by,
        tip: ["protein", "group", "localization", "fov", "split", "crop"]
            .map(str::to_string)
            .to_vec(),
        pictures,
    };
    let context = |e: std::io::Error| Failure::from(e).context(path.display());
    let mut out = BufWriter::new(fs::File::create(path).map_err(context)?);
    page.write(&mut out)
        .and_then(|()| out.flush())
        .map_err(context)
}
