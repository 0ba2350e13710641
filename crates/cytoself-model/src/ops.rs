//! The operations of the network: plain functions on slices with a thin candle operation over each.
