"""The report of an experiment: tables as data, plots, one HTML file, and the terminal's version."""
