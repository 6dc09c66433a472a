"""Image folders: one folder per class, images inside, nothing hidden, nothing deeper, no file that is no file."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fedstrata.errors import DataError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """What an image folder holds.

    Attributes:
        images: Class and path of each image, by class, then by name.
        skipped: Number of entries that are no images, by what they are.
    """

    images: tuple[tuple[str, Path], ...]
    skipped: Counter[str]


def list_images(folder: Path) -> ImageFolder:
    """Return the images of a folder of class folders. Nothing is opened, so that nothing can block.

    Raises:
        DataError: Images lie beside the class folders or deeper than in them, or one is no regular file.

    Example:
        See ``tests/data/test_image_folders.py``.
    """
    images: list[tuple[str, Path]] = []
    skipped: Counter[str] = Counter()
    for entry in _entries(folder):
        if entry.name.startswith("."):
            skipped["hidden"] += 1
        elif Path(entry.path).is_dir():
            found = _of_class(Path(entry.path), folder, skipped)
            skipped["class folders without images"] += not found
            images += [(entry.name, path) for path in found]
        elif _is_image(entry.name):
            raise DataError(
                f"{folder.name}/{entry.name} is an image beside the class folders; move it into the folder of its"
                f" class, such as {folder.name}/cat/{entry.name}"
            )
        else:
            skipped["other files"] += 1
    return ImageFolder(tuple(images), +skipped)


def _of_class(folder: Path, root: Path, skipped: Counter[str]) -> list[Path]:
    found = []
    for entry in _entries(folder):
        shown = f"{root.name}/{folder.name}/{entry.name}"
        if entry.name.startswith("."):
            skipped["hidden"] += 1
        elif Path(entry.path).is_dir():
            deeper = next((e.name for e in _entries(Path(entry.path)) if _is_image(e.name)), None)
            if deeper is not None:
                raise DataError(
                    f"{shown}/{deeper} lies deeper than class/image, so its class is not clear: '{folder.name}' or"
                    f" '{entry.name}'; move the images of '{folder.name}' into that folder itself"
                )
            skipped["folders in class folders"] += 1
        elif not _is_image(entry.name):
            skipped["other files"] += 1
        elif not Path(entry.path).is_file():
            kind = "a link that leads nowhere" if entry.is_symlink() else "no regular file (a pipe, socket or device)"
            raise DataError(f"{shown} is {kind}; remove it")
        else:
            found.append(Path(entry.path))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder.name}/ cannot be listed: {error.strerror}") from error


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGES
