"""The model of a run of cycles, or several: opened once, and again where a checkpoint becomes
another one, or a glob finds others.
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
    """Return the SHA-256 of a checkpoint, of several one after the other, "" of none.

    Errors: MissingInputError.
    """
    return ", ".join(sha256(one) for one in checkpoints)


class ModelCache:
    """Opens the methods of a configuration, without torch until they are asked for."""

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.opened: tuple[str, Methods] | None = None

    def checksum(self) -> str:
        """Of the checkpoint to forecast by, or of several, as `checksum_of`: that of the file, or
        where it cannot be used any more, of the one that is open, which is said. Errors:
        MissingInputError, DataError where none is open.
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
            log.warning("%s The model that was opened before goes on.", explain(error)[0])
        return self.opened[0]

    def methods(self, checksum: str) -> "Methods":
        """Those of the checkpoint with this checksum.

        Errors: as `Methods`; TryLaterError where it is another by now.
        """
        with without_garbage_collection():
            from nowcast.service.methods import Methods  # not needed to see that all is done

        if self.opened is None or self.opened[0] != checksum:
            opened = Methods(self.config)
            if checksum_of(self.config.checkpoints) != checksum:
                raise TryLaterError(
                    f"{checkpoint_name(self.config.checkpoint)}: was replaced while it was read;"
                    " try again."
                )
            self.opened = checksum, opened
        return self.opened[1]
