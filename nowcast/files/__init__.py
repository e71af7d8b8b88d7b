"""Atomic writing of files, locks for one writer of a folder, and checksums."""

from nowcast.files.disk import make_folder, new_folders, sha256
from nowcast.files.faults import fault_of_machine, refuse_fault_of_machine
from nowcast.files.leftovers import remove_leftovers
from nowcast.files.locks import is_locked, is_written, only_writer
from nowcast.files.together import settled, written_together
from nowcast.files.version import FileVersion
from nowcast.files.whole import link_whole, refuse_unwritable, written_whole

__all__ = [
    "FileVersion",
    "fault_of_machine",
    "is_locked",
    "is_written",
    "link_whole",
    "make_folder",
    "new_folders",
    "only_writer",
    "refuse_fault_of_machine",
    "refuse_unwritable",
    "remove_leftovers",
    "settled",
    "sha256",
    "written_together",
    "written_whole",
]

FACE: dict[str, str] = {}
"""No modules: other rooms import only this one."""
