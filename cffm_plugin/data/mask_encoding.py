"""Where the class stands in a pixel of a mask file: alone, in a channel, beside an instance, as a
colour; and what to write for a mask of another kind."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import some

CHANNELS = "RGBA"
GREY_MODES = ("L", "1", "I;16", "I")
INDEX_MODES = ("L", "P", "1")
# Pillow brings the values of PNGs with 2 or 4 bits of grey to 0..255, here is by what factor.
_FACTORS_OF_GREY = {"L;2": 85, "L;4": 17}
_MOST_COLORS = 255
_SHOWN = 12  # colours or values in an error
_FIRST_OF_INSTANCE = 256  # values that are too large for a class alone
_WITHOUT_INSTANCE = 255  # KITTI-STEP's void, the one large value among classes in a channel


@dataclass(frozen=True)
class MaskEncoding:
    """How the pixels of a PNG become the values, 0..255, that a label mapping speaks of.

    By default they are these values: a picture of one channel and 8 bits.

    Attributes:
        channel: "R", "G", "B" or "A": the value is that of this channel of a colour picture.
        divide: the value is divided by this, rounded down: 1000 for class * 1000 + instance. Such
            pictures may have 16 bits.
        divide_from: smaller values are the class alone: 256 for Cityscapes' instanceIds and VIPSeg.
        colors: (R, G, B) each; the value of a pixel is the place of its colour here, 255 for any
            other colour and where it is transparent.

    Raises:
        ValueError: an attribute is out of range, or two don't go together.
    """

    channel: str | None = None
    divide: int | None = None
    divide_from: int = 0
    colors: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel not in tuple(CHANNELS):
            raise ValueError(f"channel: expected one of R, G, B, A; got {self.channel!r}")
        if self.divide is not None and self.divide < 1:
            raise ValueError(f"divide: expected a number from 1 on, got {self.divide}")
        if self.divide_from < 0 or (self.divide_from and self.divide is None):
            raise ValueError("divide_from: expected a number from 0 on, beside divide")
        if self.colors and (self.channel or self.divide):
            raise ValueError("a mask of colours has no channel or divide: write one or the other")
        if len(self.colors) > _MOST_COLORS or len(set(self.colors)) < len(self.colors):
            raise ValueError(f"expected at most {_MOST_COLORS} colours that differ")

    @property
    def expected(self) -> str:
        """Of what kind a mask file should be, for errors."""
        if self.colors:
            return "a mask of colours (PNG of 8 bits a channel)"
        if self.channel:
            return f"a mask with its values in channel {self.channel} (PNG of 8 bits a channel)"
        if self.divide:
            return f"a mask of values to divide by {self.divide} (PNG with one channel)"
        return "an index mask (8-bit PNG with one channel whose values are class numbers)"

    def name_of(self, value: int) -> str:
        """How a person writes a value: as it is, or as a colour such as "#804080"."""
        if not self.colors:
            return str(value)
        return hex_of(self.colors[value]) if value < len(self.colors) else "another colour"

    def decode(self, image: Image.Image, stored: str) -> np.ndarray | None:
        """The values of a decoded picture, (H, W), integers; None if it is of another kind.

        They may be larger than 255 where they are divided. ``stored`` is the file's ``raw_mode``.
        """
        mode = image.mode
        if self.colors or self.channel:
            has_channels = mode in (*INDEX_MODES, "LA", "PA", "RGB", "RGBA") and "16" not in stored
            if not has_channels or (self.channel == "A" and "A" not in mode):
                return None
            pixels = np.asarray(image.convert("RGBA"))
            if self.colors:
                return self._places(pixels)
            values = pixels[..., CHANNELS.index(self.channel or "R")]
        elif mode in INDEX_MODES or (self.divide and mode in GREY_MODES):
            factor = factor_of_grey(stored)
            values = np.array(image, dtype=np.uint8 if mode in INDEX_MODES else np.int32)
            values = values if factor == 1 else values // np.uint8(factor)
        else:
            return None
        if self.divide is None:
            return values
        values = values.astype(np.int32)
        return np.where(values >= self.divide_from, values // self.divide, values)

    def _places(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 4) -> (H, W): the place of every pixel's colour in ``colors``."""
        codes = np.array([_code(np.array(color)) for color in self.colors])
        order = np.argsort(codes)
        wanted = _code(pixels)
        nearest = np.searchsorted(codes[order], wanted).clip(max=len(codes) - 1)
        found = (codes[order][nearest] == wanted) & (pixels[..., 3] == 255)
        return np.where(found, order[nearest], _MOST_COLORS).astype(np.uint8)


PLAIN = MaskEncoding()


