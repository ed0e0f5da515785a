"""A config file runs nothing, whoever reads it; its bases are files of this machine."""

import re

import pytest
from detectron2.config import get_cfg

from cffm_plugin.config import add_cffm_config, load_config

PAYLOADS = {
    "a function": '!!python/object/apply:os.mkdir ["{made}"]',
    "an expression": "!!python/object/apply:eval [\"__import__('os').mkdir('{made}')\"]",
    "a class": '!!python/object/new:os.mkdir ["{made}"]',
    "a module": "!!python/module:antigravity",
    "a name": "!!python/name:os.system",
}


def through_load_config(file):
    return load_config(str(file))


def through_detectron2(file):
    cfg = get_cfg()
    add_cffm_config(cfg)
    cfg.merge_from_file(str(file))
    return cfg


def through_a_clone(file):
    cfg = get_cfg()
    add_cffm_config(cfg)
    cfg = cfg.clone()
    cfg.merge_from_file(str(file), allow_unsafe=True)
    return cfg


READERS = [through_load_config, through_detectron2, through_a_clone]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_tag_of_pythons_runs_nothing_and_is_an_error_with_file_and_line(read, payload, tmp_path):
    file = tmp_path / "mine.yaml"
    value = payload.format(made=tmp_path / "made")
    file.write_text(f"MODEL:\n  DEVICE: cpu\nOUTPUT_DIR: {value}\n")
    with pytest.raises(ValueError, match=rf"{re.escape(str(file))}, line 3: .*python/"):
        read(file)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("read", READERS)
def test_a_tag_in_a_base_runs_nothing_and_the_error_names_the_base(read, tmp_path):
    base, file = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text(f'OUTPUT_DIR: !!python/object/apply:os.mkdir ["{tmp_path}/made"]\n')
    file.write_text("_BASE_: base.yaml\n")
    with pytest.raises(ValueError, match=r"base\.yaml, line 1: "):
        read(file)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("scheme", ["http", "https", "detectron2", "file"])
def test_a_base_on_the_network_is_refused(read, scheme, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"_BASE_: {scheme}://127.0.0.1:9/base.yaml\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: _BASE_ is .*on the network.*Download"):
        read(file)


@pytest.mark.parametrize("read", READERS)
def test_bases_are_merged_key_by_key_the_later_over_the_earlier(read, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/first.yaml").write_text("MODEL: {DEVICE: a}\nSOLVER: {BASE_LR: 0.5}\n")
    (tmp_path / "second.yaml").write_text("MODEL: {DEVICE: b, WEIGHTS: w}\n")
    file = tmp_path / "mine.yaml"
    file.write_text("_BASE_: [deep/first.yaml, second.yaml]\nMODEL: {WEIGHTS: mine}\n")
    cfg = read(file)
    assert (cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.SOLVER.BASE_LR) == ("b", "mine", 0.5)


def test_a_tuple_by_its_tag_is_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("SOLVER:\n  STEPS: !!python/tuple [3, 5]\n")
    assert load_config(str(file)).SOLVER.STEPS == (3, 5)


BROKEN = {
    "no mapping": ("- a\n- b\n", "expected config keys"),
    "no YAML": ("MODEL: [\n", "line 2: this is not YAML"),
    "Latin-1": ("OUTPUT_DIR: \xfcbung\n".encode("latin-1"), "this is not YAML"),
    "nested without end": ("A: " + "[" * 100_000, "this is not YAML"),
    "based on itself": ("_BASE_: mine.yaml\n", "itself based on this file"),
    "a base that is no name": ("_BASE_: 3\n", "_BASE_: expected a file"),
    "a missing base": ("_BASE_: nowhere.yaml\n", r"there is no file .*nowhere\.yaml"),
    "keys over a value": ("_BASE_: base.yaml\nOUTPUT_DIR: {A: 1}\n", "OUTPUT_DIR holds keys here"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_that_names_it(read, text, message, tmp_path):
    (tmp_path / "base.yaml").write_text("OUTPUT_DIR: somewhere\n")
    file = tmp_path / "mine.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=rf"mine\.yaml.*{message}"):
        read(file)


EVAL = "!!python/object/apply:eval"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "expression, sizes",
    [
        # x * 0.1 * 640 for x of 5, 6, 7, and rounded down: 448.00000000000006 and 716.8 too
        ("[int(x * 0.1 * 640) for x in range(5, 8)]", (320, 384, 448)),
        ("[int(x * 0.1 * 1024) for x in range(5, 8)]", (512, 614, 716)),
        ("[ int(side*2*1.5) for side in range(1,3) ]", (3, 6)),
        ("[int(x * 0.1 * 640) for x in range(5, 5)]", ()),
    ],
)
def test_maskformers_list_of_sizes_is_understood(read, expression, sizes, tmp_path):
    file, base = tmp_path / "mine.yaml", tmp_path / "base.yaml"
    base.write_text(f'INPUT:\n  MIN_SIZE_TRAIN: {EVAL} ["{expression}"]\n')
    file.write_text("_BASE_: base.yaml\nINPUT: {MAX_SIZE_TRAIN: 2048}\n")
    cfg = read(file)
    assert sizes == cfg.INPUT.MIN_SIZE_TRAIN and cfg.INPUT.MAX_SIZE_TRAIN == 2048


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "value",
    [
        f'{EVAL} ["[int(x * 0.1 * y) for x in range(5, 21)]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for y in range(5, 21)]"]',
        f'{EVAL} ["[int(x ** 0.1 * 640) for x in range(5, 21)]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for x in range(5, 21) if x]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for x in range(5, 10**9)]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for x in range(0, 99999)]"]',
        f'{EVAL} ["[int(x * 1e9 * 640) for x in range(5, 21)]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for x in range(5, 21)] + [1]"]',
        f'{EVAL} ["[print(x * 0.1 * 640) for x in range(5, 21)]"]',
        f'{EVAL} ["[int(x * 0.1 * 640) for x in range(5, 21)]", {{}}]',
        f'{EVAL} ["[[x, 2 * x] for x in [32, 64]]"]',
        f"{EVAL} [5]",
        f"{EVAL} []",
        f"{EVAL} text",
        f'{EVAL} {{args: ["[int(x * 0.1 * 640) for x in range(5, 21)]"]}}',
        '!!python/object/new:eval ["[int(x * 0.1 * 640) for x in range(5, 21)]"]',
        '!!python/object/apply:exec ["[int(x * 0.1 * 640) for x in range(5, 21)]"]',
    ],
)
def test_no_other_expression_is_and_the_error_says_what_to_write(read, value, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"INPUT:\n  MIN_SIZE_TRAIN: {value}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml, line 2: .*such as MIN_SIZE_TRAIN: \[320, "):
        read(file)
