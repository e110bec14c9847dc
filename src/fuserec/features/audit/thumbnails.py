"""Small pictures of items as data URIs, for a page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fuserec.content.pictures.folder import find_pictures
from fuserec.content.pictures.read import read_each
from fuserec.data.dataset import Dataset

__all__ = ["Thumbnails", "make_thumbnails"]

SIZE = (112, 140)
"""Most pixels across and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    """Pictures of some items.

    Attributes:
        uris: by item row; items without a picture that can be read are not there.
        unreadable: files of the items asked for that gave no picture.
    """

    uris: dict[int, str]
    unreadable: int = 0


def make_thumbnails(dataset: Dataset, folder: Path, items: Sequence[int]) -> Thumbnails:
    """Find and shrink the pictures of a few items.

    Args:
        dataset: its column ``image`` names the files, or else the ids do.
        folder: of the pictures.
        items: rows.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    named = dataset.items["image"].to_list() if "image" in dataset.items.columns else None
    paths = find_pictures(folder, [str(item) for item in dataset.item_ids], named).paths
    places = {item: path for item in items if (path := paths[item]) is not None}
    uris, _ = read_each(list(places.values()), _uri, least=max(SIZE))
    read = {item: uri for item, uri in zip(places, uris, strict=True) if uri is not None}
    return Thumbnails(uris=read, unreadable=len(places) - len(read))


def _uri(image: Image.Image) -> str:
    image.thumbnail(SIZE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
