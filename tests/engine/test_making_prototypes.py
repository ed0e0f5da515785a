"""Making prototypes: the same whatever is interrupted or shared, and CFFM++ trains on them."""

import numpy as np
import pytest
import torch

from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine import prototype_making as making
from cffm_plugin.engine.prototype_making import cluster, make_prototypes


@pytest.fixture
def trained(cfg, tmp_path):
    """The config with MODEL.WEIGHTS of a CFFM, here untrained."""
    torch.manual_seed(0)
    torch.save({"model": CFFMTrainer.build_model(cfg).state_dict()}, tmp_path / "cffm.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "cffm.pth")
    cfg.MODEL.TEMPORAL.PROTOTYPES.NUM_PROTOTYPES = 6
    return cfg


@pytest.fixture(autouse=True)
def _keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def read(folder):
    return {file.stem: torch.load(file) for file in sorted(folder.glob("*.pt"))}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for video, tensor in one.items():
        assert torch.equal(tensor, other[video]), video


def test_every_video_gets_its_prototypes(trained, tiny_vspw, tmp_path):
    make_prototypes(trained, [tiny_vspw.train, tiny_vspw.val], tmp_path / "p")
    made = read(tmp_path / "p")
    assert set(made) == set(tiny_vspw.lengths)
    assert all(tensor.shape == (6, 16) and tensor.isfinite().all() for tensor in made.values())
    videos = list(made.values())
    assert not torch.allclose(videos[0], videos[1])  # each of its own video


def test_shared_by_two_processes_and_restarted_they_are_the_same(
    trained, tiny_vspw, tmp_path, monkeypatch
):
    names = [tiny_vspw.train, tiny_vspw.val]
    make_prototypes(trained, names, tmp_path / "one")
    expected = read(tmp_path / "one")

    for rank in (0, 1):  # two processes, one after the other
        monkeypatch.setattr(making.comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(making.comm, "get_world_size", lambda: 2)
        make_prototypes(trained, names, tmp_path / "two")
    monkeypatch.undo()
    assert_same(read(tmp_path / "two"), expected)

    calls = []

    def fail_at_third(path, centers):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(path, centers)

    write = making.write_prototypes
    monkeypatch.setattr(making, "write_prototypes", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_prototypes(trained, names, tmp_path / "cut")
    assert len(read(tmp_path / "cut")) == 2
    make_prototypes(trained, names, tmp_path / "cut")
    assert len(calls) == 3 + 3  # five videos, two of them done
    assert_same(read(tmp_path / "cut"), expected)


def test_a_folder_of_other_weights_or_a_strangers_is_an_error(trained, tiny_vspw, tmp_path):
    make_prototypes(trained, [tiny_vspw.val], tmp_path / "p")
    trained.MODEL.TEMPORAL.PROTOTYPES.NUM_PROTOTYPES = 5
    with pytest.raises(ValueError, match="other num_prototypes"):
        make_prototypes(trained, [tiny_vspw.val], tmp_path / "p")
    torch.save(torch.zeros(1, 4), tmp_path / "v.pt")
    with pytest.raises(ValueError, match="not made by this tool"):
        make_prototypes(trained, [tiny_vspw.val], tmp_path)


def test_cffm_plus_trains_its_branch_and_evaluates_to_the_same_keys(trained, tiny_vspw, tmp_path):
    make_prototypes(trained, [tiny_vspw.train, tiny_vspw.val], tmp_path / "p")
    keys = CFFMTrainer.test(trained, CFFMTrainer.build_model(trained))["sem_seg"].keys()
    trained.MODEL.TEMPORAL.PROTOTYPES.ENABLED = True
    trained.MODEL.TEMPORAL.PROTOTYPES.FOLDER = str(tmp_path / "p")
    trained.SOLVER.MAX_ITER = 20
    trainer = CFFMTrainer(trained)
    trainer.resume_or_load(resume=False)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("prototype_branch."), name
    assert trainer._last_eval_results["sem_seg"].keys() == keys


def test_clusters_are_the_centres_of_well_separated_groups():
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10]], dtype=np.float32)
    points = (centres[:, None] + random.normal(0, 0.1, (3, 50, 2))).reshape(-1, 2)
    found = cluster(points.astype(np.float32), 3, iterations=10)
    expected = points.reshape(3, 50, 2).mean(1)
    order = [int(np.argmin(np.linalg.norm(found - c, axis=1))) for c in expected]
    np.testing.assert_allclose(found[order], expected, atol=1e-4)


def test_fewer_vectors_than_clusters_give_a_cluster_each():
    vectors = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]], dtype=np.float32)
    assert sorted(cluster(vectors, 100, iterations=10).tolist()) == [[0.0, 1.0], [2.0, 3.0]]


def test_embeddings_that_are_not_finite_are_an_error_that_names_the_frame(
    trained, tiny_vspw, tmp_path
):
    trained.MODEL.PIXEL_STD = [0.0, 1.0, 1.0]
    with pytest.raises(FloatingPointError, match=r"Video v0, .*v0/origin/\d+.jpg.*NaN"):
        make_prototypes(trained, [tiny_vspw.val], tmp_path / "p")
    assert list((tmp_path / "p").glob("*.pt")) == []
