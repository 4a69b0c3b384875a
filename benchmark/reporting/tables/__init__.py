"""The tables of the report, and how they are written as HTML, CSV, LaTeX and Markdown."""