def factor_of_grey(stored: str) -> int:
    """What Pillow multiplies the values of a PNG by when it decodes it, from its ``raw_mode``."""
    return _FACTORS_OF_GREY.get(stored, 1)


def hex_of(color: tuple[int, ...]) -> str:
    """(128, 64, 128) -> "#804080"."""
    return "#" + "".join(f"{channel:02x}" for channel in color)


def what_to_write(pixels: np.ndarray, mode: str, stored: str) -> str:
    """What kind of mask a picture seems to be that is no index mask, and the YAML lines for it.

    Args:
        pixels: (H, W) or (H, W, C), as Pillow gives them.
        mode: Pillow's name of their kind.
        stored: ``raw_mode`` of the file.
    """
    if mode in ("I;16", "I"):
        return _describe_large_values(np.unique(pixels))
    if mode not in ("RGB", "RGBA", "LA") or "16" in stored:
        return "Use the dataset's index masks instead."
    has_alpha = mode.endswith("A")
    channels = pixels.reshape(-1, pixels.shape[-1])
    is_opaque = not has_alpha or bool((channels[:, -1] == 255).all())
    colors = channels[:, :-1] if has_alpha else channels
    if is_opaque and (colors == colors[:, :1]).all():
        return (
            "Its channels are equal, so that each holds the values: "
            "mask_values: {channel: R} in the YAML file of DATASETS.VIDEO_FOLDERS reads one, and "
            "cffm check --fix writes masks of one channel."
        )
    if mode == "LA":
        return "Use the dataset's index masks instead."
    return _describe_colors(np.unique(colors, axis=0), np.unique(channels, axis=0), is_opaque)


def _describe_large_values(values: np.ndarray) -> str:
    if values[-1] <= 255:
        return (
            "It has 16 bits, and all its values fit into 8: mask_values: {divide: 1} in the YAML "
            "file of DATASETS.VIDEO_FOLDERS reads it as it is, and cffm check --fix writes masks "
            "of 8 bits."
        )
    large = values[values > 255]
    bases = [base for base in (1000, 100, 256) if large[-1] // base <= 255]
    # A number of an instance is small: that base is the likeliest whose rests are.
    bases.sort(key=lambda base: (int((large % base).max()), -base))
    ways = []
    for base in bases:
        small = values[values < large[0]]
        start = _FIRST_OF_INSTANCE if (small % base).any() else 0
        keys = f"divide: {base}" + (f", divide_from: {start}" if start else "")
        classes = np.unique(np.where(values >= start, values // base, values))
        what = f"class * {base} + instance" + (f" from {start} on" if start else "")
        ways.append(f"  mask_values: {{{keys}}}   # {what}: then its values are {_some(classes)}")
    return (
        f"It has 16 bits and values up to {values[-1]} ({_some(values)}): probably a class together"
        " with the number of an instance. If so, the YAML file of DATASETS.VIDEO_FOLDERS can say "
        "how, whichever is right, and label_mapping what the values then mean:\n" + "\n".join(ways)
    )


def _describe_colors(colors: np.ndarray, pixels: np.ndarray, is_opaque: bool) -> str:
    """``colors``: the different ones, (N, 3); ``pixels``: the same with their alpha, if any."""
    in_red = np.unique(colors[:, 0])
    classes = in_red[in_red != _WITHOUT_INSTANCE]
    channel = (
        f"  mask_values: {{channel: R}}   # the class stands in one channel, here red: then its "
        f"values are {_some(in_red)}"
    )
    table = ", ".join(f'"{hex_of(tuple(color))}": CLASS' for color in colors[:_SHOWN])
    more = ", ..." if len(colors) > _SHOWN else ""
    by_color = f"  label_mapping: {{{table}{more}}}   # every class has a colour; void: [...] too"
    # Instances in green, blue and alpha multiply the colours of a class; a rendering has one each,
    # of bright channels.
    looks_like_channel = not is_opaque or (len(classes) == 0 or classes[-1] < 64)
    ways = [channel, by_color] if looks_like_channel else [by_color, channel]
    return (
        f"It has {len(pixels)} different colours. The YAML file of DATASETS.VIDEO_FOLDERS can say "
        "what they mean, whichever is right (KITTI-STEP has its classes in R, BDD100K's tracks in "
        "R from 1, renderings have a colour each):\n" + "\n".join(ways if is_opaque else [channel])
    )


def _code(pixels: np.ndarray) -> np.ndarray:
    """(..., 3 or more) -> (...): one number of every colour."""
    red, green, blue = (pixels[..., i].astype(np.int32) for i in range(3))
    return (red << 16) | (green << 8) | blue


def _some(values: np.ndarray) -> str:
    return some(values.tolist(), _SHOWN)
