"""From tables to runs: profiles, plans, addresses, the run store, execution."""
