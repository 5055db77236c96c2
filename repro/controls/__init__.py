"""Controls: signs by which a method that works is told from one that only runs, the same for every method."""
