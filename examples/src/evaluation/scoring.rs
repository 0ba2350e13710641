use std::collections::{HashMap, HashSet};

use cytoself_eval::{
    BootstrapParams, Centre, Classification, Confusion, Exclusions, Interval, bootstrap, classify,
    clustering_score_of_rows, nearest_neighbours, silhouette_samples,
};
use ndarray::{ArrayView2, Axis};

use super::{Subject, failure};
use crate::cli::Failure;

/// How scores are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// Neighbours that vote.
    pub neighbours: usize,
    /// How intervals are drawn.
    pub bootstrap: BootstrapParams,
}

/// Named scores in the order of the report, and the confusion of the first vote.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Name and interval.
    pub values: Vec<(&'static str, Interval)>,
    /// True against predicted classes, neighbours of the own field excluded.
    pub confusion: Option<Confusion>,
    /// Crops that could not be judged, by vote: no neighbour of their class was admissible.
    pub left_out: Vec<(&'static str, usize)>,
}

impl Scores {
    /// The score of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Interval> {
        self.values
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, interval)| *interval)
    }
}

/// Scores a representation: votes of neighbours under three exclusions, and the silhouette.
///
/// # Errors
/// - the points do not fit the subject, or hold NaN.
pub fn score_representation(
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    scoring: &Scoring,
) -> Result<Scores, Failure> {
    let mut scores = Scores {
        values: Vec::new(),
        confusion: None,
        left_out: Vec::new(),
    };
    let apart = reference_groups(subject);
    let rules: [(&str, &str, Vec<&[usize]>); 3] = [
        ("knn_macro_f1", "knn_accuracy", vec![&subject.field]),
        (
            "knn_macro_f1_other_proteins",
            "knn_accuracy_other_proteins",
            vec![&subject.field, &subject.protein],
        ),
        (
            "knn_macro_f1_all_neighbours",
            "knn_accuracy_all_neighbours",
            vec![],
        ),
    ];
    for (macro_f1, accuracy, groups) in rules {
        let votes = vote(
            points,
            subject,
            &groups,
            apart.as_deref(),
            scoring.neighbours,
        )?;
        scores.left_out.push((macro_f1, votes.left_out.len()));
        if votes.judged.is_empty() {
            // Nothing is admissible, e.g. one protein per class with its own protein excluded.
            continue;
        }
        scores.values.push((
            macro_f1,
            interval_of_votes(&votes, subject, scoring, Confusion::macro_f1)?,
        ));
        scores.values.push((
            accuracy,
            interval_of_votes(&votes, subject, scoring, Confusion::accuracy)?,
        ));
        scores.confusion.get_or_insert_with(|| votes.confusion());
    }
    scores
        .values
        .push(("silhouette", silhouette(points, subject, scoring)?));
    Ok(scores)
}

/// Scores a map: both forms of the clustering score, the votes and the silhouette.
///
/// # Errors
/// - as [`score_representation`]; a point that the map left out (NaN) does not count.
pub fn score_map(
    map: ArrayView2<'_, f32>,
    subject: &Subject,
    scoring: &Scoring,
) -> Result<Scores, Failure> {
    let kept: Vec<usize> = (0..map.nrows())
        .filter(|&row| map.row(row).iter().all(|v| v.is_finite()))
        .collect();
    let (map, subject) = (map.select(Axis(0), &kept), subject.keep(&kept));
    let mut scores = score_representation(map.view(), &subject, scoring)?;
    let points = map.mapv(f64::from);
    let judged: Vec<usize> = (0..subject.rows.len())
        .filter(|&row| subject.judged[row])
        .collect();
    let units = subject.units(judged.iter().map(|&row| (row, row)));
    let score = |rows: &[usize]| {
        clustering_score_of_rows(points.view(), &subject.labels, rows, Centre::Coordinatewise)
    };
    score(&judged).map_err(failure)?;
    let robust = bootstrap(&units, &scoring.bootstrap, |rows| {
        score(rows).map_or(f64::NAN, |s| s.robust)
    })
    .map_err(failure)?;
    let reference = bootstrap(&units, &scoring.bootstrap, |rows| {
        score(rows).map_or(f64::NAN, |s| s.reference)
    })
    .map_err(failure)?;
    scores.values.insert(0, ("clustering_score.robust", robust));
    scores
        .values
        .insert(1, ("clustering_score.reference", reference));
    Ok(scores)
}

