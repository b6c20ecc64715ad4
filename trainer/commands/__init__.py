"""One module a command: `trainer.commands.NAME` holds a typer function called `NAME`, and that is all it takes.

The modules are imported for `trainer --help`, so whatever is slow to import (torch, pandas, plotly, sklearn) is
imported inside the function.
"""
