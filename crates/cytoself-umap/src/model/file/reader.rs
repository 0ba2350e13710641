//! Reading a model.

use std::collections::BTreeMap;
use std::io::Read;
use std::str::FromStr;

use ndarray::{Array2, CowArray};

use super::{Checksum, MAGIC, VERSION};
use crate::curve::Curve;
use crate::fuzzy::FuzzyGraph;
use crate::init::{Init, InitReport};
use crate::knn::{Knn, Recall};
use crate::model::{FitReport, KnnReport};
use crate::params::{ParamGuard, UmapParams, ValidUmapParams};
use crate::source::{CodePoints, DensePoints, PointSource};
use crate::{UmapError, UmapModel};

/// Longest header that is read; a note in it may be long, but not that long.
const HEADER: usize = 1 << 16;

fn bad(reason: impl Into<String>) -> UmapError {
    UmapError::ModelFile {
        reason: reason.into(),
    }
}

pub(super) fn read(
    input: &mut impl Read,
) -> Result<(UmapModel, Option<PointSource<'static>>), UmapError> {
    let mut sum = Checksum::default();
    let header = Header::read(input, &mut sum)?;
    let mut arrays = Arrays(BTreeMap::new());
    for (name, kind, rows, columns) in &header.arrays {
        let bytes = bytes(
            input,
            name,
            rows.checked_mul(*columns).and_then(|n| n.checked_mul(4)),
        )?;
        // The writer hashes in pieces of 64 KiB.
        bytes.chunks(1 << 16).for_each(|piece| sum.update(piece));
        arrays
            .0
            .insert(name.clone(), (kind.clone(), (*rows, *columns), bytes));
    }
    let mut expected = [0; 8];
    input
        .read_exact(&mut expected)
        .map_err(|_| bad("it ends before its checksum: the file is truncated"))?;
    if u64::from_le_bytes(expected) != sum.0 {
        return Err(bad(
            "its checksum does not fit its content: the file was changed or damaged",
        ));
    }
    build(&header, &mut arrays)
}

/// Reads exactly `count` bytes without trusting the number before they are there.
fn bytes(input: &mut impl Read, name: &str, count: Option<usize>) -> Result<Vec<u8>, UmapError> {
    let count = count.ok_or_else(|| bad(format!("array {name} has an impossible shape")))?;
    let mut out = Vec::new();
    input.take(count as u64).read_to_end(&mut out)?;
    if out.len() != count {
        return Err(bad(format!(
            "array {name} ends after {} of {count} bytes: the file is truncated",
            out.len()
        )));
    }
    Ok(out)
}

struct Header {
    values: BTreeMap<String, String>,
    arrays: Vec<(String, String, usize, usize)>,
}

impl Header {
    fn read(input: &mut impl Read, sum: &mut Checksum) -> Result<Self, UmapError> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\nend\n") {
            if text.len() > HEADER || input.read(&mut byte)? == 0 {
                return Err(bad(
                    "it has no header; expected a file written by `umap --model`",
                ));
            }
            text.push(byte[0]);
            if text.len() == MAGIC.len() && text != MAGIC.as_bytes() {
                return Err(bad(format!(
                    "it does not begin with \"{MAGIC}\"; expected a file written by `umap --model`"
                )));
            }
        }
        sum.update(&text);
        let text = String::from_utf8_lossy(&text);
        let mut header = Self {
            values: BTreeMap::new(),
            arrays: Vec::new(),
        };
        for line in text.lines().skip(1) {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            if name == "array" {
                header.arrays.push(array_line(value)?);
            } else {
                header.values.insert(name.to_string(), value.to_string());
            }
        }
        match header.value::<u32>("version")? {
            VERSION => Ok(header),
            other => Err(bad(format!(
                "it has version {other}, and this program reads version {VERSION}; fit the model again"
            ))),
        }
    }

    fn text(&self, name: &str) -> Result<&str, UmapError> {
        self.values
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| bad(format!("its header has no {name}")))
    }

    fn value<T: FromStr>(&self, name: &str) -> Result<T, UmapError> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| bad(format!("{name} is {text:?} in its header")))
    }

    fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, UmapError> {
        if self.text(name)? == "none" {
            Ok(None)
        } else {
            self.value(name).map(Some)
        }
    }
}

fn array_line(line: &str) -> Result<(String, String, usize, usize), UmapError> {
    let words: Vec<&str> = line.split(' ').collect();
    let parsed = match words[..] {
        [name, kind, rows, columns] => rows
            .parse()
            .ok()
            .zip(columns.parse().ok())
            .map(|(r, c)| (name.to_string(), kind.to_string(), r, c)),
        _ => None,
    };
    parsed.ok_or_else(|| bad(format!("its header has the line \"array {line}\"")))
}

/// Type, shape and bytes of an array.
type Stored = (String, (usize, usize), Vec<u8>);

/// Arrays by name.
struct Arrays(BTreeMap<String, Stored>);

