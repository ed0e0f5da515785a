"""CFFMTrainer: detectron2's trainer with the data, optimizer and evaluator for video."""

import logging
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model, hooks
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import nn

from ..checkpoint import FINAL, INFO_KEY, ModelInfo, SegmentorCheckpointer
from ..data import (
    VideoTrainingSampler,
    build_clip_test_loader,
    build_clip_train_loader,
    check_num_classes,
    names_and_colors,
    numbered_classes,
)
from ..evaluation import VSPWEvaluator
from ..inference import (
    ClipsOfFrames,
    LabelMapPredictor,
    build_compile_options,
    check_smoothing,
    compile_segmentor,
)
from ..job_spec import JobSpec
from ..modeling import CFFMSegmentor
from .clip_pictures import ClipPictures
from .foreign_models import explain_clips
from .loss_guard import stop_at_bad_loss
from .optimizer import build_optimizer
from .output_folder import output_folder_of
from .preemption import LeaveWhenAsked, StopSignals
from .resuming import log_changed_settings
from .schedule import build_schedule, continue_schedule
from .train_loop import AccumulatingTrainer, precision_from_config, seed_step
from .tta import ClipSegmentorWithTTA
from .wandb_writer import WandbWriter

logger = logging.getLogger(__name__)


class CFFMTrainer(DefaultTrainer):
    """Trains and evaluates video (and image) segmentors on clips.

    What differs from ``DefaultTrainer``: data loaders that know videos, the parameter groups and
    schedule of CFFM's recipe, several processes without a GPU, a checkpointer that refuses weights
    of another architecture, a stop at the first loss that is not finite, and a checkpoint before it
    leaves at a signal.
    """

    def __init__(self, cfg: CfgNode):
        # DefaultTrainer's own constructor can't train in several processes without a GPU.
        TrainerBase.__init__(self)
        num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        check_num_classes((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST), num_classes)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        if cfg.SOLVER.COMPILE:
            compile_segmentor(model, **build_compile_options(cfg))
        stop_at_bad_loss(model, self, cfg.SOLVER.MAX_LOSS_GROWTH)
        model = create_ddp_model(
            model,
            broadcast_buffers=False,
            device_ids=[comm.get_local_rank()] if on_gpu else None,
        )
        self._trainer = AccumulatingTrainer(
            model,
            data_loader,
            optimizer,
            accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
            precision=precision_from_config(cfg),
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self._classes = names_and_colors((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST), num_classes)
        self.checkpointer = SegmentorCheckpointer(
            model,
            cfg.OUTPUT_DIR,
            info=ModelInfo.from_config(cfg, *self._classes),
            keep=cfg.SOLVER.KEEP_CHECKPOINTS,
            trainer=weakref.proxy(self),
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self._signals = StopSignals()
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """As in detectron2; a resumed run goes on in the data, under the config of now."""
        loaded = self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if not (resume and self.checkpointer.has_checkpoint()):
            return
        self.start_iter = self.iter + 1
        log_changed_settings(ModelInfo.from_dict(loaded.get(INFO_KEY)).config, self.cfg)
        sampler = getattr(self._trainer.data_loader, "sampler", None)
        if isinstance(sampler, VideoTrainingSampler):  # nothing was drawn from it yet
            sampler.start = self.start_iter * self.cfg.SOLVER.IMS_PER_BATCH

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in detectron2; of optimizer and schedule, what a config says is this config's.

        Raises:
            ValueError: the checkpoint has trained more iterations than SOLVER.MAX_ITER.
        """
        trained = state_dict["iteration"] + 1
        if trained > self.max_iter:
            raise ValueError(
                f"{self.checkpointer.path} has trained {trained} iterations, and SOLVER.MAX_ITER "
                f"is {self.max_iter}. Set SOLVER.MAX_ITER to {trained} or more; or evaluate what "
                "there is, --eval-only --resume; or write the name of an earlier checkpoint into "
                f"{Path(self.cfg.OUTPUT_DIR, 'last_checkpoint')}."
            )
        state = dict(state_dict.get("hooks", {}))
        schedule = state.pop(hooks.LRScheduler.__qualname__, None)
        super().load_state_dict(state_dict | {"hooks": state})
        if schedule is not None:
            groups = state_dict["_trainer"]["optimizer"]["param_groups"]
            continue_schedule(self.optimizer, self.scheduler, schedule, groups)

    def build_hooks(self) -> list[Any]:
        """As in detectron2; and one that leaves when a signal asks for it, before evaluation.

        With VIS_PERIOD, pictures too, from the main process.
        """
        found = super().build_hooks()
        if self.cfg.VIS_PERIOD > 0 and comm.is_main_process():
            found.insert(len(found) - 1, self._build_pictures())  # before they are written
        place = next(i for i, hook in enumerate(found) if isinstance(hook, hooks.EvalHook))
        periods = self.cfg.SOLVER.CHECKPOINT_PERIOD, self.cfg.TEST.EVAL_PERIOD
        found.insert(place, LeaveWhenAsked(self._signals, self.checkpointer, *periods))
        return found

    def _build_pictures(self) -> ClipPictures:
        num_classes = self.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        names, colors = self._classes
        inner: Any = self._trainer
        return ClipPictures(
            getattr(inner.model, "module", inner.model),  # of DistributedDataParallel
            lambda: inner.clips,
            list(zip(names, colors)) or numbered_classes(num_classes),
            image_format=self.cfg.INPUT.FORMAT,
            period=self.cfg.VIS_PERIOD,
        )

    def build_writers(self) -> list[Any]:
        """As in detectron2; with WANDB.ENABLED one of W&B before them.

        Raises:
            ModuleNotFoundError: wandb is not installed.
        """
        writers = super().build_writers()
        if self.cfg.WANDB.ENABLED:
            trainer = weakref.proxy(self)
            writers.insert(0, WandbWriter(self.cfg, lambda: trainer.start_iter > 0))
        return writers

    def train(self) -> Any:
        """
        Raises:
            SystemExit: with STOPPED, after a signal; ``resume_or_load`` goes on bit for bit.
        """
        # Without the hook, as a subclass may have it, signals do what they always did.
        leaves = any(isinstance(hook, LeaveWhenAsked) for hook in self._hooks)
        with self._signals if leaves else nullcontext():
            self._save_final_if_it_was_killed_before()
            return super().train()

    def _save_final_if_it_was_killed_before(self) -> None:
        """A run killed after its last numbered checkpoint has no step left that would write it."""
        resumed_from = Path(self.checkpointer.path).name
        if self.start_iter >= self.max_iter > 0 and resumed_from != FINAL:
            logger.info("%s is of the last iteration: it becomes %s", resumed_from, FINAL)
            self.checkpointer.save(Path(FINAL).stem, iteration=self.start_iter - 1)

    def run_step(self) -> None:
        """As in detectron2; with SEED, what a step draws is a function of it and of the step."""
        if self.cfg.SEED >= 0:  # so that a resumed run drops out what the other would have
            seed_step(self.cfg.SEED, self.iter)
        super().run_step()

    def after_train(self) -> None:
        """As in detectron2; without the last evaluation where training was asked to stop."""
        if self._signals.received:
            found: list[Any] = self._hooks  # type: ignore[has-type]  # detectron2 has no types
            self._hooks = [hook for hook in found if not isinstance(hook, hooks.EvalHook)]
        super().after_train()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> Any:
        """As in detectron2; a model that can't take clips says so."""
        model = super().build_model(cfg)
        if not isinstance(model, CFFMSegmentor):
            explain_clips(model, cfg.MODEL.META_ARCHITECTURE)
        return model

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_clip_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        if _streams(cfg):
            return build_clip_test_loader(cfg, dataset_name, frame_offsets=())
        return build_clip_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
        if evaluator_type != "vspw":
            raise ValueError(
                f"CFFMTrainer evaluates datasets with evaluator_type 'vspw'; that of "
                f"{dataset_name} is {evaluator_type!r}. Register it with register_video_folder "
                "or register_vspw, or override build_evaluator."
            )
        return VSPWEvaluator(
            dataset_name,
            output_dir=output_folder_of(JobSpec.from_config(cfg), "inference", dataset_name),
            save_predictions=cfg.TEST.SAVE_PREDICTIONS,
            max_megapixels=cfg.INPUT.MAX_MEGAPIXELS,
            all_vc=cfg.TEST.ALL_VC,
        )

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> Any:
        """As in detectron2; videos as streams (TEST.STREAMING), or with test-time augmentation.

        Models that are no CFFMSegmentor get whole clips and give logits.
        """
        check_num_classes(cfg.DATASETS.TEST, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
        segmentor = getattr(model, "module", model)  # of DistributedDataParallel
        check_smoothing(cfg.TEST.SMOOTHING, _streams(cfg))
        if cfg.TEST.AUG.ENABLED:
            logger.info("Test-time augmentation: scales %s", cfg.TEST.AUG.SCALES)
            model = ClipSegmentorWithTTA(cfg, segmentor)
        elif isinstance(segmentor, CFFMSegmentor):
            model = LabelMapPredictor(cfg, segmentor, streaming=_streams(cfg))
        elif _streams(cfg):
            model = ClipsOfFrames(cfg, segmentor)
        return super().test(cfg, model, evaluators)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        return build_schedule(cfg, optimizer)


def _streams(cfg: CfgNode) -> bool:
    """Whether evaluation reads videos frame by frame."""
    return cfg.TEST.STREAMING and not cfg.TEST.AUG.ENABLED
