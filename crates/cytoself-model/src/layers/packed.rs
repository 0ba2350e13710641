//! A trained encoder for evaluation on the processor: weights in the order in which they are read, maps in blocks of channels.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::ModelError;
use crate::ops::blocked::{Dense, Filter, Gate, Grid, Layout};
use crate::ops::{FixedNorm, InstructionSet, Padding, scratch, with_values};

/// Images that a task takes through the encoder, if there are enough.
const IMAGES: usize = 4;

/// Values of the widest maps of the images that go through a block together: weights are read once for all of them, and maps stay in the
/// second- and third-level cache.
const TOGETHER: usize = 1 << 18;

/// A convolution as a layer describes it to be packed.
pub(crate) struct Described<'a> {
    pub(crate) weight: &'a Tensor,
    pub(crate) norm: FixedNorm,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
}

/// An MBConv block as it describes itself.
pub(crate) struct DescribedBlock<'a> {
    pub(crate) expand: Option<Described<'a>>,
    pub(crate) depthwise: Described<'a>,
    pub(crate) squeeze: &'a [Tensor; 4],
    pub(crate) project: Described<'a>,
    pub(crate) residual: bool,
}

/// A block, and the layouts of its maps.
struct Block {
    expand: Option<Dense>,
    filter: Filter,
    gate: Gate,
    project: Dense,
    residual: bool,
    /// What the depthwise convolution reads.
    framed: Layout,
    /// Values per image of its maps: input, framed, filtered, output.
    input: usize,
    filtered: usize,
    output: usize,
    /// Channel sums.
    sums: usize,
}

/// An encoder with its weights as they were when it was packed, for images of one size.
pub(crate) struct PackedEncoder {
    input: Layout,
    places: Vec<usize>,
    stem: Option<(Dense, usize)>,
    blocks: Vec<Block>,
    top: Dense,
    output: Layout,
}

/// Refuses a map whose places are not counted in 32 bits.
fn counted(layout: Layout) -> Result<Layout, ModelError> {
    match u32::try_from(layout.image()) {
        Ok(_) => Ok(layout),
        Err(_) => Err(ModelError::Shape {
            what: "an encoder's map".to_string(),
            expected: vec![layout.channels],
            found: vec![layout.channels, layout.grid.size[0], layout.grid.size[1]],
            hint: "a map has fewer than 2^32 values; take smaller crops".to_string(),
        }),
    }
}

/// Values of a tensor.
fn values(t: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(t.flatten_all()?.to_vec1()?)
}

/// Packs a convolution, and gives the layout of its dense output.
fn dense(d: &Described<'_>, from: &Layout) -> Result<(Dense, Layout), ModelError> {
    let size = d.padding.outputs(from.grid.size, [d.kernel; 2], d.stride);
    let to = counted(Layout::new(
        from.isa,
        d.norm.lines().len(),
        Grid::dense(size),
    ))?;
    let packed = Dense::new(&values(d.weight)?, &d.norm, [d.kernel, d.stride], from, &to);
    Ok((packed, to))
}

impl Block {
    fn new(d: &DescribedBlock<'_>, from: &Layout) -> Result<(Self, Layout), ModelError> {
        let Described {
            kernel,
            stride,
            padding,
            ..
        } = d.depthwise;
        let channels = d.depthwise.norm.lines().len();
        let framed = Grid::framed(from.grid.size, kernel, stride, padding);
        let framed = counted(Layout::new(from.isa, channels, framed))?;
        let expand = match &d.expand {
            Some(e) => {
                let weight = values(e.weight)?;
                let shape = [e.kernel, e.stride];
                Some(Dense::new(&weight, &e.norm, shape, from, &framed))
            }
            None => None,
        };
        let size = padding.outputs(framed.grid.size, [kernel; 2], stride);
        let filtered = Layout::new(from.isa, channels, Grid::dense(size));
        let weight = values(d.depthwise.weight)?;
        let shape = [kernel, stride];
        let filter = Filter::new(&weight, &d.depthwise.norm, shape, &framed, &filtered);
        let [w1, b1, w2, b2] = d.squeeze;
        let (w1, b1, w2, b2) = (values(w1)?, values(b1)?, values(w2)?, values(b2)?);
        let gate = Gate::new([&w1, &b1, &w2, &b2], &filtered);
        let (project, to) = dense(&d.project, &filtered)?;
        let block = Self {
            expand,
            filter,
            gate,
            project,
            residual: d.residual,
            input: from.image(),
            filtered: filtered.image(),
            output: to.image(),
            sums: filtered.blocks() * from.isa.lanes(),
            framed,
        };
        Ok((block, to))
    }

    /// Images that go through together.
    fn together(&self) -> usize {
        (TOGETHER / (self.framed.image() + self.filtered).max(1)).clamp(1, IMAGES)
    }

    /// Values of working memory.
    fn memory(&self) -> usize {
        self.together() * (self.framed.image() + self.filtered) + self.sums + self.gate.memory()
    }

