"""The commands, one module each: options, a request to :mod:`repro.api`, and what is printed."""
