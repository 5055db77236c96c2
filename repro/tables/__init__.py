"""Kinds of tables, one module each with a ``KIND``; found by the name a table gives (repro.tables.kind)."""
