//! Writing a model.

use std::io::Write;

use super::{Checksum, MAGIC, VERSION};
use crate::params::ValidUmapParams;
use crate::source::PointSource;
use crate::{Init, UmapError, UmapModel};

/// An array to write: name, type, shape and bytes, made when they are needed.
struct Part<'a> {
    name: &'static str,
    kind: &'static str,
    shape: (usize, usize),
    values: Box<dyn Iterator<Item = [u8; 4]> + 'a>,
}

fn floats<'a>(
    name: &'static str,
    shape: (usize, usize),
    values: impl Iterator<Item = &'a f32> + 'a,
) -> Part<'a> {
    Part {
        name,
        kind: "f32",
        shape,
        values: Box::new(values.map(|v| v.to_le_bytes())),
    }
}

fn integers<'a>(
    name: &'static str,
    shape: (usize, usize),
    values: impl Iterator<Item = u32> + 'a,
) -> Part<'a> {
    Part {
        name,
        kind: "u32",
        shape,
        values: Box::new(values.map(u32::to_le_bytes)),
    }
}

pub(super) fn write(
    model: &UmapModel,
    out: &mut impl Write,
    points: Option<&PointSource<'_>>,
) -> Result<(), UmapError> {
    let parts = parts(model, points)?;
    let mut header = format!(
        "{MAGIC}\nversion {VERSION}\ntool {} {}\n",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in params(&model.params).into_iter().chain(report(model)) {
        header += &format!("{name} {value}\n");
    }
    for part in &parts {
        header += &format!(
            "array {} {} {} {}\n",
            part.name, part.kind, part.shape.0, part.shape.1
        );
    }
    header += "end\n";
    let mut sum = Checksum::default();
    let mut put = |bytes: &[u8]| {
        sum.update(bytes);
        out.write_all(bytes)
    };
    put(header.as_bytes())?;
    let mut buffer = Vec::with_capacity(1 << 16);
    for part in parts {
        for value in part.values {
            buffer.extend(value);
            if buffer.len() == 1 << 16 {
                put(&buffer)?;
                buffer.clear();
            }
        }
        put(&buffer)?;
        buffer.clear();
    }
    out.write_all(&sum.0.to_le_bytes())?;
    Ok(out.flush()?)
}

fn parts<'a>(
    model: &'a UmapModel,
    points: Option<&'a PointSource<'_>>,
) -> Result<Vec<Part<'a>>, UmapError> {
    let graph = &model.graph;
    let degrees = graph.offsets.windows(2).map(|w| (w[1] - w[0]) as u32);
    let mut parts = vec![
        floats("embedding", model.embedding.dim(), model.embedding.iter()),
        integers(
            "knn_indices",
            model.knn.indices().dim(),
            model.knn.indices().into_iter().copied(),
        ),
        floats(
            "knn_distances",
            model.knn.distances().dim(),
            model.knn.distances().into_iter(),
        ),
        integers("graph_degrees", (graph.len(), 1), degrees),
        integers(
            "graph_columns",
            (graph.entries(), 1),
            graph.columns.iter().copied(),
        ),
        floats("graph_weights", (graph.entries(), 1), graph.weights.iter()),
    ];
    if let Init::Given(start) = &model.params.init {
        parts.push(floats("init", start.dim(), start.iter()));
    }
    match points {
        None => {}
        Some(PointSource::Dense(p)) => {
            parts.push(floats("points", p.rows().dim(), p.rows().into_iter()))
        }
        Some(PointSource::Codes(p)) => {
            parts.push(integers(
                "codes",
                p.codes().dim(),
                p.codes().into_iter().map(|c| u32::from(*c)),
            ));
            parts.push(floats(
                "codebook",
                p.codebook().dim(),
                p.codebook().into_iter(),
            ));
        }
        Some(PointSource::Precomputed(_)) => {
            let found = points.map_or("distances", PointSource::kind);
            return Err(UmapError::NeedsPoints {
                operation: "storing the points",
                found,
            });
        }
    }
    Ok(parts)
}

/// A number that may be absent.
fn optional<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or("none".to_string(), |v| format!("{v:?}"))
}

fn params(p: &ValidUmapParams) -> Vec<(&'static str, String)> {
    vec![
        ("n_neighbors", p.n_neighbors.to_string()),
        ("n_components", p.n_components.to_string()),
        ("min_dist", format!("{:?}", p.min_dist)),
        ("spread", format!("{:?}", p.spread)),
        ("metric", p.metric.to_string()),
        ("epochs", optional(p.epochs)),
        ("init", p.init.name().to_string()),
        ("learning_rate", format!("{:?}", p.learning_rate)),
        ("repulsion_strength", format!("{:?}", p.repulsion_strength)),
        ("negative_sample_rate", p.negative_sample_rate.to_string()),
        ("set_op_mix_ratio", format!("{:?}", p.set_op_mix_ratio)),
        ("local_connectivity", format!("{:?}", p.local_connectivity)),
        ("knn", p.knn.to_string()),
        ("audit_sample", p.audit_sample.to_string()),
        ("disconnection_distance", optional(p.disconnection_distance)),
        ("target_weight", format!("{:?}", p.target_weight)),
        ("seed", p.seed.to_string()),
    ]
}

fn report(model: &UmapModel) -> Vec<(&'static str, String)> {
    let r = &model.report;
    let recall = r
        .knn
        .recall
        .map(|r| format!("{} {:?} {:?} {:?}", r.sample, r.value, r.low, r.high));
    vec![
        ("content_hash", model.content_hash.to_string()),
        (
            "used_knn",
            r.knn.method.map_or("none".to_string(), |m| m.to_string()),
        ),
        ("used_neighbors", r.knn.n_neighbors.to_string()),
        ("recall", recall.unwrap_or("none".to_string())),
        ("used_init", r.init.used.to_string()),
        (
            "init_note",
            r.init
                .note
                .as_ref()
                .map_or("none".to_string(), |n| n.replace('\n', " ")),
        ),
        ("init_components", r.init.components.to_string()),
        ("init_residual", format!("{:?}", r.init.residual)),
        ("init_products", r.init.products.to_string()),
        ("curve_a", format!("{:?}", r.curve.a)),
        ("curve_b", format!("{:?}", r.curve.b)),
        ("used_epochs", r.epochs.to_string()),
        ("edges", r.edges.to_string()),
        ("isolated", r.isolated.to_string()),
    ]
}
