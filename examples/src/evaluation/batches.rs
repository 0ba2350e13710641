//! Batch effects: scores before and after they are taken out.

use std::collections::BTreeMap;

use cytoself_eval::{BatchCorrection, Labels, correct_batches, principal_components};
use cytoself_io::CropTable;
use ndarray::ArrayView2;

use super::scoring::{Scoring, score_representation, vote_apart};
use super::{Report, Subject, column};
use crate::cli::Failure;

/// Principal components that are corrected: whitening thousands of dimensions by hundreds of crops would be noise.
const COMPONENTS: usize = 64;
/// Axes with less than this share of the largest variance are left out of the whitening.
const FLOOR: f64 = 1e-4;

/// Adds the scores of the representation's principal components, as they are and corrected, each with how well a vote of other
/// proteins' crops names the batch.
pub(super) fn add(
    report: &mut Report,
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    (table, name, controls): (&CropTable, &str, &[String]),
    (scoring, seed): (&Scoring, u64),
) -> Result<(), Failure> {
    let texts = column(table, name)?;
    let labels = Labels::new(subject.rows.iter().map(|&row| texts.get(row)), &[]);
    if labels.names().len() < 2 {
        return Err(Failure::input(format!(
            "--batches {name}: the judged crops are of {} batch, expected at least 2",
            labels.names().len()
        )));
    }
    let (rows, batch) = labels.labelled();
    let subject = &subject.keep(&rows);
    let points = points.select(ndarray::Axis(0), &rows);
    let control = controls_of(subject, controls)?;
    let components = principal_components(points.view(), COMPONENTS, seed)?;
    let of_batch = Subject {
        labels: Labels::new(rows.iter().map(|&at| texts_of(&labels, at)), &[]),
        ..subject.clone()
    };
    let corrected = |features: ArrayView2<'_, f64>, correction| {
        correct_batches(features, &batch, &control, correction)
            .map_err(|e| Failure::from(e).context(format!("--batches {name}")))
    };
    // On the components of the same crops, scaling would be whitening: it is done in the representation's own dimensions.
    let scaled = corrected(points.mapv(f64::from).view(), BatchCorrection::Standardise)?;
    let rows = [
        ("as they are", components.clone()),
        (
            "centred",
            corrected(components.view(), BatchCorrection::Centre)?,
        ),
        (
            "scaled",
            principal_components(scaled.view(), COMPONENTS, seed)?,
        ),
        (
            "whitened (TVN)",
            corrected(components.view(), BatchCorrection::Whiten { floor: FLOOR })?,
        ),
    ];
    for (how, features) in rows {
        let features = features.mapv(|v| v as f32);
        let mut scores = score_representation(features.view(), subject, scoring)?;
        if let Some(found) = vote_apart(features.view(), &of_batch, scoring)? {
            scores.values.push(("batch_knn_accuracy", found));
        }
        report.add(&format!("{COMPONENTS} components, {name} {how}"), scores);
    }
    report.note("batch_chance", largest_share(&batch).into());
    Ok(())
}

fn texts_of(labels: &Labels, at: usize) -> &str {
    labels.classes()[at].map_or("", |class| labels.names()[class].as_str())
}

/// Crops by whose spread the batches are made alike: all, or those of the named proteins.
fn controls_of(subject: &Subject, names: &[String]) -> Result<Vec<bool>, Failure> {
    if names.is_empty() {
        return Ok(vec![true; subject.rows.len()]);
    }
    if let Some(unknown) = names.iter().find(|n| !subject.proteins.contains(n)) {
        return Err(Failure::input(format!(
            "--controls {unknown}: no crop is of that protein"
        )));
    }
    let is_control = |p: &usize| names.contains(&subject.proteins[*p]);
    Ok(subject.protein.iter().map(is_control).collect())
}

/// Accuracy of always naming the batch of most crops.
fn largest_share(batch: &[usize]) -> f64 {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    batch
        .iter()
        .for_each(|b| *counts.entry(*b).or_default() += 1);
    let largest = counts.values().copied().max().unwrap_or(0);
    largest as f64 / batch.len().max(1) as f64
}