impl Arrays {
    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        convert: fn([u8; 4]) -> T,
    ) -> Result<Array2<T>, UmapError> {
        let (found, shape, bytes) = self
            .0
            .remove(name)
            .ok_or_else(|| bad(format!("it has no array {name}")))?;
        if found != kind {
            return Err(bad(format!("array {name} is {found}, expected {kind}")));
        }
        let values = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| convert(*b))
            .collect();
        Array2::from_shape_vec(shape, values).map_err(|e| bad(format!("array {name}: {e}")))
    }

    fn floats(&mut self, name: &str) -> Result<Array2<f32>, UmapError> {
        self.take(name, "f32", f32::from_le_bytes)
    }

    fn integers(&mut self, name: &str) -> Result<Array2<u32>, UmapError> {
        self.take(name, "u32", u32::from_le_bytes)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn build(
    header: &Header,
    arrays: &mut Arrays,
) -> Result<(UmapModel, Option<PointSource<'static>>), UmapError> {
    let params = params(header, arrays)?;
    let embedding = arrays.floats("embedding")?;
    let knn = Knn::new(
        arrays.integers("knn_indices")?,
        arrays.floats("knn_distances")?,
    )?;
    knn.check()?;
    let graph = graph(arrays)?;
    if embedding.nrows() != knn.len()
        || graph.len() != knn.len()
        || embedding.ncols() != params.n_components
    {
        return Err(bad("its arrays do not fit each other"));
    }
    let points = points(arrays)?;
    let model = UmapModel {
        params,
        embedding,
        knn,
        graph,
        report: report(header)?,
        content_hash: header.value("content_hash")?,
    };
    Ok((model, points))
}

fn params(header: &Header, arrays: &mut Arrays) -> Result<ValidUmapParams, UmapError> {
    let init = match header.text("init")? {
        "given" => Init::Given(arrays.floats("init")?),
        "random" => Init::Random,
        _ => Init::Spectral,
    };
    UmapParams::default()
        .n_neighbors(header.value("n_neighbors")?)
        .n_components(header.value("n_components")?)
        .spread(header.value("spread")?)
        .min_dist(header.value("min_dist")?)
        .metric(header.value("metric")?)
        .epochs(header.optional("epochs")?)
        .init(init)
        .learning_rate(header.value("learning_rate")?)
        .repulsion_strength(header.value("repulsion_strength")?)
        .negative_sample_rate(header.value("negative_sample_rate")?)
        .set_op_mix_ratio(header.value("set_op_mix_ratio")?)
        .local_connectivity(header.value("local_connectivity")?)
        .knn(header.value("knn")?)
        .audit_sample(header.value("audit_sample")?)
        .disconnection_distance(header.optional("disconnection_distance")?)
        .target_weight(header.value("target_weight")?)
        .seed(header.value("seed")?)
        .check()
}

fn graph(arrays: &mut Arrays) -> Result<FuzzyGraph, UmapError> {
    let mut offsets = vec![0];
    for d in arrays.integers("graph_degrees")? {
        offsets.push(offsets[offsets.len() - 1] + d as usize);
    }
    let columns = arrays
        .integers("graph_columns")?
        .into_raw_vec_and_offset()
        .0;
    let weights = arrays.floats("graph_weights")?.into_raw_vec_and_offset().0;
    let n = offsets.len() - 1;
    let fits = offsets[n] == columns.len() && columns.len() == weights.len();
    if !fits || columns.iter().any(|&c| c as usize >= n) {
        return Err(bad("its graph is not consistent"));
    }
    Ok(FuzzyGraph {
        offsets,
        columns,
        weights,
    })
}

fn points(arrays: &mut Arrays) -> Result<Option<PointSource<'static>>, UmapError> {
    if arrays.has("points") {
        let rows = arrays.floats("points")?;
        return Ok(Some(PointSource::Dense(DensePoints::new(CowArray::from(
            rows,
        ))?)));
    }
    if !arrays.has("codes") {
        return Ok(None);
    }
    let codes = arrays
        .integers("codes")?
        .mapv(|c| u16::try_from(c).unwrap_or(u16::MAX));
    let codebook = arrays.floats("codebook")?;
    Ok(Some(PointSource::Codes(CodePoints::new(
        CowArray::from(codes),
        CowArray::from(codebook),
    )?)))
}

/// The static name of an initialisation.
fn init_name(name: &str) -> &'static str {
    ["spectral", "random", "given"]
        .into_iter()
        .find(|n| *n == name)
        .unwrap_or("spectral")
}

fn report(header: &Header) -> Result<FitReport, UmapError> {
    let recall = match header.text("recall")? {
        "none" => None,
        text => Some(recall(text).ok_or_else(|| bad(format!("recall is {text:?} in its header")))?),
    };
    let note = Some(header.text("init_note")?.to_string()).filter(|n| n != "none");
    Ok(FitReport {
        knn: KnnReport {
            method: header.optional("used_knn")?,
            n_neighbors: header.value("used_neighbors")?,
            recall,
        },
        init: InitReport {
            requested: init_name(header.text("init")?),
            used: init_name(header.text("used_init")?),
            note,
            components: header.value("init_components")?,
            residual: header.value("init_residual")?,
            products: header.value("init_products")?,
        },
        curve: Curve {
            a: header.value("curve_a")?,
            b: header.value("curve_b")?,
        },
        epochs: header.value("used_epochs")?,
        edges: header.value("edges")?,
        isolated: header.value("isolated")?,
    })
}

fn recall(text: &str) -> Option<Recall> {
    let (sample, rest) = text.split_once(' ')?;
    let [value, low, high] = rest
        .split(' ')
        .map(str::parse)
        .collect::<Result<Vec<f64>, _>>()
        .ok()?[..]
    else {
        return None;
    };
    Some(Recall {
        sample: sample.parse().ok()?,
        value,
        low,
        high,
    })
}
