"""VSPWEvaluator takes what DVIS++, PMT and VidEoMT give: one output a video, things first."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from PIL import Image

from cffm_plugin.data import load_vspw, register_vspw
from cffm_plugin.evaluation import VSPWEvaluator

DATASET, OF_MODEL = "cffm_test_whole_videos", "cffm_test_whole_videos_things_first"
NAMES = ["wall", "door", "floor", "person"]  # door and person are things
THINGS_FIRST = {1: 0, 3: 1, 0: 2, 2: 3}  # class -> the model's index
LENGTHS = {"a": 18, "b": 3}
SIZE = (4, 5)


@pytest.fixture
def root(tmp_path):
    rng = np.random.RandomState(0)
    for video, length in LENGTHS.items():
        for kind in ("origin", "mask"):
            (tmp_path / "data" / video / kind).mkdir(parents=True)
        labels = rng.randint(0, 5, SIZE).astype(np.uint8)
        for i in range(length):
            labels[0, 0] = i % 5
            mask = Image.fromarray(labels)
            mask.save(tmp_path / "data" / video / "mask" / f"{i:08d}.png")
            mask.save(tmp_path / "data" / video / "origin" / f"{i:08d}.png")
    (tmp_path / "val.txt").write_text("\n".join(LENGTHS))
    register_vspw(DATASET, tmp_path, "val", classes=NAMES)
    MetadataCatalog.get(OF_MODEL).set(stuff_dataset_id_to_contiguous_id=THINGS_FIRST)
    yield tmp_path
    DatasetCatalog.remove(DATASET)
    MetadataCatalog.remove(DATASET)
    MetadataCatalog.remove(OF_MODEL)


def predictions():
    """Video -> (L, H, W) in the dataset's classes."""
    rng = np.random.RandomState(1)
    return {video: rng.randint(0, 4, (length, *SIZE)) for video, length in LENGTHS.items()}


def inputs_of(root, video, frames=None, **more):
    """As the mappers of these projects make them, without the images."""
    folder = root / "data" / video
    files = [str(folder / "origin" / f"{i:08d}.png") for i in range(LENGTHS[video])]
    given = range(len(files)) if frames is None else frames
    return [{"video_id": video, "file_names": files, "frame_idx": given, **more}]


def output_of(labels, order=THINGS_FIRST):
    index = np.full(256, 255)
    for k, contiguous in order.items():
        index[k] = contiguous
    return {"image_size": SIZE, "pred_masks": torch.from_numpy(index[labels]), "task": "vss"}


def expected_results(root, **options):
    evaluator = VSPWEvaluator(DATASET, **options)
    labels = predictions()
    for record in load_vspw(root, "val"):
        label_map = torch.from_numpy(labels[record["video_id"]][record["frame_index"]])
        evaluator.process([record], [{"label_map": label_map}])
    return evaluator.evaluate()


