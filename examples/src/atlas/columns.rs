//! The crop table as the page holds it.

use cytoself_io::{Column, CropTable};

use super::page::{PageColumn, PageValues};

/// All columns of a table but the coordinates, which the page has apart.
#[must_use]
pub fn page_columns(table: &CropTable) -> Vec<PageColumn> {
    let wanted = table
        .columns()
        .filter(|name| !matches!(*name, "umap_x" | "umap_y"));
    let mut columns: Vec<PageColumn> = wanted
        .filter_map(|name| {
            Some(PageColumn {
                name: name.to_string(),
                values: page_values(table.column(name)?),
            })
        })
        .collect();
    if columns.is_empty() {
        let numbers = (0..table.len()).map(|row| row as f32).collect();
        columns.push(PageColumn {
            name: "row".to_string(),
            values: PageValues::Number(numbers),
        });
    }
    columns
}

fn page_values(column: &Column) -> PageValues {
    match column {
        Column::Text(text) => PageValues::Category {
            categories: text.categories().map(str::to_string).collect(),
            codes: text.codes().to_vec(),
        },
        Column::Number(numbers) => PageValues::Number(numbers.iter().map(|&v| v as f32).collect()),
        Column::Flag(flags) => PageValues::Category {
            categories: vec!["no".to_string(), "yes".to_string()],
            codes: flags.iter().map(|&flag| u32::from(flag)).collect(),
        },
    }
}

/// Index of the class of every row and the names of the classes, for a picture; `None` for no class.
#[must_use]
pub fn classes(column: &Column) -> (Vec<Option<usize>>, Vec<String>) {
    let PageValues::Category { categories, codes } = page_values(column) else {
        return (Vec::new(), Vec::new());
    };
    let mut order: Vec<usize> = (0..categories.len())
        .filter(|&i| !is_nobody(&categories[i]))
        .collect();
    order.sort_by_key(|&i| (categories[i].contains(';'), categories[i].clone()));
    let mut rank = vec![None; categories.len()];
    for (at, &i) in order.iter().enumerate() {
        rank[i] = Some(at);
    }
    let names = order
        .iter()
        .map(|&i| categories[i].replace('_', " "))
        .collect();
    (
        codes.iter().map(|&code| rank[code as usize]).collect(),
        names,
    )
}

fn is_nobody(name: &str) -> bool {
    name.is_empty() || name == super::groups::OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use cytoself_io::Value;

    #[test]
    fn every_kind_of_column_has_its_form() {
        let mut table = CropTable::new();
        table
            .push(&[
                ("localization", Value::Text("golgi;er")),
                ("y", Value::Number(2.0)),
                ("ok", Value::Flag(true)),
            ])
            .unwrap();
        table
            .push(&[
                ("localization", Value::Text("others")),
                ("y", Value::Number(3.0)),
                ("ok", Value::Flag(false)),
            ])
            .unwrap();
        table
            .push(&[
                ("localization", Value::Text("vesicles")),
                ("y", Value::Number(4.0)),
                ("ok", Value::Flag(true)),
            ])
            .unwrap();
        let columns = page_columns(&table);
        assert_eq!(columns.len(), 3);
        assert_eq!(columns[1].values, PageValues::Number(vec![2.0, 3.0, 4.0]));
        let (class, names) = classes(table.column("localization").unwrap());
        assert_eq!(names, ["vesicles", "golgi;er"]);
        assert_eq!(class, [Some(1), None, Some(0)]);
    }
}
