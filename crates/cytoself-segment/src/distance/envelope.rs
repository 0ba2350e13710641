//! The lower envelope of parabolas along one line.

/// Squared distances along a line, given the squared distance of every cell in the other directions.
///
/// `squared[i]` becomes the minimum over `j` of `squared[j] + (i - j)^2`. Buffers are kept between lines.
pub(crate) struct Envelope {
    /// Position of the parabolas that are part of the envelope.
    at: Vec<usize>,
    /// Their heights.
    height: Vec<f64>,
    /// Where each parabola starts to be the lowest.
    from: Vec<f64>,
    /// `1 / (2 k)` for every distance `k` between two cells of a line.
    half_inverse: Vec<f64>,
}

impl Envelope {
    /// For lines of up to `length` cells.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            at: Vec::with_capacity(length),
            height: Vec::with_capacity(length),
            from: Vec::with_capacity(length),
            half_inverse: (0..=length).map(|k| 0.5 / k as f64).collect(),
        }
    }

    /// Lowers `squared` to the envelope; exact for whole numbers.
    pub(crate) fn lower(&mut self, squared: &mut [f64]) {
        self.at.clear();
        self.height.clear();
        self.from.clear();
        for (i, &height) in squared.iter().enumerate() {
            self.push(i, height);
        }
        let mut k = 0;
        for (i, value) in squared.iter_mut().enumerate() {
            while self.from.get(k + 1).is_some_and(|&from| from < i as f64) {
                k += 1;
            }
            let d = i as f64 - self.at[k] as f64;
            *value = self.height[k] + d * d;
        }
    }

    /// Adds the parabola at `i` and drops those that it hides.
    ///
    /// With whole numbers, a product with a rounded inverse may misplace a crossing, but by far less than the distance of any crossing
    /// that is not at a cell from the nearest cell; at a cell both parabolas are equal. So results stay exact.
    fn push(&mut self, i: usize, height: f64) {
        while let (Some(&j), Some(&other), Some(&from)) =
            (self.at.last(), self.height.last(), self.from.last())
        {
            let (p, q) = (i as f64, j as f64);
            let crossing = (height - other + p * p - q * q) * self.half_inverse[i - j];
            if crossing > from {
                self.at.push(i);
                self.height.push(height);
                self.from.push(crossing);
                return;
            }
            self.at.pop();
            self.height.pop();
            self.from.pop();
        }
        self.at.push(i);
        self.height.push(height);
        self.from.push(f64::NEG_INFINITY);
    }
}
