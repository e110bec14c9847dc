"""One picture from one file, whatever the file is: upright RGB, or a word on why not.

Pillow decodes, and these rules guard it. A file is opened only if it is a regular one. Its format is told by its
first bytes, never by its name, and is one that Pillow decodes itself, without another program. Its size is read
from the header before anything is decoded. Colour profiles are not applied.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from fuserec.content.encoder import Problem

__all__ = ["MOST_BYTES", "MOST_PIXELS", "Picture", "PictureError", "read_each", "read_picture"]

MOST_BYTES = 1 << 27
"""A larger file (128 MiB) is not opened."""

MOST_PIXELS = 64_000_000
"""A larger picture is not decoded: it would take 256 MB and more while it is."""

_THREADS = 4

_FORMATS = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    # Two letters would take a text for a BMP; the length of its second header tells it.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")),
)
_ANIMATED = ("GIF", "PNG", "WebP")

_OTHERS = (
    ("an SVG drawing", re.compile(rb"<svg[\s>]", re.IGNORECASE)),
    ("an HTML page", re.compile(rb"<!doctype html|<html", re.IGNORECASE)),
    ("a PDF", re.compile(rb"\A%PDF")),
    ("an AVIF or HEIC picture", re.compile(rb"\A....ftyp", re.DOTALL)),
    ("text", re.compile(rb"\A[\t\n\f\r\x20-\x7e\x80-\xff]+\Z")),
)
_HEAD_BYTES = 1024

_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on files that are cut short or damaged."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned upright, by the number that the camera wrote (EXIF 2.3, section 4.6.4)."""

_EIGHT_OF_SIXTEEN = np.round(np.arange(65536) / 257).astype(np.uint8)
"""The eight bits nearest to each value of sixteen."""

_Note = tuple[str, str]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture, decoded.

    Attributes:
        image: RGB and upright, without any metadata.
        notes: kind and message of all that was not plain, such as ``"animated"``.
    """

    image: Image.Image
    notes: tuple[_Note, ...] = ()


class PictureError(Exception):
    """A file that gives no picture.

    Attributes:
        kind: ``missing``, ``unreadable``, ``not a file``, ``empty``, ``huge``, ``not a picture`` or ``broken``.
        message: the sentence, without the file.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message


def read_picture(path: Path, *, least: int | None = None) -> Picture:
    """Read a picture.

    Args:
        path: a JPEG, PNG, WebP, GIF, BMP or TIFF file; links are followed.
        least: pixels that are wanted of the shorter side. A larger JPEG is then decoded at a half, a quarter or an
            eighth of its size, but never below this; other formats come as they are.

    Raises:
        PictureError: there is no such file, or it is no picture that can be read.
    """
    with _open_regular(path) as file:
        form = _form(file)
        try:
            with _quiet(), Image.open(file, formats=(form,)) as image:
                return _decode(image, form, least)
        except UnidentifiedImageError as error:
            raise PictureError("broken", f"the {form} is damaged: its header cannot be read") from error
        except Image.DecompressionBombError as error:
            raise PictureError("huge", f"the {form} claims more than {MOST_PIXELS:,} pixels") from error
        except _BROKEN as error:
            raise PictureError("broken", f"the {form} is damaged: {_reason(error)}") from error


def read_each(
    paths: Sequence[Path], then: Callable[[Image.Image], _Result], *, least: int | None = None
) -> tuple[list[_Result | None], tuple[Problem, ...]]:
    """Read a batch of pictures in a few threads and make something small of each, in order.

    Args:
        paths: of the pictures.
        then: called in a thread with each picture, so that no more than a few are in memory at once.
        least: as in `read_picture`.

    Returns:
        what ``then`` made of each picture, None where there is none, and the problems by position.
    """

    def one(path: Path) -> tuple[_Result | None, tuple[tuple[str, str, bool], ...]]:
        try:
            picture = read_picture(path, least=least)
        except PictureError as error:
            return None, ((error.kind, error.message, True),)
        return then(picture.image), tuple((kind, message, False) for kind, message in picture.notes)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        outcomes = list(pool.map(one, paths))
    problems = tuple(
        Problem(position=position, kind=kind, message=message, lost=lost)
        for position, (_, words) in enumerate(outcomes)
        for kind, message, lost in words
    )
    return [result for result, _ in outcomes], problems


