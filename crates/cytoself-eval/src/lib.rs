//! Clustering scores, retrieval and classification metrics for protein-localisation embeddings.
