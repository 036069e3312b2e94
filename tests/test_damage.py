"""JPEGs that libjpeg makes a picture of although they are damaged, and how it is heard of."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Drawing
from PIL import Image

from classifier import jpeg
from classifier.decode import decode
from classifier.errors import ImageError
from classifier.quiet import Overheard, quiet

Make = Callable[..., bytes]
NO_CODE = b"\xff\0" * 20  # ones only are never a code


@pytest.fixture
def make(drawing: Drawing) -> Make:
    def made(mode: str = "RGB", **options: Any) -> bytes:
        buffer = io.BytesIO()
        image = Image.fromarray(drawing(1, (64, 48))[:, :, ::-1]).convert(mode)
        image.save(buffer, "JPEG", **{"quality": 90} | options)
        return buffer.getvalue()

    return made


def segment(data: bytes, wanted: int) -> tuple[int, int]:
    """Where the content of the first segment of this kind begins and ends."""
    return next((start, end) for marker, start, end in jpeg.segments(data) if marker == wanted)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def opencv_takes(data: bytes) -> bool:
    """Whether it makes a picture of it: the guard is what refuses, not the decoder."""
    with Overheard():
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def unknown_jfif(data: bytes) -> bytes:
    return replaced(data, data.index(b"JFIF\0") + 5, b"\x03")


def unknown_adobe(data: bytes) -> bytes:
    return replaced(data, data.index(b"Adobe") + 11, b"\x07")


def odd_scan(data: bytes) -> bytes:
    return replaced(data, segment(data, jpeg.SOS)[1] - 3, b"\0\0\0")


def hole(data: bytes) -> bytes:
    """A third of the picture data is taken out."""
    start = segment(data, jpeg.SOS)[1]
    length = len(data) - start
    return data[: start + length // 3] + data[start + 2 * length // 3 :]


def test_damage_is_told(make: Make) -> None:
    whole = make()
    start = segment(whole, jpeg.SOS)[1]
    by_restart = make(restart_marker_blocks=2)
    progressive = make(progressive=True)
    scans = [end for marker, _, end in jpeg.segments(progressive) if marker == jpeg.SOS]
    refined = next(end for end in scans if progressive[end - 1] == 0x21)
    cases = {
        "a part of its picture data is missing": whole[:-40] + whole[-2:],
        "its picture data makes no sense": replaced(whole, start + 20, NO_CODE),
        "it has more picture data than its size takes": whole[:-2] + b"\0\0\0" + whole[-2:],
        "a part of its picture data is missing or in the wrong place": by_restart.replace(
            b"\xff\xd2", b"\xff\xd5", 1
        ),
        "its scans do not follow upon each other": replaced(progressive, refined - 1, b"\x01"),
    }
    for reason, data in cases.items():
        assert opencv_takes(data)
        with pytest.raises(ImageError, match=f"^the image is damaged: {reason}$"):
            decode(data, 32, 32, 3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("Premature end of JPEG file", "it ends too early"),
        ("Corrupt JPEG data: premature end of data segment", "missing"),
        ("Corrupt JPEG data: bad Huffman code", "makes no sense"),
        ("Corrupt JPEG data: bad arithmetic code", "makes no sense"),
        ("Corrupt JPEG data: 17 extraneous bytes before marker 0xd9", "more picture data"),
        ("Corrupt JPEG data: found marker 0xd9 instead of RST3", "wrong place"),
        ("Inconsistent progression sequence for component 1 coefficient 5", "do not follow"),
        ("Warning: unknown JFIF revision number 3.01", ""),
        ("Unknown Adobe color transform code 7", ""),
        ("Invalid SOS parameters for sequential JPEG", ""),
    ],
)
def test_the_words_of_libjpeg_are_known(words: str, reason: str) -> None:
    heard = jpeg.heard(f"another thread\n{words}\nspeaks\n".encode())
    assert bool(heard.damage) == bool(reason)
    assert reason in heard.damage
    assert heard.harmless == (not reason)
    assert heard.rest == b"another thread\nspeaks\n"


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize(
    ("oddity", "mode"),
    [(unknown_jfif, "RGB"), (unknown_jfif, "L"), (unknown_adobe, "CMYK"), (odd_scan, "RGB")],
)
def test_what_is_odd_but_whole_is_taken(
    oddity: Callable[[bytes], bytes], mode: str, reduced: bool, make: Make,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = make(mode)
    if mode == "CMYK":  # Pillow says RGB-like CMYK, code 0; what an unknown one is taken for is 2
        data = replaced(data, data.index(b"Adobe") + 11, b"\x02")
    odd = oddity(data)
    assert jpeg.without_harmless(data) == data
    assert jpeg.without_harmless(odd) == data
    side = 4 if reduced else 32
    expected = decode(data, side, side, 3).pixels
    np.testing.assert_array_equal(decode(odd, side, side, 3).pixels, expected)
    # And libjpeg, which tells of the first warning only, is heard of what comes after it.
    broken = hole(odd)
    assert opencv_takes(broken)
    with pytest.raises(ImageError, match="the image is damaged"):
        decode(broken, side, side, 3)
    assert capfd.readouterr().err == ""


def test_threads_do_not_hear_each_other(make: Make) -> None:
    whole = make()
    broken = hole(whole)

    def is_taken(data: bytes) -> bool:
        try:
            decode(data, 32, 32, 3)
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(is_taken, [whole, broken] * 300))
    assert taken == [True, False] * 300


def test_what_others_write_meanwhile_reaches_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with Overheard() as stderr:
        os.write(2, b"something else\n")
    assert stderr.words == b"something else\n"
    with Overheard() as stderr:
        pass
    assert stderr.words == b""
    assert capfd.readouterr().err == ""
    os.write(2, b"as before\n")
    assert capfd.readouterr().err == "as before\n"


def test_an_exception_leaves_stderr_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Overheard():
        raise KeyboardInterrupt
    os.write(2, b"as before\n")
    with quiet():  # and the next one need not wait
        pass
    assert capfd.readouterr().err == "as before\n"


DECODE_BOTH = """
import os, sys
{first}
from classifier.decode import decode
from classifier.errors import ImageError
{then}
def verdict(data):
    try:
        decode(data, 32, 32, 3)
    except ImageError as error:
        return str(error)
    return "whole"
