"""Data sources, splits and checks: all that opens a file with images. What a new source needs is exported here."""

from harness.data.files import inside, stamp_of_files
from harness.data.source import DataSource, Loaded, Source, SourceIndex, SourceLocation

__all__ = ["DataSource", "Loaded", "Source", "SourceIndex", "SourceLocation", "inside", "stamp_of_files"]
