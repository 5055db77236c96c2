"""The data sets, one module per set in :mod:`repro.datasets.sets`; how they are prepared, read and verified."""
