"""Time, memory and operations: measured, counted and estimated."""