/// Macro F1 of a vote of the `k` nearest crops of other fields; NaN where no crop could be judged.
///
/// # Errors
/// - the points do not fit the subject, or hold NaN.
pub fn knn_macro_f1(
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    k: usize,
) -> Result<f64, Failure> {
    let votes = vote(points, subject, &[&subject.field], None, k)?;
    if votes.judged.is_empty() {
        return Ok(f64::NAN);
    }
    Ok(votes.macro_f1())
}

/// Accuracy of a vote of crops of other fields and other proteins; none where no crop could be judged.
pub(super) fn vote_apart(
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    scoring: &Scoring,
) -> Result<Option<Interval>, Failure> {
    let groups: [&[usize]; 2] = [&subject.field, &subject.protein];
    let votes = vote(points, subject, &groups, None, scoring.neighbours)?;
    if votes.judged.is_empty() {
        return Ok(None);
    }
    interval_of_votes(&votes, subject, scoring, Confusion::accuracy).map(Some)
}

/// Which side a row is on, where neighbours come from a reference split.
fn reference_groups(subject: &Subject) -> Option<Vec<usize>> {
    let judged_only = subject.judged.iter().all(|&j| j);
    (!judged_only).then(|| subject.judged.iter().map(|&j| usize::from(j)).collect())
}

fn vote(
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    groups: &[&[usize]],
    apart: Option<&[usize]>,
    k: usize,
) -> Result<Classification, Failure> {
    let all = groups.iter().copied().chain(apart);
    let exclusions = all.fold(Exclusions::none(), Exclusions::and_same);
    let neighbours = nearest_neighbours(points, k, &exclusions).map_err(failure)?;
    let admissible = Admissible::new(subject, groups, apart);
    let mut votes = classify(&neighbours, &subject.labels, |row, class| {
        admissible.has(row, class)
    })
    .map_err(failure)?;
    votes.judged.retain(|(row, _, _)| subject.judged[*row]);
    votes.left_out.retain(|row| subject.judged[*row]);
    Ok(votes)
}

/// Whether a row has any admissible neighbour of a class: some row of the class differs from it in every group.
struct Admissible {
    keys: Vec<Vec<usize>>,
    by_class: HashMap<usize, HashSet<Vec<usize>>>,
    any_other: HashMap<usize, usize>,
}

impl Admissible {
    fn new(subject: &Subject, groups: &[&[usize]], apart: Option<&[usize]>) -> Self {
        let keys: Vec<Vec<usize>> = (0..subject.rows.len())
            .map(|row| {
                groups
                    .iter()
                    .copied()
                    .chain(apart)
                    .map(|group| group[row])
                    .collect()
            })
            .collect();
        let (mut by_class, mut any_other) = (HashMap::new(), HashMap::new());
        for (row, class) in subject.labels.classes().iter().enumerate() {
            let Some(class) = *class else { continue };
            by_class
                .entry(class)
                .or_insert_with(HashSet::new)
                .insert(keys[row].clone());
            *any_other.entry(class).or_insert(0) += 1;
        }
        Self {
            keys,
            by_class,
            any_other,
        }
    }

    fn has(&self, row: usize, class: usize) -> bool {
        let own = &self.keys[row];
        if own.is_empty() {
            return self.any_other.get(&class).is_some_and(|&count| count > 1);
        }
        let differs = |other: &Vec<usize>| own.iter().zip(other).all(|(a, b)| a != b);
        self.by_class
            .get(&class)
            .is_some_and(|keys| keys.iter().any(differs))
    }
}

