//! The shapes of a network's blocks, from which layers are built and work is counted.

use crate::ModelError;
use crate::config::{DecoderConfig, DecoderStyle, EncoderConfig, ModelConfig, PaddingRule};
use crate::ops::Padding;

/// One MBConv block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockPlan {
    pub(crate) stage: usize,
    pub(crate) index: usize,
    pub(crate) input: usize,
    pub(crate) hidden: usize,
    pub(crate) squeeze: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) expands: bool,
    /// Probability that a sample skips the block's residual branch.
    pub(crate) drop: f64,
    pub(crate) size_in: [usize; 2],
    pub(crate) size_out: [usize; 2],
}

impl BlockPlan {
    /// A block adds its input only where it changes neither size nor width.
    pub(crate) fn residual(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// The blocks of an encoder whose stages get `input` channels on a map of `size`.
pub(crate) fn encoder_blocks(
    config: &EncoderConfig,
    mut input: usize,
    mut size: [usize; 2],
) -> Vec<BlockPlan> {
    let total: usize = config.stages.iter().map(|s| s.repeats).sum();
    let mut blocks = Vec::with_capacity(total);
    for (stage, s) in config.stages.iter().enumerate() {
        for index in 0..s.repeats {
            let (nominal, stride) = if index == 0 {
                (s.input, s.stride)
            } else {
                (s.output, 1)
            };
            let size_out = size.map(|side| side.div_ceil(stride));
            blocks.push(BlockPlan {
                // PyTorch numbers the stem 0, whether there is one or not.
                stage: stage + 1,
                index,
                input,
                hidden: nominal * s.expand,
                squeeze: (nominal / 4).max(1),
                output: s.output,
                kernel: s.kernel,
                stride,
                expands: s.expand != 1,
                drop: config.stochastic_depth * blocks.len() as f64 / total as f64,
                size_in: size,
                size_out,
            });
            (input, size) = (s.output, size_out);
        }
    }
    blocks
}

/// Padding of a k x k convolution with `stride` on a map of `size`.
pub(crate) fn same_padding(
    rule: PaddingRule,
    kernel: usize,
    stride: usize,
    size: [usize; 2],
) -> Padding {
    let half = kernel / 2;
    let before = |side: usize| match rule {
        PaddingRule::Tensorflow if stride == 2 && side.is_multiple_of(2) => half.saturating_sub(1),
        _ => half,
    };
    Padding {
        top: before(size[0]),
        bottom: half,
        left: before(size[1]),
        right: half,
    }
}

/// One block of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecoderBlock {
    /// Width of the residual units.
    pub(crate) width: usize,
    /// Width after the block's last convolution.
    pub(crate) output: usize,
    /// Size after the resize.
    pub(crate) resized: [usize; 2],
    /// Size after the block.
    pub(crate) target: [usize; 2],
    /// Padding of the last convolution.
    pub(crate) padding: Padding,
}

/// A decoder's blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecoderPlan {
    pub(crate) input: usize,
    pub(crate) size: [usize; 2],
    pub(crate) blocks: Vec<DecoderBlock>,
    /// Channels of the last, linear convolution, in decoder 1.
    pub(crate) linear: Option<usize>,
}

impl DecoderPlan {
    /// The plan of decoder `level` (0 or 1).
    pub(crate) fn new(model: &ModelConfig, level: usize) -> Result<Self, ModelError> {
        let config = &model.levels[level].decoder;
        let (size, (channels, output)) = (model.embedding(level), model.decoder_output(level));
        let input = model.decoder_input(level);
        let count = (0..2)
            .map(|a| doublings(size[a], output[a]))
            .max()
            .unwrap_or(1)
            .max(1);
        let mut width = config.first.map_or(input, |f| f.channels);
        let mut current = size;
        let mut blocks = Vec::with_capacity(count);
        for i in 0..count {
            let target = output.map(|side| side.div_ceil(1 << (count - 1 - i)));
            let last = level == 1 && i + 1 == count;
            let narrowed = if last {
                channels
            } else {
                (width / 2).max(config.minimum)
            };
            let block = block(config, level, width, narrowed, current, target)?;
            blocks.push(block);
            (width, current) = (narrowed, target);
        }
        Ok(Self {
            input,
            size,
            blocks,
            linear: (level == 0).then_some(channels),
        })
    }

