//! Where a weight of the TensorFlow network belongs in ours.

use std::fmt;

/// A block of an encoder as TensorFlow numbers it: stages from 1, blocks of a stage by letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) stage: usize,
    pub(super) index: usize,
}

/// PyTorch's name of a tensor, and how its axes change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) turn: Turn,
}

/// What kind of weight a dataset holds, which says how its axes are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// `[h, w, in, out]` -> `[out, in, h, w]`.
    Convolution,
    /// `[h, w, c, 1]` -> `[c, 1, h, w]`.
    Depthwise,
    /// `[in, out]` -> `[out, in]`; the codes `[d, k]` -> `[k, d]`.
    Matrix,
    /// As it is.
    Vector,
}

impl Turn {
    /// The axes of the dataset in the order of the tensor's.
    pub(super) fn axes(self) -> &'static [usize] {
        match self {
            Self::Convolution => &[3, 2, 0, 1],
            Self::Depthwise => &[2, 3, 0, 1],
            Self::Matrix => &[1, 0],
            Self::Vector => &[0],
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Convolution => "a convolution's kernel, [h, w, in, out]",
            Self::Depthwise => "a depthwise kernel, [h, w, channels, 1]",
            Self::Matrix => "a matrix, [in, out]",
            Self::Vector => "a vector",
        })
    }
}

/// The parts of a dataset's path that say what it is.
struct Path<'a> {
    /// The part of the network, e.g. `encoder1`.
    part: &'a str,
    /// The layer, e.g. `block1a_bn`.
    layer: &'a str,
    /// The weight, e.g. `gamma`.
    weight: &'a str,
}

impl<'a> Path<'a> {
    fn new(dataset: &'a str) -> Option<Self> {
        let mut parts = dataset.split('/');
        let part = parts.next()?;
        let weight = parts.next_back()?;
        let layer = parts.next_back().unwrap_or(part);
        let weight = weight.split(':').next()?;
        Some(Self {
            part,
            layer,
            weight,
        })
    }

    /// The same with the layer's name as it was before TensorFlow made it unique: both encoders have a `top_conv`, the
    /// second may be called `top_conv_1`.
    fn shortened(&self) -> Option<Self> {
        let (layer, number) = self.layer.rsplit_once('_')?;
        let number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        number.then_some(Self { layer, ..*self })
    }
}

/// Encoder, block and layer within the block of a dataset that belongs to one.
pub(super) fn block_of(dataset: &str) -> Option<(usize, Block, &str)> {
    let path = Path::new(dataset)?;
    let encoder = level(path.part, "encoder")?;
    let (block, part) = block(path.shortened().map_or(path.layer, |p| p.layer))?;
    Some((encoder, block, part))
}

/// The place of a dataset; none if the network has no such tensor. `stages` is the number of stages per encoder, `expands` says
/// whether a block of an encoder has an expansion.
pub(super) fn place(
    dataset: &str,
    stages: &[usize; 2],
    expands: &dyn Fn(usize, Block) -> bool,
) -> Option<Place> {
    let path = Path::new(dataset)?;
    let exact = place_of(&path, stages, expands);
    exact.or_else(|| place_of(&path.shortened()?, stages, expands))
}

fn place_of(
    path: &Path<'_>,
    stages: &[usize; 2],
    expands: &dyn Fn(usize, Block) -> bool,
) -> Option<Place> {
    if let Some(e) = level(path.part, "encoder") {
        let layer = encoder_layer(path.layer, stages[e], &|block| expands(e, block))?;
        return weight(&format!("encoders.{e}.features.{layer}"), path);
    }
    if let Some(d) = level(path.part, "decoder") {
        let layer = decoder_layer(path.layer)?;
        return weight(&format!("decoders.{d}.decoder.{layer}"), path);
    }
    if let Some(h) = level(path.part, "fc") {
        // PyTorch's list is dropout, linear, ReLU, dropout, linear.
        let layer = match path.layer {
            "fc_0" => 1,
            "fc_1" => 4,
            _ => return None,
        };
        return weight(&format!("fc_layers.{h}.fc_list.{layer}"), path);
    }
    let v = level(path.part, "VQ")?;
    (path.weight == "embedding_vq").then(|| Place {
        name: format!("vq_layers.{v}.codebook.weight"),
        turn: Turn::Matrix,
    })
}

