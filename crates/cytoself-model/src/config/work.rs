//! How many parameters a network has and how much work an image is.

use super::{Activity, ModelConfig};
use crate::ModelError;
use crate::layers::{DecoderPlan, encoder_blocks};

/// Parameters and multiply-accumulates of one part of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkItem {
    /// The part, e.g. `encoder1`.
    pub part: &'static str,
    /// Trained values, an idle head's too.
    pub parameters: usize,
    /// Multiply-accumulates of the forward pass of one image (convolutions, products and one code search; not norms
    /// and activations).
    pub macs: usize,
}

/// Parameters and work of a network, part by part.
///
/// # Example
/// ```
/// use cytoself_model::{Config, Work};
///
/// let mut model = Config::preset("torch-split9")?.model;
/// model.classes = 1311;
/// assert_eq!(Work::of(&model)?.parameters(), 106_957_802);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The parts.
    pub items: Vec<WorkItem>,
}

impl Work {
    /// Counts a network's parameters and work.
    ///
    /// # Errors
    /// - the network cannot be built ([`ModelConfig::check`]).
    pub fn of(model: &ModelConfig) -> Result<Self, ModelError> {
        model.check()?;
        let mut items = Vec::with_capacity(8);
        for (level, name) in ["encoder1", "encoder2"].into_iter().enumerate() {
            items.push(encoder(model, level, name));
        }
        for (level, name) in ["quantizer1", "quantizer2"].into_iter().enumerate() {
            let q = &model.levels[level].quantizer;
            let parameters = q.codes * q.dimension;
            let macs = if q.enabled {
                parameters * q.split * area(model.embedding(level))
            } else {
                0
            };
            items.push(WorkItem {
                part: name,
                parameters,
                macs,
            });
        }
        for (level, name) in ["head1", "head2"].into_iter().enumerate() {
            items.push(head(model, level, name));
        }
        for (level, name) in [(1, "decoder2"), (0, "decoder1")] {
            items.push(decoder(model, level, name)?);
        }
        Ok(Self { items })
    }

    /// Trained values of the whole network.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.items.iter().map(|i| i.parameters).sum()
    }

    /// Multiply-accumulates of the whole forward pass of one image.
    #[must_use]
    pub fn macs(&self) -> usize {
        self.items.iter().map(|i| i.macs).sum()
    }
}

fn area([h, w]: [usize; 2]) -> usize {
    h * w
}

#[derive(Default)]
struct Count {
    parameters: usize,
    macs: usize,
}

impl Count {
    /// A convolution with `weights` weights on a map of `positions`, then a norm with `affine` weights per channel.
    fn conv(&mut self, weights: usize, positions: usize, extra: usize) {
        self.parameters += weights + extra;
        self.macs += weights * positions;
    }
}

fn encoder(model: &ModelConfig, level: usize, part: &'static str) -> WorkItem {
    let config = &model.levels[level].encoder;
    let output = model.levels[level].quantizer.width();
    let (mut channels, mut size) = match level {
        0 => (model.channels.len(), model.input),
        _ => (model.levels[0].quantizer.width(), model.embedding(0)),
    };
    let mut count = Count::default();
    if let Some(stem) = config.stem {
        size = size.map(|s| s.div_ceil(stem.stride));
        count.conv(channels * stem.channels * 9, area(size), 2 * stem.channels);
        channels = stem.channels;
    }
    for b in encoder_blocks(config, channels, size) {
        let (inside, outside) = (area(b.size_in), area(b.size_out));
        if b.expands {
            count.conv(b.input * b.hidden, inside, 2 * b.hidden);
        }
        count.conv(b.hidden * b.kernel * b.kernel, outside, 2 * b.hidden);
        count.conv(2 * b.hidden * b.squeeze, 1, b.hidden + b.squeeze);
        count.conv(b.hidden * b.output, outside, 2 * b.output);
        (channels, size) = (b.output, b.size_out);
    }
    count.conv(channels * output, area(size), 2 * output);
    WorkItem {
        part,
        parameters: count.parameters,
        macs: count.macs,
    }
}

fn head(model: &ModelConfig, level: usize, part: &'static str) -> WorkItem {
    let (config, inputs) = (&model.levels[level].head, model.representation(level));
    let weights = match config.hidden {
        None => inputs * model.classes,
        Some(hidden) => inputs * hidden + hidden * model.classes,
    };
    let biases = config.hidden.unwrap_or(0) + model.classes;
    match config.activity {
        Activity::Absent => WorkItem {
            part,
            parameters: 0,
            macs: 0,
        },
        Activity::Idle => WorkItem {
            part,
            parameters: weights + biases,
            macs: 0,
        },
        Activity::Train => WorkItem {
            part,
            parameters: weights + biases,
            macs: weights,
        },
    }
}

