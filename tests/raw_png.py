"""PNG files chunk by chunk, as no library writes them."""

import struct
import zlib
from pathlib import Path

GREY, PALETTE = 0, 3


def write_png(
    path: Path,
    size: tuple[int, int],
    bits: int = 8,
    color: int = GREY,
    rows: bytes = b"",
    behind_pixels: bytes = b"",
) -> Path:
    """``size``: width and height; ``rows``: as the format has them; ``behind_pixels``: EXIF."""
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, color, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress(rows)),
        *([_chunk(b"eXIf", behind_pixels)] if behind_pixels else []),
        _chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def rows_of(values: list[list[int]], bits: int) -> bytes:
    """Rows of numbers of so many bits, each row a number of whole bytes."""
    lines = ("".join(f"{value:0{bits}b}" for value in row) for row in values)
    return b"".join(b"\0" + int(line, 2).to_bytes(len(line) // 8, "big") for line in lines)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