/// Index of the level in a name such as `encoder1`.
fn level(part: &str, what: &str) -> Option<usize> {
    match part.strip_prefix(what)? {
        "1" => Some(0),
        "2" => Some(1),
        _ => None,
    }
}

/// `{layer}.{weight}` with PyTorch's word for the weight.
fn weight(layer: &str, path: &Path<'_>) -> Option<Place> {
    let dense = path.part.starts_with("fc");
    let (name, turn) = match path.weight {
        "kernel" if dense => ("weight", Turn::Matrix),
        "kernel" => ("weight", Turn::Convolution),
        "depthwise_kernel" => ("weight", Turn::Depthwise),
        "bias" | "beta" => ("bias", Turn::Vector),
        "gamma" => ("weight", Turn::Vector),
        "moving_mean" => ("running_mean", Turn::Vector),
        "moving_variance" => ("running_var", Turn::Vector),
        _ => return None,
    };
    Some(Place {
        name: format!("{layer}.{name}"),
        turn,
    })
}

fn encoder_layer(layer: &str, stages: usize, expands: &dyn Fn(Block) -> bool) -> Option<String> {
    match layer {
        "stem_conv" => return Some("0.0".to_string()),
        "stem_bn" => return Some("0.1".to_string()),
        "top_conv" => return Some(format!("{}.0", stages + 1)),
        "top_bn" => return Some(format!("{}.1", stages + 1)),
        _ => {}
    }
    let (at, part) = block(layer)?;
    let first = usize::from(expands(at));
    let inner = match part {
        "expand_conv" => "0.0".to_string(),
        "expand_bn" => "0.1".to_string(),
        "dwconv" => format!("{first}.0"),
        "bn" => format!("{first}.1"),
        "se_reduce" => format!("{}.fc1", first + 1),
        "se_expand" => format!("{}.fc2", first + 1),
        "project_conv" => format!("{}.0", first + 2),
        "project_bn" => format!("{}.1", first + 2),
        _ => return None,
    };
    Some(format!("{}.{}.block.{inner}", at.stage, at.index))
}

/// `block2b_dwconv` -> stage 2, block 1, `dwconv`.
fn block(layer: &str) -> Option<(Block, &str)> {
    let (block, part) = layer.strip_prefix("block")?.split_once('_')?;
    let letter = block.chars().last().filter(char::is_ascii_lowercase)?;
    let stage = block.strip_suffix(letter)?.parse().ok()?;
    let index = usize::from(letter as u8 - b'a');
    Some((Block { stage, index }, part))
}

fn decoder_layer(layer: &str) -> Option<String> {
    match layer {
        "dec_cv1_cv" => return Some("dec_first.conv".to_string()),
        "dec_cv1_bn" => return Some("dec_first.bn".to_string()),
        "dec_cvt_last" => return Some("output_conv".to_string()),
        _ => {}
    }
    if let Some((block, kind)) = layer.split_once("last_") {
        let kind = conv_or_norm(kind, ["conv", "bn"])?;
        return Some(format!("resrep{}last.{kind}", decoder_block(block)?));
    }
    // The two convolutions of a residual unit are called 3x3 and 1x1; the kernels of both are 3x3.
    let (split, names) = match layer.split_once("3x3_") {
        Some(split) => (split, ["conv1.conv", "conv1.bn"]),
        None => (layer.split_once("1x1_")?, ["conv2", "bn2"]),
    };
    let (unit, kind) = split.1.split_once('_')?;
    let unit = unit.parse::<usize>().ok()?.checked_add(1)?;
    let kind = conv_or_norm(kind, names)?;
    let block = decoder_block(split.0)?;
    Some(format!("resrep{block}.res_repeat.res{unit}.{kind}"))
}

