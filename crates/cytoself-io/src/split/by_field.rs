//! The division by field.

use std::collections::HashMap;

use super::{ProteinSplit, Split, SplitReport, SplitRule};
use crate::random::SplitMix64;
use crate::{CropTable, IoError, TextColumn};

/// How to divide.
///
/// # Defaults
/// - `fractions`: 0.8, 0.1, 0.1 (training, validation, test)
/// - `seed`: 42
#[derive(Debug, Clone, PartialEq)]
pub struct SplitParams {
    fractions: [f64; 3],
    seed: u64,
}

impl Default for SplitParams {
    fn default() -> Self {
        // 8:1:1 by field: Kobayashi et al. 2022, Methods, "Data preprocessing".
        Self {
            fractions: [0.8, 0.1, 0.1],
            seed: 42,
        }
    }
}

impl SplitParams {
    /// Shares of training, validation and test; scaled to the sum 1.
    #[must_use]
    pub fn fractions(mut self, fractions: [f64; 3]) -> Self {
        self.fractions = fractions;
        self
    }

    /// Seed of the order in which fields are dealt out.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check(&self) -> Result<[f64; 3], IoError> {
        let sum: f64 = self.fractions.iter().sum();
        if self.fractions.iter().any(|f| !f.is_finite() || *f < 0.0)
            || sum <= 0.0
            || self.fractions[0] == 0.0
        {
            let expected = "finite, not negative, and positive for training";
            return Err(IoError::argument(
                "fractions",
                expected,
                format!("{:?}", self.fractions),
            ));
        }
        Ok(self.fractions.map(|f| f / sum))
    }
}

/// One field of a protein.
struct Field {
    rows: Vec<usize>,
}

/// Divides the crops of each protein by field into training, validation and test.
///
/// The fields of a protein are shuffled with a stream of the seed and its name, so that the split of one protein does not depend
/// on the others; with three or more fields each split receives one, then each further field goes where most crops are lacking.
/// Proteins with fewer fields, and tables without a column `fov`, are divided as [`SplitRule`] says and named in the report.
///
/// **Differs from cytoself**: there, fields are taken by descending number of crops (which puts the densest into training), and a
/// protein with one to three fields has an empty split or ends the program.
///
/// # Errors
/// - a fraction is negative or not finite, or that of training is 0.
///
/// # References
/// - Kobayashi et al., Nature Methods 2022, doi:10.1038/s41592-022-01541-z, Methods
pub fn split_by_field(
    table: &CropTable,
    params: &SplitParams,
) -> Result<(Vec<Split>, SplitReport), IoError> {
    let fractions = params.check()?;
    let mut splits = vec![Split::Train; table.len()];
    let mut report = SplitReport::default();
    for (protein, fields) in group(table) {
        let mut rng = SplitMix64::keyed(params.seed, &protein);
        let by_crop = table.text("fov").is_none();
        let fields = if by_crop {
            one_field_per_crop(fields)
        } else {
            fields
        };
        let (assigned, mut rule) = assign(&fields, fractions, &mut rng);
        let (mut crops, mut counts) = ([0; 3], [0; 3]);
        for (field, &split) in fields.iter().zip(&assigned) {
            crops[split as usize] += field.rows.len();
            counts[split as usize] += 1;
            field.rows.iter().for_each(|&row| splits[row] = split);
        }
        if by_crop {
            (rule, counts) = (SplitRule::ByCrop, [0; 3]);
        }
        report.add(ProteinSplit {
            protein,
            fields: counts,
            crops,
            rule,
        });
    }
    Ok((splits, report))
}

/// Proteins and their fields, both in order of first appearance.
fn group(table: &CropTable) -> Vec<(String, Vec<Field>)> {
    let code = |column: Option<&TextColumn>, row: usize| column.map_or(0, |c| c.codes()[row]);
    let (protein, fov) = (table.text("protein"), table.text("fov"));
    let mut groups: Vec<(String, Vec<Field>)> = Vec::new();
    let mut proteins: HashMap<u32, usize> = HashMap::new();
    let mut places: HashMap<(u32, u32), usize> = HashMap::new();
    for row in 0..table.len() {
        let (p, f) = (code(protein, row), code(fov, row));
        let group = *proteins.entry(p).or_insert_with(|| {
            groups.push((
                protein.map_or(String::new(), |c| c.category(p).to_string()),
                Vec::new(),
            ));
            groups.len() - 1
        });
        let fields = &mut groups[group].1;
        let place = *places.entry((p, f)).or_insert_with(|| {
            fields.push(Field { rows: Vec::new() });
            fields.len() - 1
        });
        fields[place].rows.push(row);
    }
    groups
}

