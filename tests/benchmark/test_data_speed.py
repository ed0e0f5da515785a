"""Reading, evaluation and guards are measured, and their parts fit together."""

import pytest
from detectron2.data import DatasetCatalog

from lab.data_speed import (
    generated_dataset,
    main,
    measure_dataloader,
    measure_evaluation,
    measure_guards,
)


def test_data_are_measured_on_a_generated_dataset_that_is_gone_afterwards(benchmark):
    cfg = benchmark.cfg.clone()
    cfg.INPUT.CLIP.FIT_SIZE, cfg.DATALOADER.NUM_WORKERS = (96, 64), 0
    with generated_dataset(cfg, (64, 96), frames=10) as cfg:
        registered = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
        reading = measure_dataloader(cfg, clips=2)
        scores = measure_evaluation(cfg, benchmark.model, repeats=1)
    parts = ("decoding_images_s", "decoding_masks_s", "augmentation_and_tensors_s")
    assert sum(reading[part] for part in parts) == pytest.approx(reading["median_s"])
    assert scores["frames"] == 3 * 10 and scores["same_scores"]
    assert not set(registered) & set(DatasetCatalog.list())


def test_guards_are_a_share_of_the_steps_that_they_guard(benchmark):
    found = measure_guards(benchmark, repeats=1)
    for name in ("stream", "train"):
        share = found[f"{name}_guards_s"] / found[f"{name}_s"]
        assert found[f"{name}_guards/{name}"] == share > 0


def test_the_command_prints_what_was_asked_for(capsys):
    code = main(
        [
            *("--config-file", "configs/vspw/cffm_mit_b0.yaml", "--what", "dataloader"),
            *("--size", "64", "96", "--frames", "10", "--repeats", "1"),
            *("--opts", "MODEL.DEVICE", "cpu", "MODEL.MIT.NAME", "mit_tiny"),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
            *("MODEL.CFFM.NUM_HEADS", "4"),
        ]
    )
    printed = capsys.readouterr().out
    assert code == 0 and "clips_per_s_per_worker" in printed and "guards" not in printed
