//! Microscopy fields, crop stores, embedding stores and the file formats of cytoself.
