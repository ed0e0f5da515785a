"""The models that the page offers."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

from ..checkpoint import no_checkpoint
from ..engine import read_config
from ..inference import dataset_classes
from ..job_spec import JobSpec
from ..video.side_by_side import SideBySide
from ..video.video_demo import load_segmentor


class Models:
    """Models by name; one at a time is in memory, the last that was asked for.

    All configs are read and all weights looked for at once, so that mistakes are said at the start.

    Args:
        given: of each model the weights, and a config where the weights carry none.
        overrides: ``KEY VALUE`` pairs, for all of them.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError, ValueError: a config can't be used, or is of an image segmentor.
    """

    def __init__(self, given: Sequence[Sequence[str]], overrides: Sequence[str] = ()):
        self._configs: dict[str, CfgNode] = {}
        for weights, *config in given:
            name = _name_of(weights, taken=self._configs)
            self._configs[name] = _read_config(weights, config, overrides)
        self._loaded: tuple[str, SideBySide] | None = None

    @property
    def names(self) -> list[str]:
        return list(self._configs)

    def load(self, name: str) -> SideBySide:
        """
        Raises:
            KeyError: there is no such model.
            FileNotFoundError, ValueError: see ``load_segmentor``.
        """
        if self._loaded is None or self._loaded[0] != name:
            cfg = self._configs[name]
            self._loaded = None  # never two in memory
            self._loaded = name, SideBySide(load_segmentor(cfg), dataset_classes(cfg))
        return self._loaded[1]


def _name_of(weights: str, taken: dict[str, CfgNode]) -> str:
    """The file's name, or as much of its path as tells it from the others."""
    path = Path(weights)
    names = [path.stem, str(path.with_suffix("")), str(path)]
    return next((name for name in names if name not in taken), f"{path} ({len(taken) + 1})")


def _read_config(weights: str, config: Sequence[str], overrides: Sequence[str]) -> CfgNode:
    if not Path(weights).expanduser().is_file():
        raise no_checkpoint(weights)
    keys = [*overrides, "MODEL.WEIGHTS", weights]
    cfg = read_config(config[0] if config else "", keys)
    spec = JobSpec.from_config(cfg)
    if not spec.has_temporal:
        raise ValueError(
            f"--model {weights}: MODEL.TEMPORAL.ENABLED is False, which is an image segmentor; the "
            "page compares a video segmentor with the image segmentor inside it."
        )
    if spec.has_prototypes:
        raise ValueError(
            f"--model {weights}: CFFM++ needs prototypes of every video, which an uploaded one has "
            "not. --opts MODEL.TEMPORAL.PROTOTYPES.ENABLED False runs the CFFM that is in it."
        )
    return cfg
