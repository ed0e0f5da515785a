"""CFFMTrainer: detectron2's trainer with the data, optimizer and evaluator for video."""

import logging
import os
import weakref
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model
from detectron2.evaluation import DatasetEvaluator
from detectron2.projects.deeplab import build_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch import nn

from ..checkpoint import SegmentorCheckpointer
from ..data import (
    VideoTrainingSampler,
    build_clip_test_loader,
    build_clip_train_loader,
    check_num_classes,
)
from ..evaluation import VSPWEvaluator
from ..inference import ClipsOfFrames, LabelMapPredictor
from ..modeling import CFFMSegmentor
from .train_loop import AccumulatingTrainer
from .tta import ClipSegmentorWithTTA

logger = logging.getLogger(__name__)


class CFFMTrainer(DefaultTrainer):
    """Trains and evaluates video (and image) segmentors on clips.

    What differs from ``DefaultTrainer``: data loaders that know videos, the parameter groups and
    schedule of CFFM's recipe, several processes without a GPU, a checkpointer that refuses weights
    of another architecture, and a stop at the first loss that is not finite.
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
        stop_at_bad_loss(model, self)
        model = create_ddp_model(
            model,
            broadcast_buffers=False,
            device_ids=[comm.get_local_rank()] if on_gpu else None,
        )
        amp = cfg.SOLVER.AMP.ENABLED
        if amp and not on_gpu:
            logger.warning("SOLVER.AMP.ENABLED needs CUDA; training goes on in float32")
        self._trainer = AccumulatingTrainer(
            model,
            data_loader,
            optimizer,
            accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
            amp=amp and on_gpu,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = SegmentorCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """As in detectron2; a resumed run goes on in the data where it stopped."""
        super().resume_or_load(resume)
        sampler = getattr(self._trainer.data_loader, "sampler", None)
        if isinstance(sampler, VideoTrainingSampler):  # nothing was drawn from it yet
            sampler.start = self.start_iter * self.cfg.SOLVER.IMS_PER_BATCH

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
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference")
        if len(cfg.DATASETS.TEST) > 1:
            output_dir = os.path.join(output_dir, dataset_name)
        return VSPWEvaluator(
            dataset_name,
            output_dir=output_dir,
            save_predictions=cfg.TEST.SAVE_PREDICTIONS,
        )

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> Any:
        """As in detectron2; videos as streams (TEST.STREAMING), or with test-time augmentation.

        Models that are no CFFMSegmentor get whole clips and give logits.
        """
        check_num_classes(cfg.DATASETS.TEST, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
        segmentor = getattr(model, "module", model)  # of DistributedDataParallel
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
        return build_lr_scheduler(cfg, optimizer)


def _streams(cfg: CfgNode) -> bool:
    """Whether evaluation reads videos frame by frame."""
    return cfg.TEST.STREAMING and not cfg.TEST.AUG.ENABLED


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD over two kinds of parameters (CFFM, section 4.1).

    Those of ``model.backbone`` have the base learning rate, and its normalisation layers their own
    weight decay; all others have ``SOLVER.HEAD_LR_MULTIPLIER`` times the learning rate.

    Raises:
        ValueError: an unknown ``SOLVER.OPTIMIZER``.
    """
    solver = cfg.SOLVER
    common = {
        "weight_decay": solver.WEIGHT_DECAY,
        "bias_lr_factor": solver.BIAS_LR_FACTOR,
        "weight_decay_bias": solver.WEIGHT_DECAY_BIAS,
    }
    others = nn.ModuleDict(
        {name: child for name, child in model.named_children() if name != "backbone"}
    )
    groups = get_default_optimizer_params(
        model.backbone,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.BACKBONE_WEIGHT_DECAY_NORM,
        **common,
    )
    groups += get_default_optimizer_params(
        others, base_lr=solver.BASE_LR * solver.HEAD_LR_MULTIPLIER, **common
    )
    if solver.OPTIMIZER.lower() == "adamw":
        arguments: dict[str, Any] = {"betas": tuple(solver.BETAS)}
        kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    elif solver.OPTIMIZER.lower() == "sgd":
        arguments = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}
        kind = torch.optim.SGD
    else:
        raise ValueError(f"SOLVER.OPTIMIZER: expected AdamW or SGD, got {solver.OPTIMIZER!r}")
    return maybe_add_gradient_clipping(cfg, kind)(groups, lr=solver.BASE_LR, **arguments)


def stop_at_bad_loss(model: nn.Module, trainer: TrainerBase) -> None:
    """Stop training, before any weight changes, at a loss that is not finite.

    Args:
        model: gives a dict of losses in training.
        trainer: whose iteration the error names.
    """
    trainer = weakref.proxy(trainer)

    def check(module: nn.Module, args: tuple[Any, ...], losses: Any) -> None:
        if not module.training:
            return
        bad = {name: loss.item() for name, loss in losses.items() if not torch.isfinite(loss)}
        if bad:
            records = "\n  ".join(describe_record(record) for record in args[0])
            raise FloatingPointError(
                f"Loss is not finite at iteration {trainer.iter}: {bad}. The clips of this step:\n"
                f"  {records}\nThe weights are those of the step before; the last checkpoint is "
                "sound. Look at these files, lower SOLVER.BASE_LR, or set "
                "SOLVER.CLIP_GRADIENTS.ENABLED True."
            )

    model.register_forward_hook(check)


def describe_record(record: dict[str, Any]) -> str:
    """A clip, for a message: its video and files."""
    files = record.get("file_names") or [record.get("file_name", "unknown file")]
    return f"video {record.get('video_id', 'unknown')}: {', '.join(map(str, files))}"
