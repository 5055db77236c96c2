"""One visit to a GPU (``repro bench --visit``): sections, those with a process of their own, and the results."""