@contextmanager
def _open_regular(path: Path) -> Iterator[IO[bytes]]:
    """The file, opened, if it is a regular one that is neither empty nor huge.

    Raises:
        PictureError: it is not.
    """
    try:
        # Asked before it is opened, since opening a device can do something; asked again afterwards, since the
        # file may have been replaced meanwhile, and a pipe must not be waited for.
        _check_status(path.stat())
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError("missing", "there is no such file") from error
    except OSError as error:
        raise PictureError("unreadable", f"the file cannot be opened: {error.strerror or error}") from error
    except ValueError as error:
        raise PictureError("unreadable", f"the file cannot be opened: {error}") from error
    with os.fdopen(handle, "rb") as file:
        _check_status(os.fstat(handle))
        yield file


def _check_status(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("not a file", "expected a file, got a folder")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("not a file", "expected a regular file, got a pipe, a device or a socket")
    if not status.st_size:
        raise PictureError("empty", "the file is empty")
    if status.st_size > MOST_BYTES:
        raise PictureError(
            "huge",
            f"the file has {status.st_size:,} bytes, more than {MOST_BYTES:,}; make the picture smaller",
        )


def _form(file: IO[bytes]) -> str:
    """The format of a picture by its first bytes.

    Raises:
        PictureError: it is none that is read here.
    """
    try:
        head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise PictureError("unreadable", f"the file cannot be read: {error.strerror or error}") from error
    for form, pattern in _FORMATS:
        if pattern.match(head):
            return form
    found = next((word for word, pattern in _OTHERS if pattern.search(head)), "something else")
    raise PictureError("not a picture", f"expected a JPEG, PNG, WebP, GIF, BMP or TIFF picture, got {found}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings are passed over while any picture is read.

    The filters of warnings belong to the whole process, so they are set when the first thread comes and set back
    when the last has gone.
    """
    _silence.enter()
    try:
        yield
    finally:
        _silence.leave()


class _Silence:
    """The filters of warnings as long as somebody reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            if not self._readers:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._readers += 1

    def leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._filters.__exit__(None, None, None)


_silence = _Silence()


def _decode(image: Image.Image, form: str, least: int | None) -> Picture:
    """Decode an opened picture, whose header alone was read so far."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise PictureError(
            "huge",
            f"the {form} has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,} in all; make it smaller",
        )
    notes: list[_Note] = []
    if form in _ANIMATED and getattr(image, "is_animated", False):
        notes.append(("animated", "the picture is animated; its first frame was taken"))
    if least is not None:
        image.draft(None, (least, least))
    image.load()
    plain, note = _to_rgb(image)
    notes += note
    turn, note = _turn(image)
    notes += note
    upright = plain.copy() if turn is None else plain.transpose(turn)
    upright.info = {}
    return Picture(image=upright, notes=tuple(notes))


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[_Note]]:
    """A decoded picture of any mode in RGB."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _grey(image), []
    if image.mode == "CMYK":
        message = "the colours are CMYK and were converted without their profile"
        return image.convert("RGB"), [("CMYK", message)]
    if not image.has_transparency_data:
        return image.convert("RGB"), []
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB"), []
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white, [("transparent", "the picture is partly transparent and was put on white")]


def _grey(image: Image.Image) -> Image.Image:
    """A picture of more than eight bits; Pillow itself would cut its values off at 255.

    Sixteen bits have their own white. What no convention gives one (whole numbers of 32 bits, floating point) is spread
    from its smallest to its largest value.
    """
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        values = values.astype(np.float64)
        finite = np.isfinite(values)
        black, white = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
        spread = np.where(finite, values - black, 0.0) / max(white - black, np.finfo(np.float64).tiny)
        levels = np.round(spread * 255).astype(np.uint8)
    else:
        levels = _EIGHT_OF_SIXTEEN[values]
    return Image.fromarray(levels).convert("RGB")


def _turn(image: Image.Image) -> tuple[Image.Transpose | None, list[_Note]]:
    """How a decoded picture becomes upright."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1)), []
    except _BROKEN:
        return None, [("EXIF", "what the camera wrote (EXIF) is damaged, so the picture may lie on its side")]


def _reason(error: BaseException) -> str:
    """Why Pillow gave up, in one line."""
    words = " ".join(str(error).split())
    plain = "".join(letter if letter.isprintable() else "?" for letter in words)
    return plain[:200] or type(error).__name__