fn decoder(model: &ModelConfig, level: usize, part: &'static str) -> Result<WorkItem, ModelError> {
    let config = &model.levels[level].decoder;
    if config.activity == Activity::Absent {
        return Ok(WorkItem {
            part,
            parameters: 0,
            macs: 0,
        });
    }
    let plan = DecoderPlan::new(model, level)?;
    let extra = |width: usize| width * (usize::from(config.bias) + 2 * usize::from(config.affine));
    let mut count = Count::default();
    if let Some(f) = config.first {
        count.conv(
            plan.input * f.channels * f.kernel * f.kernel,
            area(plan.size),
            extra(f.channels),
        );
    }
    for b in &plan.blocks {
        for _ in 0..2 * config.units {
            count.conv(9 * b.width * b.width, area(b.resized), extra(b.width));
        }
        count.conv(9 * b.width * b.output, area(b.target), extra(b.output));
    }
    if let Some(channels) = plan.linear {
        count.conv(
            9 * plan.last_width() * channels,
            area(plan.output_size()),
            channels * usize::from(config.bias),
        );
    }
    let macs = if config.activity == Activity::Train {
        count.macs
    } else {
        0
    };
    Ok(WorkItem {
        part,
        parameters: count.parameters,
        macs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn work(preset: &str, classes: usize) -> Work {
        let mut model = Config::preset(preset).unwrap().model;
        model.classes = classes;
        Work::of(&model).unwrap()
    }

    /// Numbers counted in the PyTorch reference with hooks; the TensorFlow column derived from its code.
    #[test]
    fn parameter_counts_of_the_references() {
        assert_eq!(work("torch-split9", 1311).parameters(), 106_957_802);
        assert_eq!(work("torch-readme", 1311).parameters(), 58_547_946);
        assert_eq!(work("paper", 1311).parameters(), 57_077_660);
        let parts = |preset| -> Vec<usize> {
            work(preset, 1311)
                .items
                .iter()
                .map(|i| i.parameters)
                .collect()
        };
        assert_eq!(
            parts("torch-split9"),
            [
                68_130, 3_738_250, 131_072, 131_072, 52_441_311, 12_083_487, 17_625_600, 20_738_880
            ]
        );
        assert_eq!(
            parts("paper"),
            [
                68_130, 3_720_890, 131_072, 131_072, 41_313_311, 10_529_311, 601_152, 582_722
            ]
        );
    }

    #[test]
    fn work_of_the_references() {
        let close = |preset, expected: &[(&str, f64)]| {
            let work = work(preset, 1311);
            for &(part, mmac) in expected {
                let found = work.items.iter().find(|i| i.part == part).unwrap().macs as f64 / 1e6;
                assert!(
                    (found / mmac - 1.0).abs() < 2e-3,
                    "{preset} {part}: {found} instead of {mmac}"
                );
            }
        };
        let common = [
            ("encoder1", 39.76),
            ("encoder2", 119.35),
            ("quantizer1", 81.92),
            ("quantizer2", 18.87),
        ];
        close("torch-split9", &common);
        close(
            "torch-split9",
            &[
                ("decoder1", 82_972.8),
                ("decoder2", 1_744.52),
                ("head1", 52.44),
                ("head2", 12.08),
            ],
        );
        close("torch-tfdec", &common);
        close("torch-tfdec", &[("decoder1", 1_111.7), ("decoder2", 55.78)]);
        close(
            "torch-readme",
            &[
                ("encoder2", 116.72),
                ("decoder1", 3_323.5),
                ("decoder2", 26.66),
                ("head2", 1.34),
            ],
        );
        close("paper", &[("decoder1", 1_111.7), ("decoder2", 60.9)]);
    }

    #[test]
    fn small_is_small() {
        for size in [64, 100] {
            let mut model = Config::preset("small")
                .unwrap()
                .model
                .with_input([size, size]);
            model.classes = 100;
            let work = Work::of(&model).unwrap();
            assert!(
                work.macs() <= 150_000_000,
                "{size}: {} {work:#?}",
                work.macs()
            );
            assert!(model.levels[1].quantizer.split > 1);
            assert!((256..=512).contains(&model.levels[1].quantizer.codes));
            assert!(model.embedding(1)[0] >= 3);
        }
    }
}
