"""The benchmarks: what each one is, how its data are prepared, listed, read and verified."""
