//! The order of names.

use std::cmp::Ordering;

/// Compares texts with the numbers in them taken as numbers: `f9` before `f10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    loop {
        let ((a_text, a_number, a_next), (b_text, b_number, b_next)) = (head(a_rest), head(b_rest));
        let number = |n: &str| {
            (
                n.trim_start_matches('0').len(),
                n.trim_start_matches('0').to_string(),
            )
        };
        let order = a_text
            .cmp(b_text)
            .then_with(|| number(a_number).cmp(&number(b_number)));
        if order != Ordering::Equal {
            return order;
        }
        if a_next.is_empty() || b_next.is_empty() {
            // The last comparison tells names apart that differ only in leading zeros.
            return a_next.len().cmp(&b_next.len()).then_with(|| a.cmp(b));
        }
        (a_rest, b_rest) = (a_next, b_next);
    }
}

/// The text before the first number, the number, and the rest.
fn head(text: &str) -> (&str, &str, &str) {
    let start = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    let end = text[start..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(text.len(), |e| start + e);
    (&text[..start], &text[start..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        let mut names = ["f10:2", "f9:10", "f9:9", "f10", "f010:2", "", "f9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "f9", "f9:9", "f9:10", "f10", "f010:2", "f10:2"]);
    }
}
