"""Sphinx makes the site from the pages in this folder: `make docs`."""

from importlib.metadata import version as installed_version

project = "nowcast"
author = "the nowcast developers"
copyright = "the nowcast developers"
version = release = installed_version("nowcast-radar")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
default_role = "code"  # docstrings write code between single backquotes
nitpicky = False

html_theme = "furo"
html_title = "nowcast"
html_static_path: list[str] = []