    /// Width of the map in front of the linear convolution.
    pub(crate) fn last_width(&self) -> usize {
        self.blocks.last().map_or(self.input, |b| b.output)
    }

    /// Size of the output.
    pub(crate) fn output_size(&self) -> [usize; 2] {
        self.blocks.last().map_or(self.size, |b| b.target)
    }
}

/// How often `from` must double to reach `to`.
fn doublings(from: usize, to: usize) -> usize {
    (0..).find(|&n| from << n >= to).unwrap_or(0)
}

fn block(
    config: &DecoderConfig,
    level: usize,
    width: usize,
    output: usize,
    size: [usize; 2],
    target: [usize; 2],
) -> Result<DecoderBlock, ModelError> {
    if config.style == DecoderStyle::Resize {
        let padding = Padding {
            top: 1,
            bottom: 1,
            left: 1,
            right: 1,
        };
        return Ok(DecoderBlock {
            width,
            output,
            resized: target,
            target,
            padding,
        });
    }
    let resized = size.map(|s| 2 * s);
    let mut pads = [(0, 0); 2];
    for axis in 0..2 {
        // A valid 3x3 convolution takes 2 away, the rest of the difference is not padded.
        pads[axis] = match resized[axis].checked_sub(target[axis]) {
            Some(0) => (1, 1),
            Some(1) => (1, 0),
            Some(2) => (0, 0),
            _ => {
                return Err(ModelError::config(
                    format!("model.levels[{level}].decoder.style"),
                    "sizes that halve at each level, or style = \"resize\"",
                    format!("a block from {size:?} to {target:?}"),
                ));
            }
        };
    }
    let padding = Padding {
        top: pads[0].0,
        bottom: pads[0].1,
        left: pads[1].0,
        right: pads[1].1,
    };
    Ok(DecoderBlock {
        width,
        output,
        resized,
        target,
        padding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn decoder_sizes_of_the_paper() {
        let model = Config::preset("paper").unwrap().model;
        let targets = |level| -> Vec<[usize; 2]> {
            DecoderPlan::new(&model, level)
                .unwrap()
                .blocks
                .iter()
                .map(|b| b.target)
                .collect()
        };
        assert_eq!(targets(0), [[50, 50], [100, 100]]);
        assert_eq!(targets(1), [[7, 7], [13, 13], [25, 25]]);
        let pads: Vec<usize> = DecoderPlan::new(&model, 1)
            .unwrap()
            .blocks
            .iter()
            .map(|b| b.padding.bottom)
            .collect();
        assert_eq!(pads, [0, 0, 0]);
        let split9 = Config::preset("torch-split9").unwrap().model;
        let widths = |level| -> Vec<(usize, usize)> {
            DecoderPlan::new(&split9, level)
                .unwrap()
                .blocks
                .iter()
                .map(|b| (b.width, b.output))
                .collect()
        };
        assert_eq!(widths(0), [(640, 320), (320, 160)]);
        assert_eq!(widths(1), [(576, 288), (288, 144), (144, 64)]);
    }

    #[test]
    fn stochastic_depth_rises_block_by_block() {
        let model = Config::preset("torch-split9").unwrap().model;
        let drops = |level: usize, input, size| -> Vec<f64> {
            encoder_blocks(&model.levels[level].encoder, input, size)
                .iter()
                .map(|b| b.drop)
                .collect()
        };
        let first = drops(0, 32, [50, 50]);
        assert!(
            first
                .iter()
                .zip([0.0, 0.04, 0.08, 0.12, 0.16])
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{first:?}"
        );
        let second = drops(1, 40, [25, 25]);
        assert_eq!(second.len(), 11);
        assert!((second[10] - 0.181_818).abs() < 1e-6);
    }
}