fn one_field_per_crop(fields: Vec<Field>) -> Vec<Field> {
    fields
        .into_iter()
        .flat_map(|f| f.rows)
        .map(|row| Field { rows: vec![row] })
        .collect()
}

fn assign(fields: &[Field], fractions: [f64; 3], rng: &mut SplitMix64) -> (Vec<Split>, SplitRule) {
    let mut assigned = vec![Split::Train; fields.len()];
    let wanted: Vec<Split> = Split::ALL
        .into_iter()
        .filter(|&s| fractions[s as usize] > 0.0)
        .collect();
    let rule = match fields.len() {
        0 | 1 => return (assigned, SplitRule::OneField),
        2 => SplitRule::TwoFields,
        _ => SplitRule::ByField,
    };
    if rule == SplitRule::TwoFields {
        let smaller = usize::from(fields[1].rows.len() <= fields[0].rows.len());
        if let Some(&last) = wanted.iter().rfind(|&&s| s != Split::Train) {
            assigned[smaller] = last;
        }
        return (assigned, rule);
    }
    let mut order: Vec<usize> = (0..fields.len()).collect();
    rng.shuffle(&mut order);
    let total: usize = fields.iter().map(|f| f.rows.len()).sum();
    let mut lacking = fractions.map(|f| f * total as f64);
    for (turn, &field) in order.iter().enumerate() {
        // The first fields dealt guarantee that no split is empty; ties go to training.
        let split = match wanted.get(turn) {
            Some(&first) => first,
            None => wanted
                .iter()
                .copied()
                .reduce(|a, b| {
                    if lacking[b as usize] > lacking[a as usize] {
                        b
                    } else {
                        a
                    }
                })
                .unwrap_or(Split::Train),
        };
        lacking[split as usize] -= fields[field].rows.len() as f64;
        assigned[field] = split;
    }
    (assigned, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields_per_protein: &[usize]) -> CropTable {
        let mut table = CropTable::new();
        for (protein, &fields) in fields_per_protein.iter().enumerate() {
            for crop in 0..fields * 7 {
                let (p, f) = (format!("P{protein}"), (crop % fields).to_string());
                table
                    .push(&[("protein", p.as_str().into()), ("fov", f.as_str().into())])
                    .unwrap();
            }
        }
        table
    }

    #[test]
    fn few_fields_survive_and_are_reported() {
        let (splits, report) =
            split_by_field(&table(&[1, 2, 3, 20]), &SplitParams::default()).unwrap();
        assert_eq!(splits.len(), 26 * 7);
        let fields: Vec<_> = report.proteins.iter().map(|p| p.fields).collect();
        assert_eq!(fields, [[1, 0, 0], [1, 0, 1], [1, 1, 1], [16, 2, 2]]);
        let text = report.to_string();
        assert!(
            text.contains("one field only, in training alone: P0"),
            "{text}"
        );
        assert!(text.contains("none of them in validation: P1"), "{text}");
    }

    #[test]
    fn no_field_is_in_two_splits_and_the_seed_decides() {
        let table = table(&[10, 10]);
        let split = |seed| {
            split_by_field(&table, &SplitParams::default().seed(seed))
                .unwrap()
                .0
        };
        let (a, b) = (split(1), split(2));
        assert_eq!(a, split(1));
        assert_ne!(a, b);
        let (protein, fov) = (table.text("protein").unwrap(), table.text("fov").unwrap());
        let mut seen = HashMap::new();
        for (row, &split) in a.iter().enumerate() {
            let field = (protein.get(row), fov.get(row));
            assert_eq!(*seen.entry(field).or_insert(split), split);
        }
        // A protein's split does not depend on which other proteins there are.
        let second = table.select(&(70..140).collect::<Vec<_>>()).unwrap();
        let alone = split_by_field(&second, &SplitParams::default().seed(1));
        assert_eq!(alone.unwrap().0, a[70..]);
    }

    #[test]
    fn without_fields_crops_are_divided() {
        let mut table = table(&[5]);
        table.remove("fov");
        let (_, report) = split_by_field(&table, &SplitParams::default()).unwrap();
        assert_eq!(report.proteins[0].rule, SplitRule::ByCrop);
        assert!(report.crops.iter().all(|&c| c >= 3), "{:?}", report.crops);
        assert!(
            split_by_field(&table, &SplitParams::default().fractions([0.0, 0.5, 0.5])).is_err()
        );
    }
}
