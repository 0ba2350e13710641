//! The page: one HTML file with its style, its script and its data, which asks nothing of the network.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::base64;
use super::sprites::Sprites;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// The script in the order in which its parts depend on each other.
const SCRIPT: [&str; 6] = [
    include_str!("page/data.js"),
    include_str!("page/colour.js"),
    include_str!("page/draw.js"),
    include_str!("page/view.js"),
    include_str!("page/panel.js"),
    include_str!("page/main.js"),
];

/// A column of the table behind the page.
#[derive(Debug, Clone, PartialEq)]
pub struct PageColumn {
    /// Name, as in the table.
    pub name: String,
    /// Values by point.
    pub values: PageValues,
}

/// Values of a column, one per point.
#[derive(Debug, Clone, PartialEq)]
pub enum PageValues {
    /// Text by number.
    Category {
        /// The texts.
        categories: Vec<String>,
        /// Index of the text of every point.
        codes: Vec<u32>,
    },
    /// Numbers; not-a-number where there is none.
    Number(Vec<f32>),
}

impl PageValues {
    fn describe(&self) -> Value {
        match self {
            Self::Category { categories, .. } => {
                json!({"kind": "category", "categories": categories, "bytes": bytes_per_code(categories.len())})
            }
            Self::Number(_) => json!({"kind": "number"}),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Category { categories, codes } => {
                let width = bytes_per_code(categories.len());
                codes
                    .iter()
                    .flat_map(|code| code.to_le_bytes().into_iter().take(width))
                    .collect()
            }
        }
    }
}

fn bytes_per_code(categories: usize) -> usize {
    match categories {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// Everything that an atlas page shows.
#[derive(Debug, Clone)]
pub struct Page {
    /// Heading and window title.
    pub title: String,
    /// How the page was made: tool, version, parameters.
    pub made: String,
    /// Coordinates `x, y` of every point, one after the other.
    pub coordinates: Vec<[f32; 2]>,
    /// The table; at least one column.
    pub columns: Vec<PageColumn>,
    /// Name of the column that colours the points first.
    pub colour_by: String,
    /// Names of the columns that the tip beside the pointer shows, the most important first.
    pub tip: Vec<String>,
    /// Pictures of the crops.
    pub pictures: Option<Sprites>,
}

impl Page {
    /// Writes the page.
    ///
    /// # Errors
    /// - the writer fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rest = TEMPLATE;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            out.write_all(before.as_bytes())?;
            match name {
                "TITLE" => out.write_all(escaped(&self.title).as_bytes())?,
                "GENERATOR" => write!(out, "cytoself atlas {}", env!("CARGO_PKG_VERSION"))?,
                "STYLE" => out.write_all(STYLE.as_bytes())?,
                "SCRIPT" => SCRIPT
                    .iter()
                    .try_for_each(|part| out.write_all(part.as_bytes()))?,
                _ => self.write_data(out)?,
            }
            rest = after;
        }
        out.write_all(rest.as_bytes())
    }

    fn write_data(&self, out: &mut impl Write) -> io::Result<()> {
        let columns: Vec<Value> = self.columns.iter().map(describe).collect();
        let meta = json!({
            "format": "cytoself atlas",
            "format_version": 1,
            "title": self.title,
            "made": self.made,
            "points": self.coordinates.len(),
            "columns": columns,
            "colourBy": self.colour_by,
            "tip": self.tip,
            "pictures": self.pictures.as_ref().map(Sprites::describe),
        });
        // Inside a script element only `</` could end it early.
        let meta = meta.to_string().replace("</", "<\\/");
        writeln!(
            out,
            "<script id=\"atlas-meta\" type=\"application/json\">{meta}</script>"
        )?;
        let coordinates: Vec<u8> = self
            .coordinates
            .iter()
            .flatten()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        buffer(out, "atlas-xy", &coordinates)?;
        for (index, column) in self.columns.iter().enumerate() {
            buffer(
                out,
                &format!("atlas-column-{index}"),
                &column.values.bytes(),
            )?;
        }
        let Some(pictures) = &self.pictures else {
            return Ok(());
        };
        let slots: Vec<u8> = pictures
            .slots
            .iter()
            .flat_map(|slot| slot.to_le_bytes())
            .collect();
        buffer(out, "atlas-slots", &slots)?;
        for (index, sheet) in pictures.sheets.iter().enumerate() {
            buffer(out, &format!("atlas-sheet-{index}"), sheet)?;
        }
        Ok(())
    }
}

fn describe(column: &PageColumn) -> Value {
    let mut value = column.values.describe();
    value["name"] = json!(column.name);
    value
}

fn buffer(out: &mut impl Write, id: &str, bytes: &[u8]) -> io::Result<()> {
    write!(out, "<script id=\"{id}\" type=\"text/plain\">")?;
    base64::write(out, bytes)?;
    out.write_all(b"</script>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str) -> Page {
        Page {
            title: title.to_string(),
            made: String::new(),
            coordinates: vec![[0.0, 1.0]; 3],
            columns: vec![PageColumn {
                name: "protein".to_string(),
                values: PageValues::Category {
                    categories: vec!["</script><b>".to_string()],
                    codes: vec![0; 3],
                },
            }],
            colour_by: "protein".to_string(),
            tip: vec!["protein".to_string()],
            pictures: None,
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let mut out = Vec::new();
        page("<script>\"x\"").write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("</script><b>"));
        assert!(text.contains("<title>&lt;script&gt;&quot;x&quot;</title>"));
        assert!(!text.contains("{{"));
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let mut out = Vec::new();
        page("t").write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"));
    }

    #[test]
    fn codes_take_as_many_bytes_as_they_need() {
        let values = PageValues::Category {
            categories: vec![String::new(); 300],
            codes: vec![258, 1],
        };
        assert_eq!(values.bytes(), [2, 1, 1, 0]);
    }
}
