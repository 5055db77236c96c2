"""Weights files: what each belongs to, the run an imported one stands for, and names of other code for ours."""