def pngs(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.png")}


@pytest.mark.parametrize("source", ["the model's dataset", "the dataset", "values of masks"])
def test_whole_videos_have_the_scores_of_their_frames_in_the_datasets_classes(root, source):
    model_dataset = None
    if source == "the model's dataset":
        model_dataset = OF_MODEL
    elif source == "the dataset":
        MetadataCatalog.get(DATASET).set(stuff_dataset_id_to_contiguous_id=THINGS_FIRST)
    else:
        of_values = {k + 1: index for k, index in THINGS_FIRST.items()}
        MetadataCatalog.get(DATASET).set(stuff_dataset_id_to_contiguous_id=of_values)
    options = {"save_predictions": True}
    evaluator = VSPWEvaluator(
        DATASET, model_dataset=model_dataset, output_dir=root / "whole", **options
    )
    for video, labels in predictions().items():
        evaluator.process(inputs_of(root, video), output_of(labels))
    expected = expected_results(root, output_dir=root / "frames", **options)
    assert evaluator.evaluate() == expected
    assert pngs(root / "whole") == pngs(root / "frames")
    assert 0 < expected["sem_seg"]["mIoU"] < 50


def test_detectron2s_loop_over_a_loader_of_videos_gives_them(root):
    class Model(torch.nn.Module):
        def forward(self, inputs):
            return output_of(predictions()[inputs[0]["video_id"]])

    loader = [inputs_of(root, video) for video in LENGTHS]
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    assert inference_on_dataset(Model(), loader, evaluator) == expected_results(root)


def test_a_video_may_come_in_parts_and_bring_its_masks(root):
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    for video, labels in predictions().items():
        masks = sorted(map(str, (root / "data" / video / "mask").iterdir()))
        for part in (range(2), range(2, LENGTHS[video])):
            inputs = inputs_of(root, video, part, sem_mask_names=masks)
            evaluator.process(inputs, [output_of(labels[part.start : part.stop])])
    DatasetCatalog.remove(DATASET)
    DatasetCatalog.register(DATASET, list)
    assert evaluator.evaluate() == expected_results(root)


def test_things_and_stuff_may_stand_in_two_tables(root):
    MetadataCatalog.remove(OF_MODEL)
    MetadataCatalog.get(OF_MODEL).set(
        stuff_dataset_id_to_contiguous_id={0: 2, 2: 3},
        thing_dataset_id_to_contiguous_id={1: 0, 3: 1},
    )
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    for video, labels in predictions().items():
        evaluator.process(inputs_of(root, video), output_of(labels))
    assert evaluator.evaluate() == expected_results(root)


def test_without_the_order_of_classes_there_are_no_scores(root):
    evaluator = VSPWEvaluator(DATASET)
    with pytest.raises(ValueError, match=r"no 'stuff_dataset_id_to_contiguous_id'.*model_dataset="):
        evaluator.process(inputs_of(root, "a"), output_of(predictions()["a"]))


@pytest.mark.parametrize(
    ("stuff", "things", "message"),
    [
        ({0: 0, 1: 1}, {2: 0}, "index 0 stands for the ids 0 and 2"),
        ({0: 0, 7: 1}, None, r"of ids 0..3.*got \[0, 7\]"),
        ({0: 0, 1: 300}, None, r"indices 0..254"),
    ],
)
def test_orders_that_contradict_themselves_or_the_dataset_are_errors(root, stuff, things, message):
    MetadataCatalog.remove(OF_MODEL)
    MetadataCatalog.get(OF_MODEL).set(
        stuff_dataset_id_to_contiguous_id=stuff, thing_dataset_id_to_contiguous_id=things
    )
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    with pytest.raises(ValueError, match=message):
        evaluator.process(inputs_of(root, "a"), output_of(predictions()["a"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "vis"}, r'the task \'vis\'.*"vss"'),
        ({"pred_masks": torch.zeros(17, *SIZE)}, r"its 18 frames; got \(17, 4, 5\)"),
        ({"pred_masks": torch.full((18, *SIZE), 4)}, "predicts class 4, which stuff_dataset_id"),
        ({"pred_masks": torch.zeros(18, 3, 3)}, "3x3, but its mask .* is 4x5"),
    ],
)
def test_outputs_that_do_not_fit_are_errors_that_name_the_video(root, change, message):
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    with pytest.raises(ValueError, match=f"Video a.*{message}"):
        evaluator.process(inputs_of(root, "a"), output_of(predictions()["a"]) | change)


def test_videos_and_frames_of_another_dataset_are_named(root):
    evaluator = VSPWEvaluator(DATASET, model_dataset=OF_MODEL)
    output = output_of(predictions()["b"])
    inputs = inputs_of(root, "b")
    with pytest.raises(ValueError, match="has no video x; it has a, b"):
        evaluator.process([inputs[0] | {"video_id": "x"}], output)
    files = [*inputs[0]["file_names"][:2], "elsewhere/9.png"]
    with pytest.raises(ValueError, match="elsewhere/9.png is no frame of "):
        evaluator.process([inputs[0] | {"file_names": files}], output)
