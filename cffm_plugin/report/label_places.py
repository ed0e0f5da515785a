"""Where in a label map the names of its classes can be written."""

import numpy as np

from ..libraries import OptionalLibrary

cv2 = OptionalLibrary("cv2", "Painting a report's pictures")

_LEAST_SHARE = 0.01  # of the picture
_LEAST_RADIUS = 7.0  # pixels around the place that are of the class


def names_in(labels: np.ndarray, num_classes: int) -> list[tuple[int, int, int]]:
    """(class, x, y) of a place well inside each class's largest room, the roomiest first.

    Args:
        labels: (H, W) uint8; values of ``num_classes`` and above are no class.
        num_classes: K.
    """
    counts = np.bincount(labels.reshape(-1), minlength=256)[:num_classes]
    found = []
    for k in np.flatnonzero(counts >= _LEAST_SHARE * labels.size).tolist():
        inside = np.pad((labels == k).astype(np.uint8), 1)  # the picture's edge is an edge
        distances = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        place = int(distances.argmax())
        y, x = divmod(place, distances.shape[1])
        if distances[y, x] >= _LEAST_RADIUS:
            found.append((float(distances[y, x]), k, x - 1, y - 1))
    return [(k, x, y) for _, k, x, y in sorted(found, reverse=True)]