fn conv_or_norm<'a>(kind: &str, [conv, norm]: [&'a str; 2]) -> Option<&'a str> {
    match kind {
        "cv" => Some(conv),
        "bn" => Some(norm),
        _ => None,
    }
}

/// PyTorch's number of `res0`.
fn decoder_block(name: &str) -> Option<usize> {
    let index: usize = name.strip_prefix("res")?.parse().ok()?;
    index.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(dataset: &str) -> Option<String> {
        let expands = |_: usize, block: Block| block.stage > 1;
        place(dataset, &[3, 4], &expands).map(|p| p.name)
    }

    #[test]
    fn every_kind_of_layer() {
        for (dataset, expected) in [
            (
                "encoder1/stem_conv/kernel:0",
                "encoders.0.features.0.0.weight",
            ),
            ("encoder1/stem_bn/gamma:0", "encoders.0.features.0.1.weight"),
            (
                "encoder1/block1a_dwconv/depthwise_kernel:0",
                "encoders.0.features.1.0.block.0.0.weight",
            ),
            (
                "encoder1/block1a_se_reduce/bias:0",
                "encoders.0.features.1.0.block.1.fc1.bias",
            ),
            (
                "encoder2/block3c_se_expand/kernel:0",
                "encoders.1.features.3.2.block.2.fc2.weight",
            ),
            (
                "encoder2/block2a_project_bn_1/moving_variance:0",
                "encoders.1.features.2.0.block.3.1.running_var",
            ),
            (
                "encoder2/top_conv_1/kernel:0",
                "encoders.1.features.5.0.weight",
            ),
            (
                "encoder2/encoder2/top_bn/beta:0",
                "encoders.1.features.5.1.bias",
            ),
            ("VQ2/VQ2/embedding_vq:0", "vq_layers.1.codebook.weight"),
            ("VQ1/embedding_vq", "vq_layers.0.codebook.weight"),
            (
                "decoder1/dec_cv1_cv/kernel:0",
                "decoders.0.decoder.dec_first.conv.weight",
            ),
            (
                "decoder2/dec_cv1_bn_1/moving_mean:0",
                "decoders.1.decoder.dec_first.bn.running_mean",
            ),
            (
                "decoder1/res13x3_0_cv/bias:0",
                "decoders.0.decoder.resrep2.res_repeat.res1.conv1.conv.bias",
            ),
            (
                "decoder1/res11x1_1_bn/beta:0",
                "decoders.0.decoder.resrep2.res_repeat.res2.bn2.bias",
            ),
            (
                "decoder2/res0last_cv_1/kernel:0",
                "decoders.1.decoder.resrep1last.conv.weight",
            ),
            (
                "decoder1/dec_cvt_last/bias:0",
                "decoders.0.decoder.output_conv.bias",
            ),
            ("fc1/fc_1/kernel:0", "fc_layers.0.fc_list.4.weight"),
            ("fc2/fc_0_1/bias:0", "fc_layers.1.fc_list.1.bias"),
        ] {
            assert_eq!(name(dataset).as_deref(), Some(expected), "{dataset}");
        }
    }

    #[test]
    fn strange_layers_have_no_place() {
        for dataset in [
            "to_vq1/kernel:0",
            "fc0/fc_0/kernel:0",
            "fc1/fc_2/kernel:0",
            "encoder3/top_conv/kernel:0",
            "encoder1/block1A_bn/gamma:0",
            "encoder1/block_bn/gamma:0",
            "encoder1/stem_conv/alpha:0",
            "decoder1/resx3x3_0_cv/kernel:0",
            "decoder1/res03x3_18446744073709551615_cv/kernel:0",
            "VQ1/bias:0",
            "kernel:0",
            "",
        ] {
            assert_eq!(name(dataset), None, "{dataset}");
        }
    }

    #[test]
    fn axes() {
        assert_eq!(Turn::Convolution.axes(), [3, 2, 0, 1]);
        assert_eq!(Turn::Depthwise.axes(), [2, 3, 0, 1]);
    }
}
