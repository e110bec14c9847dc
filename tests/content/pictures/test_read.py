"""One picture from one file, or a word on why not."""

from __future__ import annotations

import os
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fuserec.content.encoder import Problem
from fuserec.content.pictures import read
from fuserec.content.pictures.read import MOST_BYTES, PictureError, read_each, read_picture

FORMATS = ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"]
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Path]:
    """Save a picture in a format under a name that says nothing of it."""

    def save(image: Image.Image, form: str = "PNG", **options: Any) -> Path:
        path = tmp_path / "picture.jpg"
        image.save(path, format=form, **options)
        return path

    return save


def corners(size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Red at the upper left, green at the upper right, blue at the lower left, black at the lower right."""
    width, height = size
    image = Image.new("RGB", size)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def noise(size: tuple[int, int] = (16, 12)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return caught.value.kind, caught.value.message


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    pixel = image.getpixel(place)
    assert isinstance(pixel, tuple)
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 12


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_known_by_its_bytes_whatever_its_name(keep: Callable[..., Path], form: str) -> None:
    picture = read_picture(keep(corners(), form))
    assert (picture.image.mode, picture.image.size, picture.notes) == ("RGB", (40, 24), ())
    assert near(picture.image, (5, 5), RED)
    assert near(picture.image, (35, 5), GREEN)


@pytest.mark.parametrize("form", FORMATS)
def test_a_single_pixel_is_a_picture(keep: Callable[..., Path], form: str) -> None:
    picture = read_picture(keep(Image.new("RGB", (1, 1), BLUE), form))
    assert picture.image.size == (1, 1)
    assert near(picture.image, (0, 0), BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF"])
def test_a_picture_stands_upright_as_the_camera_held_it(
    keep: Callable[..., Path], form: str, orientation: int
) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    # What a camera stores is the upright picture turned backwards: 6 is undone by a quarter turn to the right.
    stored = corners() if orientation == 1 else corners().transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(keep(stored, form, exif=exif.tobytes()))
    assert picture.image.size == (40, 24)
    assert [
        near(picture.image, place, colour)
        for place, colour in [((5, 5), RED), ((35, 5), GREEN), ((5, 20), BLUE), ((35, 20), (0, 0, 0))]
    ] == [True] * 4
    assert not picture.image.getexif(), "or whoever reads it on turns it once more"


def test_damaged_metadata_loses_no_picture(keep: Callable[..., Path]) -> None:
    picture = read_picture(keep(corners(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert picture.image.size == (40, 24)


def test_transparency_comes_on_white_and_is_told(keep: Callable[..., Path]) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    picture = read_picture(keep(image))
    assert [picture.image.getpixel((x, 0)) for x in range(2)] == [RED, (255, 255, 255)]
    assert picture.notes == (("transparent", "the picture is partly transparent and was put on white"),)


def test_half_transparent_black_on_white_is_grey(keep: Callable[..., Path]) -> None:
    assert read_picture(keep(Image.new("LA", (1, 1), (0, 128)))).image.getpixel((0, 0)) == (127, 127, 127)


def test_an_alpha_channel_without_transparency_is_nothing_to_tell(keep: Callable[..., Path]) -> None:
    assert read_picture(keep(Image.new("RGBA", (2, 2), (1, 2, 3, 255)))).notes == ()


def test_a_transparent_colour_of_a_palette_is_transparent(keep: Callable[..., Path]) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    picture = read_picture(keep(image, "GIF", transparency=1))
    assert [picture.image.getpixel((x, 0)) for x in range(2)] == [RED, (255, 255, 255)]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WebP"])
def test_of_an_animation_the_first_frame_is_taken_and_told(keep: Callable[..., Path], form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED)]
    picture = read_picture(keep(frames[0], form, save_all=True, append_images=frames[1:]))
    assert near(picture.image, (4, 4), GREEN)
    assert picture.notes == (("animated", "the picture is animated; its first frame was taken"),)


def test_cmyk_is_converted_and_told(keep: Callable[..., Path]) -> None:
    picture = read_picture(keep(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert near(picture.image, (4, 4), RED)
    assert picture.notes == (("CMYK", "the colours are CMYK and were converted without their profile"),)


def grey(values: list[Any], dtype: str) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


@pytest.mark.parametrize(
    ("image", "form", "levels"),
    [
        pytest.param(grey([0, 32768, 65535], "uint16"), "PNG", [0, 128, 255], id="16 bits, PNG"),
        pytest.param(grey([0, 32768, 65535], "uint16"), "TIFF", [0, 128, 255], id="16 bits, TIFF"),
        pytest.param(grey([0, 32768, 65535], ">u2"), "TIFF", [0, 128, 255], id="16 bits, big end first"),
        pytest.param(grey([-1, 0, 1], "int32"), "TIFF", [0, 128, 255], id="32 bits with a sign"),
        pytest.param(grey([0, 0.5, 1], "float32"), "TIFF", [0, 128, 255], id="fractions"),
        pytest.param(grey([0, 127.5, 255, np.nan], "float32"), "TIFF", [0, 128, 255, 0], id="not a number"),
        pytest.param(grey([np.nan, np.inf], "float32"), "TIFF", [0, 0], id="nothing finite"),
        pytest.param(grey([7, 7], "float32"), "TIFF", [0, 0], id="one value"),
        pytest.param(grey([False, True], "bool"), "PNG", [0, 255], id="1 bit"),
        pytest.param(grey([0, 200], "uint8"), "PNG", [0, 200], id="8 bits"),
    ],
)  # fmt: skip
def test_greys_of_every_depth_keep_their_black_and_white(
    keep: Callable[..., Path], image: Image.Image, form: str, levels: list[int]
) -> None:
    read_back = read_picture(keep(image, form)).image
    assert [read_back.getpixel((x, 0)) for x in range(image.width)] == [(level,) * 3 for level in levels]


def test_a_large_jpeg_is_decoded_small_but_never_below_what_is_wanted(keep: Callable[..., Path]) -> None:
    path = keep(corners((800, 480)), "JPEG")
    assert read_picture(path).image.size == (800, 480)
    assert read_picture(path, least=100).image.size == (200, 120)
    assert read_picture(path, least=1000).image.size == (800, 480)


# What gives no picture.


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, content: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def gif(width: int, height: int, frame: tuple[int, int]) -> bytes:
    return (
        struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x80, 0, 0)
        + bytes([0, 0, 0, 255, 255, 255])
        + struct.pack("<BHHHHB", 0x2C, 0, 0, *frame, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


def bmp(width: int, height: int) -> bytes:
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0
    )


def webp(width: int, height: int) -> bytes:
    extended = (
        b"VP8X"
        + struct.pack("<II", 10, 0)
        + b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def tiff(width: int, height: int) -> bytes:
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 1),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def jpeg(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    start = file.getvalue().index(b"\xff\xc0") + 5
    return file.getvalue()[:start] + struct.pack(">HH", height, width) + file.getvalue()[start + 4 :]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png(50_000, 50_000), id="PNG"),
        pytest.param(jpeg(50_000, 50_000), id="JPEG"),
        pytest.param(gif(50_000, 50_000, (1, 1)), id="GIF"),
        pytest.param(gif(1, 1, (50_000, 50_000)), id="frame of a GIF"),
        pytest.param(bmp(50_000, 50_000), id="BMP"),
        pytest.param(tiff(50_000, 50_000), id="TIFF"),
        pytest.param(png(8_001, 8_000), id="a pixel too wide"),
        pytest.param(png(64_000_001, 1), id="a line"),
    ],
)  # fmt: skip
def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    kind, message = refusal(path)
    assert kind == "huge"
    assert "64,000,000" in message


def test_a_webp_that_claims_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.webp"
    path.write_bytes(webp(50_000, 50_000))
    assert refusal(path)[0] in {"huge", "broken"}, "older decoders look for the frame first"


def test_a_real_bomb_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.5 GB of black in 2.5 MB."""
    path = tmp_path / "bomb.png"
    squeeze = zlib.compressobj(9)
    line = bytes(1 + 3 * 50_000)
    path.write_bytes(png(50_000, 50_000, squeeze.compress(line * 20) + squeeze.flush()))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    assert refusal(path)[0] == "huge"


def test_a_size_that_pillow_is_told_to_allow_is_still_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    path.write_bytes(png(50_000, 50_000))
    assert refusal(path) == (
        "huge",
        "the PNG has 50,000 x 50,000 pixels, more than 64,000,000 in all; make it smaller",
    )


def test_a_file_of_too_many_bytes_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(png(1, 1))
    os.truncate(path, MOST_BYTES + 1)
    kind, message = refusal(path)
    assert (kind, message) == (
        "huge",
        "the file has 134,217,729 bytes, more than 134,217,728; make the picture smaller",
    )


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert refusal(tmp_path / "empty.jpg") == ("empty", "the file is empty")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a note on the picture\n", "text"),
        (b"BMW makes cars, among them a few with more letters", "text"),
        ("un café\n".encode(), "text"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"%PDF-1.7\n\0\1", "a PDF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF or HEIC picture"),
        (b"\0\1\2\3", "something else"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "poster.jpg"
    path.write_bytes(content)
    assert refusal(path) == (
        "not a picture",
        f"expected a JPEG, PNG, WebP, GIF, BMP or TIFF picture, got {found}",
    )


def test_formats_that_start_other_programs_are_not_decoded(keep: Callable[..., Path]) -> None:
    path = keep(corners(), "EPS")
    assert refusal(path)[0] == "not a picture"


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_short_is_told_with_its_reason(keep: Callable[..., Path], form: str) -> None:
    path = keep(noise(), form)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    kind, message = refusal(path)
    assert kind == "broken"
    assert message.startswith(f"the {form} is damaged: ")
    assert "\n" not in message


def test_a_header_cut_short_is_told_without_an_address(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(png(3, 3)[:12])
    kind, message = refusal(path)
    assert kind == "broken"
    assert " at 0x" not in message
    assert str(tmp_path) not in message


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg") == ("missing", "there is no such file")
    (tmp_path / "file").write_bytes(b"x")
    assert refusal(tmp_path / "file" / "inside.jpg") == ("missing", "there is no such file")
    assert refusal(tmp_path) == ("not a file", "expected a file, got a folder")


@pytest.mark.parametrize("name", ["nul\0inside.jpg", "long" * 1000 + ".jpg"])
def test_an_impossible_name_is_told(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name)[0] == "unreadable"


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
        for name in ("pipe.jpg", "zero.jpg", "socket.jpg"):
            kind, message = refusal(tmp_path / name)
            assert (kind, message) == (
                "not a file",
                "expected a regular file, got a pipe, a device or a socket",
            )


def test_a_file_replaced_by_a_pipe_at_the_last_moment_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "swapped.jpg"
    path.write_bytes(b"x")
    before = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda _: before)
    assert refusal(path)[0] == "not a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(keep: Callable[..., Path]) -> None:
    path = keep(corners())
    path.chmod(0)
    assert refusal(path) == ("unreadable", "the file cannot be opened: Permission denied")


def test_a_link_that_leads_in_circles_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert refusal(tmp_path / "a.jpg")[0] == "unreadable"


GOOD = {form: BytesIO() for form in FORMATS}
for _form, _file in GOOD.items():
    _exif = Image.Exif()
    _exif[0x0112] = 6
    noise().save(_file, format=_form, **({} if _form in {"GIF", "BMP"} else {"exif": _exif.tobytes()}))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_there_is_a_picture_or_a_word(
    tmp_path: Path, form: str, data: st.DataObject
) -> None:
    content = bytearray(GOOD[form].getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not content:
            break
    path = tmp_path / "damaged"
    path.write_bytes(content)
    try:
        picture = read_picture(path)
    except PictureError as error:
        assert error.message.isprintable()  # noqa: PT017
    else:
        assert picture.image.mode == "RGB"


def test_warnings_stay_inside_and_their_filters_are_set_back(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(png(10_000, 9_999))  # here Pillow warns
    before = list(warnings.filters)
    assert refusal(path)[0] == "huge"
    assert list(warnings.filters) == before


# Many at once.


def test_a_batch_comes_in_order_with_its_problems(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        Image.new("RGB", (number + 1, 1)).save(path)
    paths[3].write_bytes(b"")
    Image.new("RGBA", (8, 1)).save(paths[7])
    widths, problems = read_each(paths, lambda image: image.width)
    assert widths == [None if number == 3 else number + 1 for number in range(20)]
    assert problems == (
        Problem(position=3, kind="empty", message="the file is empty", lost=True),
        Problem(
            position=7,
            kind="transparent",
            message="the picture is partly transparent and was put on white",
            lost=False,
        ),
    )


def test_filters_of_warnings_are_set_back_after_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_THREADS", 8)
    path = tmp_path / "wide.png"
    path.write_bytes(png(10_000, 9_999))
    before = list(warnings.filters)
    _, problems = read_each([path] * 200, lambda image: image)
    assert {problem.kind for problem in problems} == {"huge"}
    assert list(warnings.filters) == before
