"""Sphinx makes the site from the pages in this folder: `make docs`."""

import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock

sys.path.insert(0, str(Path(__file__).parent))  # docstrings.py and reference.py
if find_spec("pysteps") is None:  # nowcast.pysteps is described without it
    sys.modules |= {name: MagicMock() for name in ("pysteps", "pysteps.decorators")}

project = "nowcast"
author = "the nowcast developers"
copyright = "the nowcast developers"
version = release = installed_version("nowcast-radar")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # "Args:", "Returns:" and "Raises:" in docstrings
    "sphinx.ext.viewcode",
    "docstrings",
    "reference",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
default_role = "code"  # docstrings write code between single backquotes
nitpicky = False
smartquotes = False  # commands stand in plain text too

autodoc_typehints = "none"  # signatures have them
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Errors", "Raises")]

html_theme = "furo"
html_title = "nowcast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
