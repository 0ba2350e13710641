use std::collections::BTreeMap;

use crate::random::Stream;

/// Class of each point, with the names sorted.
///
/// # Example
/// ```
/// use cytoself_eval::Labels;
/// let labels = Labels::new(["er", "others", "golgi", "er"], &["others"]);
/// assert_eq!(labels.names(), ["er", "golgi"]);
/// assert_eq!(labels.classes(), [Some(0), None, Some(1), Some(0)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    classes: Vec<Option<usize>>,
    names: Vec<String>,
}

impl Labels {
    /// Reads one label per point; the labels in `exclude` and the empty one are no class.
    pub fn new<T: AsRef<str>>(labels: impl IntoIterator<Item = T>, exclude: &[&str]) -> Self {
        let texts: Vec<T> = labels.into_iter().collect();
        let is_class = |text: &str| !text.is_empty() && !exclude.contains(&text);
        let mut index: BTreeMap<&str, usize> = texts
            .iter()
            .map(AsRef::as_ref)
            .filter(|t| is_class(t))
            .map(|t| (t, 0))
            .collect();
        index
            .values_mut()
            .zip(0..)
            .for_each(|(class, next)| *class = next);
        let classes = texts
            .iter()
            .map(|t| index.get(t.as_ref()).copied())
            .collect();
        let names = index.into_keys().map(str::to_string).collect();
        Self { classes, names }
    }

    /// Class of each point, `None` where it has none.
    #[must_use]
    pub fn classes(&self) -> &[Option<usize>] {
        &self.classes
    }

    /// Names of the classes, sorted.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of points, with and without class.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The points that have a class, and their classes.
    #[must_use]
    pub fn labelled(&self) -> (Vec<usize>, Vec<usize>) {
        self.classes
            .iter()
            .enumerate()
            .filter_map(|(row, class)| Some((row, (*class)?)))
            .unzip()
    }

    /// The same classes handed out at random among the points that have one.
    pub(crate) fn shuffled(&self, stream: &mut Stream) -> Self {
        let (rows, mut classes) = self.labelled();
        stream.shuffle(&mut classes);
        let mut shuffled = self.clone();
        rows.into_iter()
            .zip(classes)
            .for_each(|(row, class)| shuffled.classes[row] = Some(class));
        shuffled
    }
}
