"""Checks of what was computed: against a reference, against chance, and before a training is paid for."""
