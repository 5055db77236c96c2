"""A dress rehearsal of a table: ``repro rehearse`` (docs/rehearsal.md)."""
