"""The figure of all pictures; importing this module takes as long as importing Matplotlib."""

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure without a display, which a notebook shows as PNG.

    foot_share: the share of its height that a foot takes.
    """

    foot_share: float = 0.0

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
