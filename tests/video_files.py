"""Video files for tests, of properties that our own writer does not give them."""

from fractions import Fraction

import numpy as np

RGB = [(220, 40, 30), (30, 200, 40), (40, 50, 210), (90, 90, 90)]


def as_quarters(size=(48, 64)):
    """Red-green-blue: four colours that tell which way up it is."""
    height, width = size[0] // 2, size[1] // 2
    picture = np.empty((*size, 3), dtype=np.uint8)
    for index, colour in enumerate(RGB):
        row, column = divmod(index, 2)
        picture[row * height :, column * width :] = colour
    return picture


def write_video(
    path,
    pictures=(),
    *,
    frames=(),
    times=None,
    codec="libx264",
    pix_fmt="yuv420p",
    options=(),
    matrix=None,
    matrix_709=False,
    colorspace=None,
    pixel_aspect=None,
    bitstream_filter=None,
):
    """
    Args:
        pictures: (H, W, 3) uint8, red-green-blue, written and tagged as BT.709.
        frames: of PyAV, instead of pictures: as they are, with their own tags.
        times: of the pictures, in milliseconds; by default 25 a second.
        matrix: of the display, nine numbers.
        matrix_709: the values are BT.709's, and nothing says so.
        colorspace: what the file says of the matrix, which is not true.
        pixel_aspect: width of a pixel for its height.
        bitstream_filter: of FFmpeg, that packets pass through.
    """
    import av

    frames = list(frames) or [_bt709(picture, pix_fmt) for picture in pictures]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, 25, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if pixel_aspect is not None:
            stream.sample_aspect_ratio = pixel_aspect
        if not matrix_709:
            stream.colorspace = frames[0].colorspace if colorspace is None else colorspace
            stream.color_range = frames[0].color_range
            stream.color_primaries = frames[0].color_primaries
            stream.color_trc = frames[0].color_trc
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        filters = bitstream_filter and av.bitstream.BitStreamFilterContext(bitstream_filter, stream)
        for index, frame in enumerate(frames):
            frame.pts = index if times is None else times[index]
            frame.time_base = Fraction(1, 25) if times is None else Fraction(1, 1000)
            if matrix_709 or colorspace is not None:
                frame.colorspace = 2 if colorspace is None else colorspace
                frame.color_primaries = frame.color_trc = 2
            _mux(container, stream, stream.encode(frame), filters)
        _mux(container, stream, stream.encode(None), filters)
    return path


def _bt709(picture, pix_fmt):
    import av

    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format=pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG"
    )
    frame.colorspace, frame.color_range = 1, 1
    frame.color_primaries = frame.color_trc = 1
    return frame


def _mux(container, stream, packets, filters):
    for packet in packets:
        for out in filters.filter(packet) if filters else [packet]:
            out.stream = stream
            container.mux(out)