data = sys.stdin.buffer.read()
half = len(data) // 2
print(verdict(data[:half]), verdict(data[half:]), sep="; ")
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("os.close(2)", ""),
        ("", "os.close(2)"),
        ("", "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"),
        ("", "if pid := os.fork(): os.waitpid(pid, 0); os._exit(0)"),
    ],
)
def test_whatever_stderr_is(first: str, then: str, make: Make) -> None:
    whole = make()
    damaged = replaced(whole, segment(whole, jpeg.SOS)[1] + 20, NO_CODE)
    done = subprocess.run(
        [sys.executable, "-c", DECODE_BOTH.format(first=first, then=then)],
        input=whole + damaged, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.decode() == (
        "whole; the image is damaged: its picture data makes no sense\n"
    )
    assert not done.stderr


FORK = """
import os
from classifier.quiet import Overheard
if pid := os.fork():
    with Overheard() as stderr:
        os.waitpid(pid, 0)
    print(stderr.words)
else:
    with Overheard():
        os.write(2, b"the child")
        os._exit(0)
"""


def test_a_fork_hears_itself_alone() -> None:
    """Parent and child would write into one file, and each read what the other one wrote."""
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "b''\n"


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG of one grey block, whose only scan is repeated."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", progressive=True)
    # 0: seven bits follow, 1111111: so much brighter than a middle grey.
    scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0\x7f"
    data = buffer.getvalue()
    return data[: data.index(b"\xff\xda")] + scan * scans + b"\xff\xd9"


def sequential_scan_bomb(scans: int) -> bytes:
    """A baseline JPEG of one grey block in each colour, and a scan for each colour in turn."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", subsampling=0)
    data = buffer.getvalue()
    scan = b"\xff\xda\0\x08\x01%c\0\0\x3f\0\x2b"  # 00: no difference, 1010: end of block, 11
    turns = b"".join(scan % (1 + turn % 3) for turn in range(scans))
    return data[: data.index(b"\xff\xda")] + turns + b"\xff\xd9"


def comment(length: int) -> bytes:
    return b"\xff\xfe" + (length + 2).to_bytes(2) + bytes(length) if length else b""


@pytest.mark.parametrize("more", [0, jpeg.SMALL])  # it is looked for in two ways
@pytest.mark.parametrize("bomb", [scan_bomb, sequential_scan_bomb])
def test_scans_are_counted(bomb: Callable[[int], bytes], more: int) -> None:
    def file(scans: int) -> bytes:
        data = bomb(scans)
        return data[:2] + comment(more) + data[2:]

    assert opencv_takes(file(jpeg.MAX_SCANS + 1))
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode(file(jpeg.MAX_SCANS + 1), 32, 32, 3)
    film = b"\0\2" + b"\xff\xda\0\x08" * 999  # appended to a photo, it may hold any bytes
    decode(file(jpeg.MAX_SCANS) + film, 32, 32, 3)


@pytest.mark.parametrize("more", [0, jpeg.SMALL])
def test_what_follows_the_only_scan_is_none(make: Make, more: int) -> None:
    data = make()
    assert not jpeg.too_many_scans(data[:2] + comment(more) + data[2:] + b"\xff\xda" * 999)


def test_the_scans_of_a_preview_do_not_count(make: Make) -> None:
    preview = b"\xff\xe2\xff\xff" + b"\xff\xda" * 32766 + b"\0"
    data = make(progressive=True)
    decode(data[:2] + preview + data[2:], 32, 32, 3)
