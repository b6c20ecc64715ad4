"""One module a command (its name with dashes), which defines `command`: a function with typer annotations.

Every module is imported for `trainer --help`, so whatever is slow to import (torch, pandas, plotly, sklearn) is
imported inside the function.
"""
