"""The model that `cffm make-demo` trains: where it lies, and what is said where there is none."""

from collections.abc import Sequence
from pathlib import Path

from .. import constants

# Relative to where a command runs, the root of a clone.
DEMO_WEIGHTS = Path(constants.DEMO_WEIGHTS)

NO_WEIGHTS = (
    "There are no weights. Either `cffm make-demo --data /folder/with/camvid` trains a small model "
    f"on CamVid (half an hour on a CPU; it is then taken from {DEMO_WEIGHTS}), or name some in "
    "MODEL.WEIGHTS: a checkpoint that carries its config, or a config file and its weights."
)


def with_weights(overrides: Sequence[str]) -> list[str]:
    """``KEY VALUE`` overrides with MODEL.WEIGHTS among them: by default `cffm make-demo`'s model.

    Raises:
        FileNotFoundError: they name no weights, and `cffm make-demo` has made none here.
    """
    if "MODEL.WEIGHTS" in overrides[::2]:
        return list(overrides)
    if not DEMO_WEIGHTS.is_file():
        raise FileNotFoundError(NO_WEIGHTS)
    return [*overrides, "MODEL.WEIGHTS", str(DEMO_WEIGHTS)]
