"""Tables as files: data frames, published numbers, CSV, LaTeX and Markdown."""
