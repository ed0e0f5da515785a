"""Frame offsets other than the paper's, from training to evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog

from cffm_plugin.data import ClipMapper, read_mask, register_vspw
from cffm_plugin.engine import CFFMTrainer

# Offsets -> what they need: per reference, tokens per window side and neighbourhood.
OFFSETS = {
    (-3, -2, -1): ((1, 2, 3), (7, 5, 3)),
    (-1,): ((3,), (3,)),
    (-30, -2): ((1, 3), (7, 3)),
    (-4, -3, -2, -1): ((1, 1, 2, 3), (7, 7, 5, 3)),
}


@pytest.mark.usefixtures("forget_datasets")
@pytest.mark.parametrize(("offsets", "references"), OFFSETS.items(), ids=map(str, OFFSETS))
@pytest.mark.parametrize("enabled", [True, False])
def test_any_frame_offsets_train_and_evaluate(
    cfg, tmp_path, write_vspw, offsets, references, enabled
):
    root = write_vspw(tmp_path / "long", {"train": {"t0": 34, "t1": 33}, "val": {"v0": 33}})
    for split in ("train", "val"):
        register_vspw(f"cffm_test_long_{split}", root, split, classes=["a", "b", "c", "d"])
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("cffm_test_long_train",), ("cffm_test_long_val",)
    cfg.MODEL.TEMPORAL.ENABLED = enabled
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = offsets
    cfg.MODEL.CFFM.REFERENCE_POOLS, cfg.MODEL.CFFM.REFERENCE_KERNELS = references
    cfg.SOLVER.MAX_ITER = 2
    cfg.TEST.SAVE_PREDICTIONS = True
    torch.manual_seed(0)
    trainer = CFFMTrainer(cfg)
    trained = []
    trainer.model.register_forward_pre_hook(
        lambda module, args: trained.extend(args[0]) if module.training else None
    )
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()

    assert len(trained) == 2 * cfg.SOLVER.IMS_PER_BATCH
    for clip in trained:
        *references, target = clip["frame_indices"]
        assert [r - target for r in references] in (list(offsets), [-o for o in offsets])
    for name, parameter in trainer.model.named_parameters():
        if name.startswith("temporal."):
            assert not torch.equal(parameter, before[name]), name

    output = Path(cfg.OUTPUT_DIR, "inference")
    records = DatasetCatalog.get("cffm_test_long_val")
    mapper, model = ClipMapper(cfg, is_train=False), trainer.model.eval()
    for target in (-offsets[0], 31, 32):  # the first one with all its references, and later ones
        references = [records[target + offset]["file_name"] for offset in offsets if enabled]
        clip = mapper(records[target] | {"reference_file_names": references})
        assert len(clip["image"]) == (len(offsets) + 1 if enabled else 1)
        with torch.no_grad():
            expected = model([clip])[0]["sem_seg"].argmax(dim=0)
        saved = read_mask(output / "result_submission" / "v0" / f"{target:08d}.png")
        np.testing.assert_array_equal(saved, expected)
    results = json.loads((output / "vspw_results.json").read_text())
    assert 0 <= results["sem_seg"]["mIoU"] <= 100 and results["sem_seg"]["mVC16"] is not None
    # Windows of 8 and 16 of 33 frames, but the last.
    assert results["windows"] == {"mVC8": 33 - 8, "mVC16": 33 - 16}
