"""pysteps, an optional library: check that it is installed, and silence its output."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from nowcast.errors import InternalError, MissingLibraryError
from nowcast.untrusted.files import importing_plainly
from nowcast.version import install_command


def require(name: str, libraries: Sequence[str]) -> None:
    """Import the libraries that the baseline `name` needs.

    Errors: MissingLibraryError if one is not installed, or cannot be imported.
    """
    for library in libraries:
        try:
            with _silence(), importing_plainly():
                import_module(library)
        except ImportError as error:
            raise MissingLibraryError(
                f"{name}: needs {library}: {install_command('baselines')}."
            ) from error
        except (
            AttributeError,
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # as pysteps raises for an unreadable pystepsrc in the home folder
            raise MissingLibraryError(
                f"{name}: {library} cannot be loaded ({error}); fix that, or install it again."
            ) from error


def refuse_absent(name: str, libraries: Sequence[str]) -> None:
    """Check that the libraries are installed, like `require`, but without importing them.

    Errors: MissingLibraryError.
    """
    absent = [library for library in libraries if find_spec(library) is None]
    if absent:
        raise MissingLibraryError(f"{name}: needs {absent[0]}: {install_command('baselines')}.")


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Silence the output and the warnings of pysteps within this block, and restore the state of
    NumPy's random numbers after it.

    Errors: InternalError if pysteps fails; it names the baseline.
    """
    state = np.random.get_state()
    try:
        with _silence():
            yield
    except Exception as error:  # OpenCV's errors have no narrower base class
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
