"""A DetectionCheckpointer that refuses weights of another architecture."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.utils import comm
from torch import nn

from ..files import whole_file, write_text
from .containers import prefix_of, uncompiled, weights_in
from .conversion import FORMATS, is_classifier, recognise
from .model_info import (
    INFO_KEY,
    ModelInfo,
    no_checkpoint,
    read_model_info,
    warn_of_differences,
)
from .reading import load_file
from .saved import (
    LAST,
    newest_sound_checkpoint,
    not_finite,
    remove_old_checkpoints,
    saved_checkpoints,
)
from .versions import renamed, with_versions

_CRITERION = "criterion."  # its buffers, such as weights of the classes, are the config's

logger = logging.getLogger(__name__)


class SegmentorCheckpointer(DetectionCheckpointer):
    """Loads a part of the model whole, or not at all.

    A part is a direct child of the model: ``backbone``, ``sem_seg_head``, ``temporal``. A
    checkpoint may lack a part (an ImageNet encoder, an image segmentor) or hold one that the model
    does not have; that is logged. A part of which only some weights fit is an error, because it
    means another architecture. One mismatch is allowed in training: classifiers that are of another
    number of classes, or that were left out when the checkpoint was converted, start anew.

    Files that detectron2 matches by heuristics (its model zoo's .pkl) are matched as detectron2
    does it. No file runs code.

    Checkpoints are written whole or not at all, and hold finite weights alone. A resumed training
    goes on from the newest that is sound.

    Args:
        model: the model to load into or save.
        save_dir: folder of the checkpoints.
        require_all: every weight of the model must be in the checkpoint, as for evaluation.
        info: what the model is. It is written into checkpoints; and where one that is loaded says
            something else, a warning names both.
        keep: how many numbered checkpoints stay, the newest; 0 for all.
        **checkpointables: as in detectron2.

    Attributes:
        path: what was loaded last; "" for nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        require_all: bool = False,
        info: ModelInfo | None = None,
        keep: int = 0,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.require_all = require_all
        self.info = info
        if keep < 0:
            raise ValueError(f"SOLVER.KEEP_CHECKPOINTS is {keep}: expected 0, for all, or more")
        self.keep = keep
        self.path = ""
        self._by_heuristics = False

    def save(self, name: str, **kwargs: Any) -> None:
        """As in detectron2, with ``info`` beside the weights.

        Raises:
            FloatingPointError: a weight is not finite.
            OSError: the file can't be written. Those that are there stay as they are.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        folder = Path(self.save_dir)
        file = folder / f"{name}.pth"
        self._check_finite(f"{file} was not written: after this step")
        data = {"model": self.model.state_dict()}
        data |= {key: part.state_dict() for key, part in self.checkpointables.items()}
        data |= {} if self.info is None else {INFO_KEY: self.info.as_dict()}
        logger.info("Saving checkpoint to %s", file)
        with whole_file(file) as partial, open(partial, "wb") as opened:
            torch.save({**data, **kwargs}, opened)
        self.tag_last_checkpoint(file.name)
        remove_old_checkpoints(folder, self.keep)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_text(Path(self.save_dir) / LAST, last_filename_basename)

    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from, sound or not."""
        folder = Path(self.save_dir)
        return (folder / LAST).exists() or bool(saved_checkpoints(folder))

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """As in detectron2; resumes from the newest checkpoint that is sound.

        Raises:
            FileNotFoundError, ValueError: as ``load``; or there are checkpoints, and none is sound.
        """
        # The main process decides: another may not see its folder, which is then an error there.
        if comm.all_gather(resume and self.has_checkpoint())[0]:
            return self.load(self._newest_sound())
        return self.load(path, checkpointables=[])

    def _newest_sound(self) -> str:
        """The main process chooses for all."""
        found, problem = "", ""
        if comm.is_main_process():
            try:
                found = str(newest_sound_checkpoint(Path(self.save_dir)))
            except ValueError as error:
                problem = str(error)
        found, problem = comm.all_gather((found, problem))[0]
        if problem:
            raise ValueError(problem)
        return found

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """
        Raises:
            FileNotFoundError: there is no such file.
            HubFileError: there is none on the Hugging Face hub (hf://), or it can't be reached.
            ValueError: no file is named although ``require_all``, and a part of the model has no
                weights of its own (``brings_weights``); or the file is damaged or holds what only
                code can load; or its weights do not fit.
            FloatingPointError: a weight is not finite.
        """
        if not path and brings_weights(self.model):
            logger.info("MODEL.WEIGHTS is empty: the weights are those that it was built with")
            return {}
        if not path and self.require_all:
            raise ValueError(
                "MODEL.WEIGHTS is empty, so there is nothing to evaluate. Name a checkpoint: "
                "MODEL.WEIGHTS path/to/model_final.pth, or --resume for the last one of OUTPUT_DIR."
            )
        self.path = path
        try:
            loaded = super().load(path, checkpointables)
        except (AssertionError, FileNotFoundError) as error:
            if isinstance(error, AssertionError) and "not found" not in str(error):
                raise
            raise no_checkpoint(path, can_be_empty=not self.require_all) from None
        finally:
            self._parsed_url_during_load = None  # or detectron2 loads nothing after an error
        self._check_finite(f"{path} can't be used:")
        if self.info is not None and INFO_KEY in loaded:
            warn_of_differences(path, ModelInfo.from_dict(loaded[INFO_KEY]), self.info)
        return loaded

    def _check_finite(self, what: str) -> None:
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        bad = not_finite(tensors)
        if bad:
            raise FloatingPointError(
                f"{what} {len(bad)} of the model's {len(tensors)} tensors, like {bad[0]}, hold "
                "values that are not finite: its training diverged. Go on from an earlier "
                "one with a lower SOLVER.BASE_LR, or with SOLVER.CLIP_GRADIENTS.ENABLED True."
            )

    def _load_file(self, filename: str) -> dict[str, Any]:
        if not filename.endswith((".pkl", ".pyth")):
            return super()._load_file(filename)
        # detectron2 would unpickle these two whatever they hold. Its rules for what is in them:
        loaded = self._read(filename)
        if filename.endswith(".pkl") and "model" in loaded and "__author__" in loaded:
            return loaded  # of the model zoo
        author, key, left_out = "Caffe2", "blobs", "_momentum"
        if filename.endswith(".pyth"):
            author, key, left_out = "pycls", "model_state", "num_batches_tracked"
        weights = loaded.get(key, loaded)
        weights = {name: w for name, w in weights.items() if not name.endswith(left_out)}
        return {"model": weights, "__author__": author, "matching_heuristics": True}

    def _read(self, filename: str) -> dict[str, Any]:
        loaded = load_file(filename)
        if filename.endswith(".safetensors"):  # what it says of the model stands in its header
            info = read_model_info(filename)
            loaded = {"model": loaded} | ({} if info is None else {INFO_KEY: info.as_dict()})
        if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
            raise ValueError(f"{self.path} holds no weights by their names, but {type(loaded)}")
        return loaded

    def _torch_load(self, f: str) -> dict[str, Any]:
        loaded = self._read(f)
        weights = weights_in(loaded, self.path)
        try:
            source = recognise(weights)
        except ValueError:
            beside = {} if weights is loaded else loaded
            return {**beside, "model": weights}
        raise ValueError(
            f"{self.path} is a checkpoint in another format ({source}; known: "
            f"{', '.join(known.name for known in FORMATS)}). Convert it first: "
            f"cffm convert {self.path} converted.pth"
        )

    def _load_model(self, checkpoint: Any) -> Any:
        self._by_heuristics = checkpoint.pop("matching_heuristics", False)
        prefix = self._prefix_of(checkpoint["model"])
        weights, versions = renamed(
            checkpoint["model"], lambda name: uncompiled(name).removeprefix(prefix)
        )
        if self._by_heuristics:  # as detectron2 does it, which loses the versions
            self._convert_ndarray_to_tensor(weights)
            is_caffe2 = checkpoint.get("__author__") == "Caffe2"
            weights = align_and_update_state_dicts(self.model.state_dict(), weights, is_caffe2)
            versions = {}
        checkpoint["model"] = with_versions(weights, versions, self.model)
        return super()._load_model(checkpoint)

    def _prefix_of(self, weights: Mapping[str, Any]) -> str:
        """What stands before the model's names, but for DistributedDataParallel's."""
        if self._by_heuristics:
            return ""
        names, _ = renamed(weights, uncompiled)
        prefix = prefix_of(names, self.model.state_dict(), self.path)
        if prefix:
            logger.info("%s: the names of its weights begin with %s, left out", self.path, prefix)
        return prefix

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        missing = _by_part(incompatible.missing_keys)
        unexpected = _by_part(incompatible.unexpected_keys)
        # Counters of BatchNorm are never reported missing: old checkpoints lack them.
        names = (n for n in self.model.state_dict() if not n.endswith("num_batches_tracked"))
        ours = _by_part(names)
        loaded_parts = [p for p in ours if len(missing[p]) < len(ours[p])]
        new_classifiers = set()
        if not self.require_all:
            new_classifiers |= {
                name
                for name, theirs, mine in incompatible.incorrect_shapes
                if (is_classifier(name) or name.startswith(_CRITERION))
                and tuple(theirs[1:]) == tuple(mine[1:])
            }
            for part in loaded_parts:  # a whole part but for its classifier
                classifiers = set(filter(is_classifier, ours[part]))
                new_classifiers |= classifiers if classifiers == set(missing[part]) else set()
        problems = [
            f"{name} has shape {theirs} in the checkpoint, {mine} in the model"
            for name, theirs, mine in incompatible.incorrect_shapes
            if name not in new_classifiers
        ]
        for part in loaded_parts:
            lacking = [name for name in missing[part] if name not in new_classifiers]
            problems += [f"{name} is not in the checkpoint" for name in lacking]
            problems += [f"{name} is not in the model" for name in unexpected[part]]
        if not loaded_parts:
            some = ", ".join([*incompatible.unexpected_keys][:3])
            problems.append(f"none of the model's weights is in the checkpoint, which has {some}")
        if self.require_all:
            absent = [part for part in ours if part not in loaded_parts]
            problems += [f"the whole of {part} is not in the checkpoint" for part in absent]
        if problems and not (self._by_heuristics and loaded_parts and not self.require_all):
            listed = "\n  ".join(problems[:6])
            more = f"\n  ... and {len(problems) - 6} more" if len(problems) > 6 else ""
            raise ValueError(
                f"{self.path} is a checkpoint of another architecture than the config's:\n  "
                f"{listed}{more}\nUse the config that it was trained with (config.yaml in its "
                "output folder), or another checkpoint in MODEL.WEIGHTS."
            )
        super()._log_incompatible_keys(incompatible)
        if new_classifiers:
            logger.warning(
                "%s holds no classifier of this number of classes; these start anew: %s",
                self.path,
                ", ".join(sorted(new_classifiers)),
            )


def brings_weights(model: nn.Module) -> bool:
    """Whether all parts were built with trained weights: those of Hugging Face's models say so."""
    parts = (part for part in model.children() if any(True for _ in part.parameters()))
    return all(getattr(part, "brings_weights", False) for part in parts)


def _by_part(names: Iterable[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts[name.split(".")[0]].append(name)
    return parts