    /// `images` images from `x` to `y`.
    fn run(&self, x: &[f32], memory: &mut [f32], y: &mut [f32]) {
        let chunk = self.together();
        let inputs = x.chunks(chunk * self.input);
        for (x, y) in inputs.zip(y.chunks_mut(chunk * self.output)) {
            let images = x.len() / self.input;
            let (framed, rest) = memory.split_at_mut(images * self.framed.image());
            let (filtered, rest) = rest.split_at_mut(images * self.filtered);
            let (sums, rest) = rest.split_at_mut(self.sums);
            self.framed.grid.clear(self.framed.isa.lanes(), framed);
            match &self.expand {
                Some(expand) => expand.run(x, None, framed),
                None => self.framed.copy(x, framed),
            }
            let maps = framed.chunks_exact(self.framed.image());
            for (framed, filtered) in maps.zip(filtered.chunks_exact_mut(self.filtered)) {
                self.filter.run(framed, filtered, sums);
                self.gate.run(sums, rest, filtered);
            }
            self.project.run(filtered, self.residual.then_some(x), y);
        }
    }
}

impl PackedEncoder {
    /// Packs the layers of an encoder for images `[channels, height, width]`.
    pub(crate) fn new(
        [channels, height, width]: [usize; 3],
        stem: Option<&Described<'_>>,
        blocks: &[DescribedBlock<'_>],
        top: &Described<'_>,
    ) -> Result<Self, ModelError> {
        let (isa, size) = (InstructionSet::detect(), [height, width]);
        let input = match stem {
            Some(d) => {
                let grid = Grid::framed(size, d.kernel, d.stride, d.padding);
                Layout::narrow(isa, channels, grid)
            }
            None => Layout::new(isa, channels, Grid::dense(size)),
        };
        let (input, mut last) = (counted(input)?, None);
        let stem = match stem {
            Some(d) => {
                let (packed, to) = dense(d, &input)?;
                let length = to.image();
                last = Some(to);
                Some((packed, length))
            }
            None => None,
        };
        let mut packed = Vec::with_capacity(blocks.len());
        for d in blocks {
            let (block, to) = Block::new(d, last.as_ref().unwrap_or(&input))?;
            packed.push(block);
            last = Some(to);
        }
        let (top, output) = dense(top, last.as_ref().unwrap_or(&input))?;
        Ok(Self {
            places: input.places(),
            input,
            stem,
            blocks: packed,
            top,
            output,
        })
    }

    /// The size of the images that it takes, `[channels, height, width]`.
    pub(crate) fn input(&self) -> [usize; 3] {
        let [height, width] = self.input.grid.size;
        [self.input.channels, height, width]
    }

    /// The encoder's output `[n, c, h, w]` for images `[n, channels, height, width]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let images = x.dims4()?.0;
        let [channels, rows, columns] = self.input();
        if x.dims() != [images, channels, rows, columns] {
            return Err(ModelError::Shape {
                what: "an encoder's images".to_string(),
                expected: vec![images, channels, rows, columns],
                found: x.dims().to_vec(),
                hint: "it was built for maps of one size".to_string(),
            });
        }
        let [height, width] = self.output.grid.size;
        let shape = (images, self.output.channels, height, width);
        let length = self.output.channels * height * width;
        let mut y = vec![0.0; images * length];
        let from = self.input().iter().product::<usize>();
        let group = images
            .div_ceil(rayon::current_num_threads())
            .clamp(1, IMAGES);
        with_values(x, |x| {
            x.par_chunks(group * from)
                .zip(y.par_chunks_mut(group * length))
                .for_each(|(x, y)| self.run(x, [from, length], y));
        })?;
        Ok(Tensor::from_vec(y, shape, &Device::Cpu)?)
    }

    /// Some images, `from` values each, to as many maps of `length` values.
    fn run(&self, x: &[f32], [from, length]: [usize; 2], y: &mut [f32]) {
        let images = x.len() / from;
        // Two maps between layers, one of which also holds the framed input or the output.
        let stem = self.stem.as_ref().map_or(0, |(_, length)| *length);
        let between = self.blocks.iter().map(|b| b.output).max().unwrap_or(0);
        let widest = between
            .max(stem)
            .max(self.input.image())
            .max(self.output.image());
        let memory = self.blocks.iter().map(Block::memory).max().unwrap_or(0);
        scratch(2 * images * widest + memory, |all| {
            let (mut one, rest) = all.split_at_mut(images * widest);
            let (mut other, memory) = rest.split_at_mut(images * widest);
            let mut filled = images * self.input.image();
            let maps = one[..filled].chunks_exact_mut(self.input.image());
            for (planes, map) in x.chunks_exact(from).zip(maps) {
                self.input.read(planes, &self.places, map);
            }
            let mut step = |length: usize, run: &mut dyn FnMut(&[f32], &mut [f32])| {
                run(&one[..filled], &mut other[..images * length]);
                filled = images * length;
                std::mem::swap(&mut one, &mut other);
            };
            if let Some((stem, length)) = &self.stem {
                step(*length, &mut |x, y| stem.run(x, None, y));
            }
            for block in &self.blocks {
                step(block.output, &mut |x, y| block.run(x, memory, y));
            }
            step(self.output.image(), &mut |x, y| self.top.run(x, None, y));
            let maps = one[..filled].chunks_exact(self.output.image());
            for (map, planes) in maps.zip(y.chunks_exact_mut(length)) {
                self.output.write(map, planes);
            }
        });
    }
}
