"""The model, or models, of a series of cycles: opened once, and again if a checkpoint changes or a
glob matches other files.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nowcast.config.predict import PredictConfig
from nowcast.errors import TryLaterError
from nowcast.explain import explain
from nowcast.files import sha256
from nowcast.pretrained import checkpoint_name
from nowcast.startup import without_garbage_collection

if TYPE_CHECKING:
    from nowcast.service.methods import Methods

log = logging.getLogger(__name__)


def checksum_of(checkpoints: Sequence[str]) -> str:
    """Return the SHA-256 of a checkpoint, or of several separated by commas; "" for none.

    Errors: MissingInputError.
    """
    return ", ".join(sha256(one) for one in checkpoints)


class ModelCache:
    """Open the methods of a configuration; torch is imported only when they are needed."""

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.opened: tuple[str, Methods] | None = None

    def checksum(self) -> str:
        """Return the checksum of the checkpoint, or of several, as `checksum_of`.

        If a changed file cannot be used, this is logged, and the open model stays in use.
        Errors: MissingInputError, DataError if no model is open.
        """
        if self.config.checkpoint is None:
            return ""
        if self.opened is None:
            return checksum_of(self.config.checkpoints)
        before = self.opened
        try:
            found = checksum_of(self.config.checkpoints)
            if found != before[0]:
                self.methods(found)
        except Exception as error:
            self.opened = before
            log.warning("%s The model opened before stays in use.", explain(error)[0])
        return self.opened[0]

    def methods(self, checksum: str) -> "Methods":
        """Return the methods of the checkpoint with this checksum.

        Errors: as `Methods`; TryLaterError if the checkpoint has changed.
        """
        with without_garbage_collection():
            from nowcast.service.methods import Methods  # loaded only when needed

        if self.opened is None or self.opened[0] != checksum:
            opened = Methods(self.config)
            if checksum_of(self.config.checkpoints) != checksum:
                raise TryLaterError(
                    f"{checkpoint_name(self.config.checkpoint)}: was replaced while it was read;"
                    " try again."
                )
            self.opened = checksum, opened
        return self.opened[1]
