"""From a plan to what is stored: assets, the run store, execution, status."""
