"""The model that `make demo` trains: where it lies, and what is said where there is none."""

from collections.abc import Sequence
from pathlib import Path

from .. import constants

# Relative to where a command runs, the root of a clone.
DEMO_WEIGHTS = Path(constants.DEMO_WEIGHTS)

NO_WEIGHTS = (
    "There are no weights. Either `make demo DATA=/folder/with/camvid` trains a small model on "
    f"CamVid (about half an hour on a CPU; it is then taken from {DEMO_WEIGHTS}), or name some in "
    "MODEL.WEIGHTS: a checkpoint that carries its config, or a config file and its weights."
)


def with_weights(overrides: Sequence[str]) -> list[str]:
    """``KEY VALUE`` overrides with MODEL.WEIGHTS among them: by default the model of `make demo`.

    Raises:
        FileNotFoundError: they name no weights, and `make demo` has made none here.
    """
    if "MODEL.WEIGHTS" in overrides[::2]:
        return list(overrides)
    if not DEMO_WEIGHTS.is_file():
        raise FileNotFoundError(NO_WEIGHTS)
    return [*overrides, "MODEL.WEIGHTS", str(DEMO_WEIGHTS)]
