"""Everything a user reads: console output, tables, figures and the HTML report."""
