"""What a JPEG file tells besides its pixels: how many scans it has, and what its decoder minds.

libjpeg goes on after most faults, and fills what is missing with grey or with what came before. It
says so in a line on stderr, and in no other way.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

# A progressive file has some ten scans, and every scan goes over the whole image: a small file of
# many takes minutes. libjpeg's own fuzzers draw the line at some hundred, too.
MAX_SCANS = 100

# Bytes of a file that are counted sooner than its header is understood.
SMALL = 1 << 12

SOS, EOI, APP0, APP14 = 0xDA, 0xD9, 0xE0, 0xEE
# The markers that begin a frame header, which holds the size.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# TEM and the restarts: a marker alone, with no length and no content.
BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_NO_SEGMENT = BARE | {0xFF, EOI}
_FRAMES_AND_SCANS = FRAMES | {SOS}
# Of picture data: a stuffed 0xFF is followed by 0, and restarts belong to it.
_END_OF_DATA = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")

# All that libjpeg-turbo 3.1 warns of when it decodes (jerror.h) and how it is told to a person.
# Numbers are left out: `status` counts what is the same.
_DAMAGE = (
    (rb"Premature end of JPEG file", "it ends too early"),
    (rb"Corrupt JPEG data: premature end of data segment", "a part of its picture data is missing"),
    (rb"Corrupt JPEG data: bad (Huffman|arithmetic) code", "its picture data makes no sense"),
    (rb"Corrupt JPEG data: \d+ extraneous bytes before marker .*",
     "it has more picture data than its size takes"),
    (rb"Corrupt JPEG data: found marker .* instead of RST\d+",
     "a part of its picture data is missing or in the wrong place"),
    (rb"Inconsistent progression sequence for component .*",
     "its scans do not follow upon each other"),
)  # fmt: skip
# Not damage: the pixels are what they should be. A version number of the format's frame, a code for
# the colours where there is only one possibility, and numbers that this kind of JPEG has no use
# for, which some phones set wrongly.
_HARMLESS = re.compile(
    rb"Warning: unknown JFIF revision number .*|Unknown Adobe color transform code .*|"
    rb"Invalid SOS parameters for sequential JPEG"
)
# Left out: "bad ICC marker" comes only if the colour profile is asked for, "Application transferred
# too many scanlines" is about its caller. Both would be seen on stderr.


class Heard(NamedTuple):
    """What was written to stderr while a JPEG was decoded.

    damage: what is wrong with the image, for a person; '' if nothing is known to be.
    harmless: libjpeg said something that is not damage. It says one thing only, the first.
    rest: what libjpeg did not write.
    """

    damage: str
    harmless: bool
    rest: bytes


_SILENCE = Heard("", False, b"")


def heard(words: bytes) -> Heard:
    if not words:
        return _SILENCE
    damage, harmless, rest = "", False, b""
    for line in words.splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        if said := [what for pattern, what in _DAMAGE if re.fullmatch(pattern, text)]:
            damage = damage or said[0]
        elif _HARMLESS.fullmatch(text):
            harmless = True
        else:
            rest += line
    return Heard(damage, harmless, rest)


_SIZE = struct.Struct(">HH")
Segment = tuple[int, int, int]  # marker; where its content begins, after the length, and ends


def segments(data: bytes, markers: Collection[int] = range(256)) -> Iterator[Segment]:
    """Those with these markers, from the beginning to the end-of-image marker, or as far as it
    makes sense.

    What a camera appended after that, such as a film, is no part of the image.
    """
    at, last = 2, len(data) - 4
    while at <= last:
        if data[at] != 0xFF:  # bytes too many: the decoder looks for the next marker
            if (found := _END_OF_DATA.search(data, at)) is None:
                return
            at = found.start()
            continue
        marker = data[at + 1]
        if marker in _NO_SEGMENT:
            if marker == EOI:
                return
            at += 1 if marker == 0xFF else 2  # any number of 0xFF may come before a marker
            continue
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker in markers:
            yield marker, at + 4, end
        at = end
        if marker == SOS:
            if (found := _END_OF_DATA.search(data, at)) is None:
                return
            at = found.start()


def size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, before EXIF turns it; None where the header does not tell."""
    for _, start, _ in segments(data, FRAMES):
        if start + 5 <= len(data):
            height, width = _SIZE.unpack_from(data, start + 1)
            return width, height
    return None


def too_many_scans(data: bytes) -> bool:
    """Whether decoding would go over the image more than MAX_SCANS times."""
    if len(data) > SMALL and _has_one_scan(data):
        return False
    # At most one for each pair of these bytes, which films and other things at the end have, too.
    if data.count(b"\xff\xda") <= MAX_SCANS:
        return False
    return not _has_one_scan(data) and sum(1 for _ in segments(data, {SOS})) > MAX_SCANS


def _has_one_scan(data: bytes) -> bool:
    """Whether the first scan is known to be the only one. Most files are so."""
    components = 0
    for marker, start, _ in segments(data, _FRAMES_AND_SCANS):
        if marker in PROGRESSIVE:
            return False
        if marker == SOS:
            # All components at once: libjpeg takes no second scan then.
            return data[start : start + 1] == bytes([components])
        components = data[start + 5] if start + 5 < len(data) else 0
    return False


def without_harmless(data: bytes) -> bytes:
    """The same image, with nothing in it that libjpeg warns of harmlessly.

    It tells its first warning only: decoded again, such a file tells of damage, too.
    """
    mended = bytearray(data)
    components, transforms, is_sequential = 0, [], True
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == APP0 and content.startswith(b"JFIF\0") and len(content) > 5:
            mended[start + 5] = 1
        elif marker == APP14 and content.startswith(b"Adobe") and len(content) > 11:
            transforms.append(start + 11)
        elif marker in FRAMES and len(content) > 5:
            components = content[5]
            is_sequential = marker not in PROGRESSIVE
        elif marker == SOS and is_sequential and len(content) == end - start > 3:
            mended[end - 3 : end] = bytes([0, 63, 0])
    # YCbCr, or YCCK of four components: what libjpeg takes every code but 0 for.
    for place in transforms:
        if mended[place]:
            mended[place] = 2 if components == 4 else 1
    return bytes(mended)
