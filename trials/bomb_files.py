"""Small files of huge images, made without the memory that the images would take."""

from __future__ import annotations

import struct
import zlib

SIDE = 30_000
SCANS = 1_000
SCAN_SIDE = 9_000  # 81 million pixels: of an allowed size
BASELINE, PROGRESSIVE, TABLE, SCAN = b"\xc0", b"\xc2", b"\xc4", b"\xda"


def png(side: int = 32_000) -> bytes:
    """70 bytes that promise a billion pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(
            ">I", zlib.crc32(name + content)
        )  # fmt: skip

    header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(bytes(range(5)))) + chunk(b"IEND", b"")


def segment(marker: bytes, content: bytes) -> bytes:
    return b"\xff" + marker + struct.pack(">H", 2 + len(content)) + content


def grey(frame: bytes, side: int) -> bytes:
    """The beginning of a JPEG of one component, and its quantisation."""
    steps = segment(b"\xdb", b"\0" + b"\1" * 64)
    return b"\xff\xd8" + steps + segment(frame, struct.pack(">B2H4B", 8, side, side, 1, 1, 0x11, 0))


def codes(table: int, length: int, symbols: bytes) -> bytes:
    """A Huffman table whose codes all have the same length, counting up from zero."""
    counts = bytes(len(symbols) if bits == length else 0 for bits in range(1, 17))
    return segment(TABLE, bytes([table]) + counts + symbols)


def blocks(side: int) -> int:
    return (-(-side // 8)) ** 2


def scan(first: int, last: int, data: bytes) -> bytes:
    """One pass over the coefficients from `first` to `last`, at their full precision."""
    return segment(SCAN, bytes([1, 1, 0, first, last, 0])) + data


def padded(bits: str) -> bytes:
    """Bits as bytes of a scan: filled up with ones, and a zero after every 0xFF."""
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")


def zeros(count: int) -> bytes:
    whole, rest = divmod(count, 8)
    return bytes(whole) + (padded("0" * rest) if rest else b"")


def jpeg(side: int = SIDE) -> bytes:
    """All grey: two bits for each block, no difference to the last one and no detail."""
    tables = codes(0x00, 1, b"\0") + codes(0x10, 1, b"\0")
    return grey(BASELINE, side) + tables + scan(0, 63, zeros(2 * blocks(side))) + b"\xff\xd9"


def progressive_jpeg(side: int = SIDE) -> bytes:
    """The same with one bit for each block. The decoder keeps all coefficients."""
    return (
        grey(PROGRESSIVE, side)
        + codes(0x00, 1, b"\0")
        + scan(0, 0, zeros(blocks(side)))
        + b"\xff\xd9"
    )


def scan_bomb(scans: int = SCANS, side: int = SCAN_SIDE) -> bytes:
    """A progressive JPEG that says again and again, in some hundred bytes, that there is no
    detail anywhere."""
    # Symbol r * 16: the next (1 << r) blocks have none, and as many more as the next r bits say.
    tables = codes(0x00, 1, b"\0") + codes(0x10, 4, bytes(range(0, 0xF0, 0x10)))
    runs, left = "", blocks(side)
    while left:
        run = min(left, 0x7FFF)
        length = run.bit_length() - 1
        runs += f"{length:04b}" + (f"{run - (1 << length):0{length}b}" if length else "")
        left -= run
    detail = scan(1, 63, padded(runs))
    return (
        grey(PROGRESSIVE, side) + tables + scan(0, 0, zeros(blocks(side)))
        + detail * (scans - 1) + b"\xff\xd9"
    )  # fmt: skip
