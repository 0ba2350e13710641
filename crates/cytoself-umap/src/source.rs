//! Where the points come from: dense rows, code indices with their codebook, or distances computed elsewhere.

mod codes;
mod dense;
mod precomputed;
mod space;

use ndarray::{ArrayView2, CowArray, Ix2};

use crate::{Knn, UmapError};

pub use codes::CodePoints;
pub use dense::DensePoints;
pub use precomputed::Precomputed;

pub(crate) use codes::CodeSpace;
pub(crate) use dense::{DenseSpace, products};
pub(crate) use precomputed::DistanceSpace;
pub(crate) use space::{Scratch, Space};

/// The points to embed.
///
/// # Example
/// ```
/// use cytoself_umap::PointSource;
/// use ndarray::array;
///
/// // Two images of three codes each, and a codebook of two vectors in two dimensions.
/// let codes = array![[0_u16, 1, 1], [0, 0, 1]];
/// let codebook = array![[0.0_f32, 0.0], [3.0, 4.0]];
/// let source = PointSource::codes(codes.view(), codebook.view())?;
/// assert_eq!((source.len(), source.kind()), (2, "codes"));
/// # Ok::<(), cytoself_umap::UmapError>(())
/// ```
#[derive(Debug, Clone)]
pub enum PointSource<'a> {
    /// Rows of numbers; memory-mapped rows are read in place.
    Dense(DensePoints<'a>),
    /// Rows of code indices: 144 numbers stand for 144 codebook vectors.
    Codes(CodePoints<'a>),
    /// Distances or neighbour lists computed elsewhere.
    Precomputed(Precomputed<'a>),
}

impl<'a> PointSource<'a> {
    /// Dense rows.
    ///
    /// **Shapes** `rows: [n, d] f32`.
    ///
    /// # Errors
    /// - [`UmapError::Empty`]: no rows or no columns;
    /// - [`UmapError::NotFinite`]: a value is NaN or infinite.
    pub fn dense(rows: ArrayView2<'a, f32>) -> Result<Self, UmapError> {
        DensePoints::new(CowArray::from(rows)).map(Self::Dense)
    }

    /// Rows of code indices and the codebook that they point into.
    ///
    /// The distance is that between the concatenated codebook vectors, exactly.
    ///
    /// **Shapes** `codes: [n, p] u16`, `codebook: [k, d] f32`.
    ///
    /// # Errors
    /// - [`UmapError::Empty`]: an array without rows or columns;
    /// - [`UmapError::NotFinite`]: a codebook value is NaN or infinite;
    /// - [`UmapError::Code`]: a code is not below k.
    pub fn codes(
        codes: ArrayView2<'a, u16>,
        codebook: ArrayView2<'a, f32>,
    ) -> Result<Self, UmapError> {
        CodePoints::new(CowArray::from(codes), CowArray::from(codebook)).map(Self::Codes)
    }

    /// A full matrix of distances.
    ///
    /// **Shapes** `distances: [n, n] f32`, 0 on the diagonal, infinite where two points are not connected.
    ///
    /// # Errors
    /// - [`UmapError::Empty`], [`UmapError::Shape`]: not a square matrix;
    /// - [`UmapError::Precomputed`]: a negative or NaN distance, or a diagonal that is not 0.
    pub fn distances(distances: ArrayView2<'a, f32>) -> Result<Self, UmapError> {
        Precomputed::distances(CowArray::from(distances)).map(Self::Precomputed)
    }

    /// Neighbour lists, each row sorted by distance.
    ///
    /// # Errors
    /// - [`UmapError::Empty`]: no rows or no columns;
    /// - [`UmapError::Precomputed`]: an index past the end, a row that is not sorted, a negative or NaN distance.
    pub fn neighbours(knn: Knn) -> Result<Self, UmapError> {
        Precomputed::neighbours(knn).map(Self::Precomputed)
    }

    /// Some of the points, in the given order; `None` for distances and neighbour lists.
    pub(crate) fn select(&self, rows: &[usize]) -> Option<PointSource<'static>> {
        match self {
            Self::Dense(p) => Some(PointSource::Dense(p.select(rows))),
            Self::Codes(p) => Some(PointSource::Codes(p.select(rows))),
            Self::Precomputed(_) => None,
        }
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(p) => p.rows().nrows(),
            Self::Codes(p) => p.codes().nrows(),
            Self::Precomputed(p) => p.len(),
        }
    }

    /// Never true: a source has at least one point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `dense`, `codes`, `distances` or `neighbours`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Codes(_) => "codes",
            Self::Precomputed(Precomputed::Distances(_)) => "distances",
            Self::Precomputed(Precomputed::Neighbours(_)) => "neighbours",
        }
    }

    /// A 64-bit hash of the content, which a model uses to recognise its points.
    #[must_use]
    pub fn content_hash(&self) -> u64 {
        match self {
            Self::Dense(p) => p.content_hash(),
            Self::Codes(p) => p.content_hash(),
            Self::Precomputed(p) => p.content_hash(),
        }
    }
}

/// Rows and columns of an array that may not be empty.
fn not_empty<T>(what: &'static str, array: &CowArray<'_, T, Ix2>) -> Result<(), UmapError> {
    let (rows, columns) = array.dim();
    if rows == 0 || columns == 0 {
        return Err(UmapError::Empty {
            what,
            rows,
            columns,
        });
    }
    Ok(())
}

/// Row-major order; copies only when the array is not in it already.
fn row_major<T: Clone>(array: CowArray<'_, T, Ix2>) -> CowArray<'_, T, Ix2> {
    if array.is_standard_layout() {
        array
    } else {
        CowArray::from(array.as_standard_layout().into_owned())
    }
}
