//! UMAP and AlignedUMAP: seeded and parallel at once, the same bits at any thread count.
