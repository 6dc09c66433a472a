"""A column of images: encoded bytes or files, decoded one at a time, from their own folder alone."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA")
"""What is decoded, whatever a file is called. Others, such as EPS, would run another program on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """A column of images, decoded one at a time when asked for.

    Attributes:
        parts: One column per file, whose values are paths or ``{bytes, path}``.
        folders: Folder of each file, which relative paths start from.
        where: Shape ``[rows, 2]``, int64: the part and the row inside it.
    """

    parts: tuple[Sequence[Any], ...]
    folders: tuple[Path, ...]
    where: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.where)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Return some rows of the column."""
        return replace(self, where=self.where[rows])

    def open(self, row: int) -> Image.Image:
        """Return the decoded image of a row, turned upright.

        Raises:
            OSError: The image is missing or damaged, too large to decode, or no regular file.
        """
        part, index = (int(i) for i in self.where[row])
        data, path = content(self.parts[part][index])
        if data:
            return _decoded(io.BytesIO(data))
        file = self.folders[part] / (path or "")
        if file.exists() and not file.is_file():
            raise OSError(f"{file.name} is no regular file")
        return _decoded(file)


def content(value: str | Mapping[str, Any] | None) -> tuple[bytes | None, str | None]:
    """Return the bytes and the path of an image as files hold it; blank is none.

    Example:
        >>> content("a.png"), content({"bytes": b"", "path": "b.png"}), content(None)
        ((None, 'a.png'), (None, 'b.png'), (None, None))
    """
    if value is None or isinstance(value, str):
        return None, (value or "").strip() or None
    return value.get("bytes") or None, (value.get("path") or "").strip() or None


def strays(path: str, folder: Path) -> bool:
    """Return whether a path of an image column leads out of its folder.

    Example:
        >>> [strays(path, Path("/data")) for path in ("a/1.png", "/data/1.png", "/etc/x.png", "a/../../x.png")]
        [False, False, True, True]
    """
    root = Path(os.path.normpath(folder.absolute()))
    return not Path(os.path.normpath(root / path)).is_relative_to(root)


def marks(folder: Path, names: Sequence[str]) -> str:
    """Return a hash of names, sizes and dates of the files of a folder: what their content is judged by.

    Example:
        See ``tests/data/test_images.py``.
    """
    digest = sha256()
    for name in names:
        try:
            stat = (folder / name).stat()
            mark = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        except OSError:  # what cannot be read is said when the image is opened
            mark = f"{name}\0missing\n"
        digest.update(mark.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _decoded(file: io.BytesIO | Path) -> Image.Image:
    known = [name for name in FORMATS if name in _registered()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as many pixels are an error
        try:
            with Image.open(file, formats=known) as image:
                image.load()
                return ImageOps.exif_transpose(image)
        except FileNotFoundError as error:
            raise OSError(f"there is no file {Path(str(file)).name}") from error
        except Exception as error:  # damaged files raise whatever the decoder meets
            raise OSError(str(error).split("\n")[0] or type(error).__name__) from error


def _registered() -> frozenset[str]:
    Image.init()
    return frozenset(Image.ID)
