//! Findings about the judged crops as a whole: what the test knows of the training, clusters against classes, a linear probe.

use cytoself_eval::{
    Agreement, Centre, CropOrigin, Exclusions, Graph, Leakage, LeidenParams, PermutationTest,
    ProbeParams, clustering_score, leiden, linear_probe, nearest_neighbours, principal_components,
};
use cytoself_io::{CropTable, EmbeddingStore};
use ndarray::{Array2, ArrayView2, Axis};
use serde_json::json;

use super::{Arguments, Report, Subject, Truth, dense_of};
use crate::cli::Failure;

/// Principal components that are clustered and probed.
const COMPONENTS: usize = 64;
/// Neighbours in the graph that is clustered.
const NEIGHBOURS: usize = 15;
/// Shuffles of the labels.
const SHUFFLES: usize = 199;
/// The split that models are trained on.
const TRAINED: &str = "train";

/// What of the judged crops' origin was trained on, where the store has the crops of the training too.
pub(super) fn leakage(
    report: &mut Report,
    table: &CropTable,
    subject: &Subject,
) -> Result<(), Failure> {
    let Some(trained) = trained_rows(table) else {
        return Ok(());
    };
    let judged = judged_rows(subject);
    if judged.iter().any(|row| trained.binary_search(row).is_ok()) {
        // The training itself is judged: everything is known.
        return Ok(());
    }
    let origins = |rows: &[usize]| {
        rows.iter()
            .map(|&row| origin(table, row))
            .collect::<Vec<_>>()
    };
    let found = Leakage::between(&origins(&trained), &origins(&judged), 0.0)?;
    report.note(
        "leakage",
        json!({
            "crops": found.tested,
            "fields_in_training_too": found.shared_fields,
            "crops_of_fields_in_training": found.crops_of_shared_fields,
            "crops_of_plates_in_training": found.crops_of_shared_plates,
            "crops_of_proteins_in_training": found.crops_of_shared_proteins,
        }),
    );
    Ok(())
}

/// The clustering score of the map beside those of shuffled labels.
pub(super) fn null(
    report: &mut Report,
    map: ArrayView2<'_, f32>,
    subject: &Subject,
    seed: u64,
) -> Result<(), Failure> {
    let kept: Vec<usize> = (0..map.nrows())
        .filter(|&at| subject.judged[at] && map.row(at).iter().all(|v| v.is_finite()))
        .collect();
    let (points, own) = (
        map.select(Axis(0), &kept).mapv(f64::from),
        subject.keep(&kept),
    );
    let test = PermutationTest::of(&own.labels, SHUFFLES, seed, |labels| {
        Ok(clustering_score(points.view(), labels, Centre::Coordinatewise)?.robust)
    })?;
    report.note(
        "clustering_score_of_shuffled_labels",
        json!({ "robust_mean": test.null_mean(), "p_value": test.p_value(), "shuffles": test.null.len() }),
    );
    Ok(())
}

/// Leiden communities of the representation against the classes.
pub(super) fn communities(
    report: &mut Report,
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    seed: u64,
) -> Result<(), Failure> {
    let kept: Vec<usize> = (0..subject.rows.len())
        .filter(|&at| subject.judged[at])
        .collect();
    let own = subject.keep(&kept);
    let components = principal_components(points.select(Axis(0), &kept).view(), COMPONENTS, seed)?;
    let neighbours = nearest_neighbours(components.view(), NEIGHBOURS, &Exclusions::none())?;
    let params = LeidenParams {
        seed,
        ..LeidenParams::default()
    };
    let found = leiden(&Graph::of_neighbours(&neighbours)?, &params)?;
    let (rows, classes) = own.labels.labelled();
    let found: Vec<usize> = rows.iter().map(|&row| found[row]).collect();
    let agreement = Agreement::of(&found, &classes)?;
    report.note(
        "leiden",
        json!({
            "communities": found.iter().max().map_or(0, |m| m + 1),
            "ari": agreement.ari,
            "nmi": agreement.nmi,
            "ami": agreement.ami,
        }),
    );
    Ok(())
}

/// Logistic regression on the training crops, judged on the judged ones, where the store has both.
pub(super) fn probe(
    report: &mut Report,
    store: &EmbeddingStore,
    truth: &Truth,
    arguments: &Arguments,
    seed: u64,
) -> Result<(), Failure> {
    let apart = arguments.split != TRAINED && arguments.split != "all";
    if !apart || trained_rows(store.obs()).is_none() {
        return Ok(());
    }
    let both = Subject::choose(
        store.obs(),
        truth,
        &arguments.split,
        Some(TRAINED),
        arguments.limit,
    )?;
    let points = dense_of(store, &arguments.representation, &both.rows)?;
    let components: Array2<f64> = principal_components(points.view(), COMPONENTS, seed)?;
    let train: Vec<bool> = both.judged.iter().map(|judged| !judged).collect();
    let found = linear_probe(
        components.view(),
        &both.labels,
        &train,
        &ProbeParams::default(),
    )?;
    report.note(
        "linear_probe",
        json!({
            "macro_f1": found.macro_f1(),
            "accuracy": found.accuracy(),
            "crops_trained_on": train.iter().filter(|&&t| t).count(),
        }),
    );
    Ok(())
}

fn judged_rows(subject: &Subject) -> Vec<usize> {
    let rows = subject.rows.iter().zip(&subject.judged);
    rows.filter(|(_, judged)| **judged)
        .map(|(row, _)| *row)
        .collect()
}

/// Rows of the training, ascending; none where the table has none.
fn trained_rows(table: &CropTable) -> Option<Vec<usize>> {
    let split = table.text("split")?;
    let rows: Vec<usize> = (0..table.len())
        .filter(|&row| split.get(row) == TRAINED)
        .collect();
    (!rows.is_empty()).then_some(rows)
}

fn origin(table: &CropTable, row: usize) -> CropOrigin {
    let code = |name: &str| table.text(name).map_or(0, |c| c.codes()[row] as usize);
    CropOrigin {
        // Fields of different proteins are different fields.
        field: (code("protein") << 32) | code("fov"),
        plate: code("plate"),
        protein: code("protein"),
        centre: None,
    }
}
