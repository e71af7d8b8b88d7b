"""What `import nowcast` offers: the work of the commands on grids and forecasts in memory.

`nowcast/__init__.py` names it; the commands call the same code below."""
