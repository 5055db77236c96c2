"""Tables as data frames and sheets, written as CSV, LaTeX, Markdown and one HTML page."""
