//! Feature spectra of codebook usage: correlation, biclustering and leaf order.
