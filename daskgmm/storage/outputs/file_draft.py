"""File draft: a local file that appears under its name whole, or not at all."""

from __future__ import annotations

import secrets

from daskgmm.errors import DaskGMMError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.text_files import check_text_output
from daskgmm.storage.places.durable import settle, settle_entry
from daskgmm.storage.places.locations import Location

__all__ = ["FileDraft"]


class FileDraft:
    """A file to write under another name, which begins with a dot, and to rename at the end.

    Attributes
    ----------
    path : Path
        Where the file is to be written.

    Raises
    ------
    OutputExistsError, NotFoundError
        As :func:`daskgmm.storage.outputs.text_files.check_text_output`.
    """

    def __init__(self, target: Location, *, overwrite: bool) -> None:
        check_text_output(target.name, overwrite=overwrite)
        self._target, self._overwrite = target, overwrite
        self.path = target.sibling(".", f".partial-{secrets.token_hex(4)}").path

    def commit(self) -> None:
        """Show the file under its name, in place of one that was there before.

        Raises
        ------
        StorageError
            If it cannot be renamed.
        OutputExistsError
            If another process has put something there meanwhile.
        """
        try:
            check_text_output(self._target.name, overwrite=self._overwrite)
            settle(self.path)
            self.path.replace(self._target.path)
            settle_entry(self._target.path)
        except DaskGMMError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self._target.name} cannot be put in place: {one_line(error)}; check permissions and "
                "space"
            ) from cause_to_show(error)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written."""
        self.path.unlink(missing_ok=True)
