"""Names of exported files."""

from __future__ import annotations

from harness.data.export import file_stems


def test_names_are_files_of_their_own_on_every_system() -> None:
    ids = ["cells/a", "cells/A", "con", "NUL.tif", "cells-a", ".hidden", "ähre"]
    stems = file_stems(ids)
    names = [name.casefold() for name in stems.values()]
    assert len(set(names)) == len(ids)
    assert stems["con"] == "image-con"
    assert stems["NUL.tif"] == "image-NUL.tif"
    assert stems["ähre"] == "ähre"
