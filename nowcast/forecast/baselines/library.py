"""pysteps, an optional library that talks."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from nowcast.errors import InternalError, MissingLibraryError
from nowcast.untrusted.files import importing_plainly


def require(name: str) -> None:
    """Errors: MissingLibraryError where pysteps, which the baseline `name` needs, is not there, or
    not whole.
    """
    try:
        with _silence(), importing_plainly():
            import_module("pysteps")
    except ImportError as error:
        raise MissingLibraryError(
            f"{name}: needs pysteps: pip install 'nowcast[baselines]'."
        ) from error
    except (
        AttributeError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # as of a pystepsrc in the home folder that it cannot read
        raise MissingLibraryError(
            f"{name}: pysteps cannot be loaded ({error}); mend that, or install it again."
        ) from error


def refuse_absent(name: str) -> None:
    """As `require`, without importing anything: whether pysteps is installed at all.

    Errors: MissingLibraryError.
    """
    if find_spec("pysteps") is None:
        raise MissingLibraryError(f"{name}: needs pysteps: pip install 'nowcast[baselines]'.")


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Within this block pysteps prints nothing and warns of nothing, and NumPy's random numbers go
    on after it as before.

    Errors: InternalError where it fails, naming the baseline.
    """
    state = np.random.get_state()
    try:
        with _silence():
            yield
    except Exception as error:  # OpenCV's own is none but an Exception
        raise InternalError(
            f"{name}: pysteps failed ({type(error).__name__}: {error}); leave out this baseline."
        ) from error
    finally:
        np.random.set_state(state)


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
