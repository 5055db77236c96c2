"""One module per data set; each holds ``DATA_SET``."""
