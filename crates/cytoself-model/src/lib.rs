//! The cytoself VQ-VAE-2: split EfficientNet encoders, split quantisation, protein identification, training and embedding.

pub mod ops;
