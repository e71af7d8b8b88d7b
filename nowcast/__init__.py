"""nowcast: learned precipitation forecasts from radar."""

import os

os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
"""Read once, when the HDF5 library is loaded.

Some file systems have no locks; files are written under another name, so none is needed.
"""

__version__ = "0.1.0"
