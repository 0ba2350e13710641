//! Split vector quantisation: exact nearest-code search and training of a codebook.
