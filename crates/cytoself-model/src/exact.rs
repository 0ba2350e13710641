//! Numbers in JSON as text that reads back to the same bits: the JSON reader's own numbers may be off in the last place, and
//! JSON has no word for a number that is none.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// Numbers that are written as text; used as `#[serde(with = "crate::exact")]`.
pub(crate) trait Exact: Sized {
    /// What is written.
    type Text: Serialize + for<'de> Deserialize<'de>;
    fn to_text(&self) -> Self::Text;
    fn from_text(text: Self::Text) -> Option<Self>;
}

impl Exact for f64 {
    type Text = String;

    fn to_text(&self) -> String {
        // Rust writes the shortest text that reads back to the same bits.
        self.to_string()
    }

    fn from_text(text: String) -> Option<Self> {
        text.parse().ok()
    }
}

impl<T: Exact> Exact for Option<T> {
    type Text = Option<T::Text>;

    fn to_text(&self) -> Self::Text {
        self.as_ref().map(T::to_text)
    }

    fn from_text(text: Self::Text) -> Option<Self> {
        text.map_or(Some(None), |t| T::from_text(t).map(Some))
    }
}

impl<const N: usize> Exact for [f64; N] {
    type Text = Vec<String>;

    fn to_text(&self) -> Vec<String> {
        self.iter().map(f64::to_text).collect()
    }

    fn from_text(text: Vec<String>) -> Option<Self> {
        let numbers: Option<Vec<f64>> = text.into_iter().map(f64::from_text).collect();
        numbers?.try_into().ok()
    }
}

pub(crate) fn serialize<T: Exact, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.to_text().serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Exact, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::from_text(T::Text::deserialize(deserializer)?)
        .ok_or_else(|| D::Error::custom("expected numbers as text"))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        #[serde(with = "crate::exact")]
        one: f64,
        #[serde(with = "crate::exact")]
        maybe: Option<f64>,
        #[serde(with = "crate::exact")]
        many: [f64; 3],
    }

    #[test]
    fn every_bit_survives() {
        let numbers = Numbers {
            one: 0.1 + 0.2,
            maybe: None,
            many: [f64::MIN_POSITIVE, f64::INFINITY, 5e-324],
        };
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(serde_json::from_str::<Numbers>(&text).unwrap(), numbers);
        let text = text.replace("inf", "NaN").replace("null", "\"1e3\"");
        let back: Numbers = serde_json::from_str(&text).unwrap();
        assert!(back.many[1].is_nan());
        assert_eq!(back.maybe, Some(1000.0));
        assert!(serde_json::from_str::<Numbers>(&text.replace("1e3", "much")).is_err());
    }
}
