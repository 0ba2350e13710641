//! A reader for the start tags of an XML text: all that OME-XML needs.
//!
//! It expands no entity but the five of the standard and character numbers, follows no reference, and keeps one tag at a time.

/// The start tags of an XML text, in order, with their depth.
pub(crate) struct Tags<'a> {
    rest: &'a str,
    depth: usize,
}

/// One start tag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag<'a> {
    /// Name without its namespace prefix.
    pub name: &'a str,
    /// Number of open elements around it.
    pub depth: usize,
    attributes: &'a str,
}

impl<'a> Tags<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            depth: 0,
        }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            let start = self.rest.find('<')?;
            let rest = &self.rest[start + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                self.rest = &comment[comment.find("-->")?..];
            } else if let Some(data) = rest.strip_prefix("![CDATA[") {
                self.rest = &data[data.find("]]>")?..];
            } else if rest.starts_with(['?', '!']) {
                self.rest = &rest[rest.find('>')?..];
            } else if rest.starts_with('/') {
                self.depth = self.depth.saturating_sub(1);
                self.rest = &rest[rest.find('>')?..];
            } else {
                let end = end_of_tag(rest)?;
                let inner = &rest[..end];
                self.rest = &rest[end + 1..];
                let (inner, closed) = inner
                    .strip_suffix('/')
                    .map_or((inner, false), |i| (i, true));
                let split = inner
                    .find(|c: char| c.is_whitespace())
                    .unwrap_or(inner.len());
                let name = inner[..split].rsplit(':').next().unwrap_or_default();
                let tag = Tag {
                    name,
                    depth: self.depth,
                    attributes: &inner[split..],
                };
                self.depth += usize::from(!closed);
                return Some(tag);
            }
        }
    }
}

/// The closing bracket, which may not be inside quotes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match quote {
            Some(q) if byte == q => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if byte == b'>' => return Some(at),
            None => {}
        }
    }
    None
}

impl<'a> Tag<'a> {
    /// The value of the attribute `name`, with entities replaced.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.attributes;
        loop {
            let equals = rest.find('=')?;
            let key = rest[..equals].trim();
            let value = rest[equals + 1..].trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let value = &value[1..];
            let end = value.find(quote)?;
            if key == name {
                return Some(unescape(&value[..end]));
            }
            rest = &value[end + 1..];
        }
    }

    /// The value of the attribute `name`, parsed.
    pub(crate) fn parse<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.attribute(name)?.trim().parse().ok()
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        // The longest entity that is understood is a character number of eight digits.
        let end = rest.bytes().take(12).position(|b| b == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// Replaces the characters that XML reserves.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if u32::from(c) < 0x20 => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_attributes() {
        let text = "<?xml?><!-- <x/> --><a><ns:b k=\"1 &lt; 2\" l='&#181;m>'/></a><c/>";
        let tags: Vec<Tag> = Tags::new(text).collect();
        assert_eq!(
            tags.iter().map(|t| (t.name, t.depth)).collect::<Vec<_>>(),
            [("a", 0), ("b", 1), ("c", 0)]
        );
        assert_eq!(tags[1].attribute("k").unwrap(), "1 < 2");
        assert_eq!(tags[1].attribute("l").unwrap(), "\u{b5}m>");
        assert_eq!(tags[1].attribute("m"), None);
    }

    #[test]
    fn escaping_is_undone() {
        let text = "a<b & \"c\" &amp; \u{b5}";
        assert_eq!(unescape(&escape(text)), text);
        assert_eq!(unescape("&unknown; &"), "&unknown; &");
    }
}
