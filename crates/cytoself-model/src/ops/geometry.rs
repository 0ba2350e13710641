//! Shapes of the convolutions.

/// Rows and columns of zeros around a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self {
        top: 0,
        bottom: 0,
        left: 0,
        right: 0,
    };

    /// The same number of zeros on every side; `k / 2` keeps the size of the map for an odd kernel `k` at stride 1.
    pub const fn uniform(size: usize) -> Self {
        Self {
            top: size,
            bottom: size,
            left: size,
            right: size,
        }
    }

    /// Rows and columns of what a `kernel` with `stride` makes of a map of `size` in these zeros.
    pub(crate) fn outputs(self, size: [usize; 2], kernel: [usize; 2], stride: usize) -> [usize; 2] {
        let around = [self.top + self.bottom, self.left + self.right];
        std::array::from_fn(|a| (size[a] + around[a] - kernel[a]) / stride + 1)
    }
}

/// The shape of a convolution.
///
/// # Shapes
/// `x: [batch, in_channels, height, width]`, `w: [out_channels, in_channels, kernel[0], kernel[1]]` (depthwise: `[channels, 1, k, k]` with
/// `in_channels == out_channels`), `y: [batch, out_channels, out_height, out_width]`.
///
/// # Example
/// ```
/// use cytoself_model::ops::{ConvGeometry, Padding};
/// let stem = ConvGeometry { batch: 1, in_channels: 2, out_channels: 32, height: 100, width: 100, kernel: [3, 3], stride: 2, padding: Padding::uniform(1) };
/// assert_eq!((stem.out_height(), stem.out_width()), (50, 50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Images.
    pub batch: usize,
    /// Channels read.
    pub in_channels: usize,
    /// Channels written.
    pub out_channels: usize,
    /// Rows of the input map.
    pub height: usize,
    /// Columns of the input map.
    pub width: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step in both directions.
    pub stride: usize,
    /// Zeros around the input map.
    pub padding: Padding,
}

impl ConvGeometry {
    /// Rows of the output map.
    pub fn out_height(&self) -> usize {
        self.out_size()[0]
    }

    /// Columns of the output map.
    pub fn out_width(&self) -> usize {
        self.out_size()[1]
    }

    fn out_size(&self) -> [usize; 2] {
        self.padding
            .outputs([self.height, self.width], self.kernel, self.stride)
    }

    /// Whether the kernel fits the padded map and the stride is at least 1.
    pub fn is_valid(&self) -> bool {
        let [kh, kw] = self.kernel;
        let fits = self.height + self.padding.top + self.padding.bottom >= kh
            && self.width + self.padding.left + self.padding.right >= kw;
        fits && kh > 0 && kw > 0 && self.stride > 0
    }

    /// Elements of one input map.
    pub(crate) fn in_plane(&self) -> usize {
        self.height * self.width
    }

    /// Elements of one output map.
    pub(crate) fn out_plane(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Taps of one kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether every output pixel reads just the input pixel at its place.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == Padding::NONE
    }
}
