//! The launches of `src/ops/cuda` against the kernels' signatures in the PTX: how many arguments, and of which width and kind.
//!
//! Needs neither CUDA nor the feature: both sides are read as text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Kernels whose launches name a variable: the file, how the name is written, how many arguments, and the kernels meant.
const CHOSEN: [(&str, &str, usize, &[&str]); 6] = [
    (
        "depthwise.rs",
        "choose(FORWARD, g)",
        15,
        &[
            "depthwise_k3s1",
            "depthwise_k3s2",
            "depthwise_k5s1",
            "depthwise_k5s2",
            "depthwise_any",
        ],
    ),
    (
        "depthwise.rs",
        "choose(WEIGHTS, g)",
        15,
        &[
            "depthwise_dw_k3s1",
            "depthwise_dw_k3s2",
            "depthwise_dw_k5s1",
            "depthwise_dw_k5s2",
            "depthwise_dw_any",
        ],
    ),
    (
        "depthwise.rs",
        "name",
        14,
        &["depthwise_dx_k3s2", "depthwise_dx_k5s2", "depthwise_dx_any"],
    ),
    (
        "resize.rs",
        "name",
        7,
        &[
            "resize_bilinear",
            "resize_bilinear_backward",
            "resize_nearest",
            "resize_nearest_backward",
        ],
    ),
    (
        "elementwise.rs",
        "name",
        3,
        &["silu_forward", "relu_forward"],
    ),
    (
        "elementwise.rs",
        "name",
        4,
        &["silu_backward", "relu_backward"],
    ),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Kinds of the parameters of each kernel, as the PTX declares them: pointers and `u64` are alike, so are `u32` and `i32`.
fn kernels() -> BTreeMap<String, Vec<String>> {
    let ptx = std::fs::read_to_string(sources().join("kernels/ops.ptx")).unwrap();
    let entries = ptx.split(".visible .entry ").skip(1);
    entries
        .map(|entry| {
            let (name, rest) = entry.split_once('(').unwrap();
            let (parameters, _) = rest.split_once(')').unwrap();
            let kinds = parameters.split(',').filter_map(|p| {
                let mut words = p.split_whitespace().filter(|w| w.starts_with('.'));
                words.find(|w| ![".param", ".align", ".ptr"].contains(w))
            });
            let kinds = kinds.map(|k| k[1..].to_string()).collect();
            (name.to_string(), kinds)
        })
        .collect()
}

/// The text between a bracket that has been opened before `text` and its end.
fn within(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        if depth == 0 {
            return &text[..at];
        }
    }
    panic!("a bracket is not closed")
}

/// Parts between the commas that are within no bracket.
fn parts(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        if c == ',' && depth == 0 {
            found.push(text[start..at].trim());
            start = at + 1;
        }
    }
    found.push(text[start..].trim());
    found.retain(|part| !part.is_empty());
    found
}

/// The kind of an argument by how it is written.
fn kind(argument: &str) -> &'static str {
    let ends = |words: &[&str]| words.iter().any(|w| argument.ends_with(w));
    let is = |words: &[&str]| words.contains(&argument);
    if ends(&["as u64"]) || is(&["seed", "stream", "step"]) {
        "u64"
    } else if ends(&["as f64"])
        || is(&["momentum", "count", "kept.count"])
        || is(&["beta1", "beta2", "eps", "weight_decay"])
    {
        "f64"
    } else if is(&["self.eps", "self.p", "1.0f32"]) {
        "f32"
    } else if argument.contains("u32_of(")
        || argument.contains("u32::from(")
        || argument.starts_with("code(")
        || ends(&["as i32"])
        || is(&["1u32", "top", "left", "activation"])
    {
        "u32"
    } else {
        // An address.
        "u64"
    }
}

#[test]
fn every_launch_has_the_arguments_of_its_kernel() {
    let kernels = kernels();
    assert!(kernels.len() > 50, "{} kernels", kernels.len());
    let mut launches = 0;
    for entry in std::fs::read_dir(sources().join("ops/cuda")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for launch in text.split("launch!(").skip(1) {
            let body = parts(within(launch));
            let [_, name, _, arguments] = body[..] else {
                panic!("{file}: a launch of {} parts", body.len())
            };
            let arguments: Vec<&str> = parts(&arguments[1..arguments.len() - 1]);
            let kinds: Vec<&str> = arguments.iter().map(|a| kind(a)).collect();
            let names: Vec<&str> = match name.strip_prefix('"') {
                Some(name) => vec![name.trim_end_matches('"')],
                None => CHOSEN
                    .iter()
                    .find(|(f, n, count, _)| (*f, *n, *count) == (&file, name, kinds.len()))
                    .unwrap_or_else(|| panic!("{file}: {name} with {} arguments", kinds.len()))
                    .3
                    .to_vec(),
            };
            for name in names {
                let expected = kernels
                    .get(name)
                    .unwrap_or_else(|| panic!("{file}: there is no kernel {name}"));
                assert_eq!(&kinds, expected, "{file}: {name}\n{arguments:#?}");
            }
            launches += 1;
        }
    }
    assert!(launches > 35, "{launches} launches");
}
