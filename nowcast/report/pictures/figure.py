"""The figure of all pictures; importing it takes as long as Matplotlib does."""

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure without a display, which a notebook shows as PNG."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