fn interval_of_votes(
    votes: &Classification,
    subject: &Subject,
    scoring: &Scoring,
    score: impl Fn(&Confusion) -> f64 + Sync,
) -> Result<Interval, Failure> {
    let units = subject.units(
        votes
            .judged
            .iter()
            .zip(0..)
            .map(|(&(row, _, _), item)| (row, item)),
    );
    let classes = subject.labels.names().len();
    let of = |items: &[usize]| {
        score(&Confusion::new(
            classes,
            items
                .iter()
                .map(|&item| (votes.judged[item].1, votes.judged[item].2)),
        ))
    };
    bootstrap(&units, &scoring.bootstrap, of).map_err(failure)
}

fn silhouette(
    points: ArrayView2<'_, f32>,
    subject: &Subject,
    scoring: &Scoring,
) -> Result<Interval, Failure> {
    let judged: Vec<usize> = (0..subject.rows.len())
        .filter(|&row| subject.judged[row])
        .collect();
    let own = subject.keep(&judged);
    let (rows, values) =
        silhouette_samples(points.select(Axis(0), &judged).view(), &own.labels).map_err(failure)?;
    let units = own.units(rows.iter().zip(0..).map(|(&row, item)| (row, item)));
    let mean = |items: &[usize]| items.iter().map(|&i| values[i]).sum::<f64>() / items.len() as f64;
    bootstrap(&units, &scoring.bootstrap, mean).map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::super::Truth;
    use super::*;
    use cytoself_io::{CropTable, Value};
    use ndarray::Array2;

    /// Two classes of two proteins each; within a class the proteins differ a little, and so do their fields.
    fn subject() -> (Subject, Array2<f32>) {
        let mut table = CropTable::new();
        let noise = |i: usize| ((i * 37) % 19) as f32 / 19.0;
        let mut points = Vec::new();
        for row in 0..160 {
            let (protein, field) = (row % 4, row / 40);
            let (name, class) = [("A", "er"), ("B", "er"), ("C", "golgi"), ("D", "golgi")][protein];
            let field_name = format!("f{field}");
            let cells = [
                ("protein", name),
                ("localization", class),
                ("fov", field_name.as_str()),
                ("split", "test"),
            ];
            table
                .push(&cells.map(|(n, t)| (n, Value::Text(t))))
                .unwrap();
            points.extend([
                protein as f32 * 3.0 + noise(row),
                (protein / 2) as f32 * 4.0 + noise(row * 7 + field),
            ]);
        }
        let subject = Subject::choose(
            &table,
            &Truth::Column("localization".into()),
            "test",
            None,
            1000,
        )
        .unwrap();
        (subject, Array2::from_shape_vec((160, 2), points).unwrap())
    }

    fn scoring() -> Scoring {
        Scoring {
            neighbours: 10,
            bootstrap: BootstrapParams {
                resamples: 200,
                ..Default::default()
            },
        }
    }

    #[test]
    fn every_score_lies_in_its_interval() {
        let (subject, points) = subject();
        let scores = score_map(points.view(), &subject, &scoring()).unwrap();
        for (name, interval) in &scores.values {
            assert!(
                interval.low <= interval.value + 0.2 * interval.value.abs()
                    && interval.high + 0.2 >= interval.value,
                "{name} {interval:?}"
            );
        }
        assert_eq!(scores.get("knn_macro_f1").unwrap().value, 1.0);
        assert_eq!(
            scores.get("knn_macro_f1_other_proteins").unwrap().value,
            1.0
        );
        assert!(scores.get("clustering_score.robust").unwrap().value > 1.0);
    }

    #[test]
    fn points_the_map_left_out_do_not_count() {
        let (subject, mut points) = subject();
        points[[3, 0]] = f32::NAN;
        let scores = score_map(points.view(), &subject, &scoring()).unwrap();
        assert_eq!(scores.confusion.unwrap().counts().sum(), 159);
    }

    #[test]
    fn the_only_protein_of_a_class_is_left_out_without_its_protein() {
        let (mut subject, points) = subject();
        subject
            .protein
            .iter_mut()
            .filter(|p| **p == 3)
            .for_each(|p| *p = 2);
        let scores = score_representation(points.view(), &subject, &scoring()).unwrap();
        assert_eq!(scores.left_out[1], ("knn_macro_f1_other_proteins", 80));
    }
}
