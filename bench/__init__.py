"""Benchmarks: one file for each group of figures in docs/performance.md; each prints its method and its peers."""
