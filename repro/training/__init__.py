"""Training, written once against the method interface: data, steps, the one resumable loop."""
