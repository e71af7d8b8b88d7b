"""pysteps, an optional library that talks."""

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
    """Errors: MissingLibraryError where one of the libraries that the baseline `name` needs is not
    there, or not whole.
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
        ) as error:  # as pysteps of a pystepsrc in the home folder that it cannot read
            raise MissingLibraryError(
                f"{name}: {library} cannot be loaded ({error}); mend that, or install it again."
            ) from error


def refuse_absent(name: str, libraries: Sequence[str]) -> None:
    """As `require`, without importing anything: whether the libraries are installed at all.

    Errors: MissingLibraryError.
    """
    absent = [library for library in libraries if find_spec(library) is None]
    if absent:
        raise MissingLibraryError(f"{name}: needs {absent[0]}: {install_command('baselines')}.")


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
