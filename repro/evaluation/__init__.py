"""Sliding windows, evaluation in one process and in many, prediction, maps, and zero-shot classification."""
