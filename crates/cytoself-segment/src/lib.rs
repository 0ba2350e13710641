//! Nucleus segmentation, signed distance and single-cell crops for fluorescence microscopy.
