"""Who may import whom, and what works without detectron2."""

import ast
import re

import pytest
from fresh_process import ROOT, run_without

PACKAGE = ROOT / "cffm_plugin"

# Folder of the package -> the others that it may import.
MAY_IMPORT = {
    "core": set(),
    "families": {"core"},
    "modeling": {"core", "families"},
    "data": {"core"},
    "pictures": set(),
    "evaluation": {"data", "core"},
    "checkpoint": {"core", "modeling"},
    "inference": {"core", "modeling", "data", "checkpoint"},
    "engine": {*("core", "modeling", "data", "pictures", "evaluation", "checkpoint", "inference")},
    # Leaves: nothing above imports them.
    "synthetic": {"data"},
    "doctor": {"core", "data", "modeling", "evaluation", "inference", "video"},
    "video": {"core", "data", "pictures", "modeling", "inference", "engine"},
    "web": {"checkpoint", "inference", "engine", "video"},
    "export": {"core", "modeling", "data", "inference"},
    "benchmark": {"core", "modeling", "data", "inference", "engine", "synthetic"},
    "experiments": set(),
    "model_zoo": {"checkpoint", "engine", "modeling"},
    "hub": {"data", "modeling", "checkpoint", "inference", "engine", "saving"},
    # What persons type: all of it.
    "cli": {
        *("core", "data", "modeling", "evaluation", "checkpoint", "inference", "engine"),
        *(
            "synthetic",
            "web",
            "doctor",
            "video",
            "export",
            "benchmark",
            "experiments",
            "model_zoo",
            "hub",
            "report",
        ),
        "pictures",
    },
    "report": {"data", "evaluation"},
}
NOT_IN_CORE = {"detectron2", "fvcore", "timm", "torchvision", "cv2", "numpy"}
TOP_FILES = {file.stem for file in PACKAGE.glob("*.py")}
# File at the top of the package -> the folders that it may import. The others import none.
FILES_MAY_IMPORT = {
    "clip_dataset": {"core", "data"},
    "config": {"core"},
    "models": {"core", "families"},
    "registration": {"data", "modeling", "evaluation", "synthetic"},
    "video_segmentor": {"core"},
}
# The front door is the exception: what it is asked for may import a leaf, when it is asked. (So
# does add_cffm_config, which imports `registration`.)
WHEN_ASKED = {"models": {"hub"}, "video_segmentor": {"video"}}
FRONT_DOOR = {"__init__", "clip_dataset", "models", "saving"}  # which no folder imports


def nodes_of(tree, *, when_asked=True):
    """All nodes, or those alone that run when the file is imported."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if when_asked or not (isinstance(node, ast.FunctionDef) or is_for_types):
            yield from nodes_of(node, when_asked=when_asked)


def imports_of(file, *, when_asked=True):
    """Absolute dotted names that a file imports, relative imports resolved."""
    package = file.relative_to(ROOT).parent.parts
    for node in nodes_of(ast.parse(file.read_text()), when_asked=when_asked):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += (node.module or "").split(".") if node.module else []
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def test_the_law_speaks_of_every_folder():
    folders = {f.name for f in PACKAGE.iterdir() if f.is_dir() and f.name != "__pycache__"}
    assert set(MAY_IMPORT) == folders


def parts_imported(file, **options):
    """Folders, and files at the top, of the package that one of its files imports."""
    names = (name.split(".") for name in imports_of(file, **options))
    found = {parts[1] for parts in names if parts[0] == "cffm_plugin" and len(parts) > 1}
    return found & (set(MAY_IMPORT) | TOP_FILES)


def reached_by(name):
    """The folders that importing a file at the top imports, by other such files too."""
    seen, waiting = set(), {name}
    while waiting:
        seen |= waiting
        files = waiting & TOP_FILES
        found = [parts_imported(PACKAGE / f"{f}.py", when_asked=False) for f in files]
        waiting = set().union(*found) - seen
    return seen - TOP_FILES


@pytest.mark.parametrize("name", sorted(TOP_FILES))
def test_a_file_at_the_top_imports_only_what_the_architecture_allows(name):
    allowed = FILES_MAY_IMPORT.get(name, set())
    at_once = parts_imported(PACKAGE / f"{name}.py", when_asked=False) - TOP_FILES
    ever = parts_imported(PACKAGE / f"{name}.py") - TOP_FILES
    assert at_once <= allowed
    assert name == "__init__" or ever - allowed == WHEN_ASKED.get(name, set())


def test_the_front_door_imports_nothing_before_it_is_asked():
    assert parts_imported(PACKAGE / "__init__.py", when_asked=False) == {"libraries"}
    assert reached_by("libraries") == set()


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_file_at_the_top_is_no_way_around_the_law(folder):
    """What a folder gets by one it could import itself, or it is core, which imports nothing."""
    allowed = MAY_IMPORT[folder] | {folder, "core"}
    for file in (PACKAGE / folder).rglob("*.py"):
        for name in parts_imported(file) & TOP_FILES:
            assert name not in FRONT_DOOR, f"{file} imports {name}"
            assert reached_by(name) <= allowed, f"{file} imports {name}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_the_architecture_allows(folder):
    files = list((PACKAGE / folder).rglob("*.py"))
    assert files
    for file in files:
        for name in imports_of(file):
            parts = name.split(".")
            if parts[0] != "cffm_plugin" or len(parts) == 1:
                continue
            if folder == "core":
                assert parts[1] == "core", f"{file} imports {name}"
            assert parts[1] in MAY_IMPORT[folder] | TOP_FILES | {folder}, f"{file} imports {name}"
            if {folder, parts[1]} == {"data", "evaluation"}:  # not each other's insides
                assert len(parts) <= 3, f"{file} imports {name}"


def test_nothing_asks_of_which_kind_a_prediction_is():
    """Neither by its class, outside the one function that takes what heads give, nor otherwise."""
    asked = re.compile(r"isinstance\([^\n]*(Prediction|Coarse)|\.gives_logits|[\"']gives_logits")
    asking = {file.name for file in PACKAGE.rglob("*.py") if asked.search(file.read_text("utf-8"))}
    assert asking == {"prediction.py", "mask_prediction.py"}


@pytest.mark.parametrize("folder", ["engine", "evaluation"])
def test_training_and_evaluation_know_no_reports(folder):
    """Commands make them, when a job has ended."""
    for file in (PACKAGE / folder).rglob("*.py"):
        assert "report" not in file.read_text().lower(), file


METRIC_NAME = re.compile(r"mIoU|fwIoU|mACC|pACC|IoU-?|m?VC(\d.*)?|TA(\d.*)?|strict[ _]VC")


def strings_of(file):
    """The string constants of a file, docstrings left out."""
    tree = ast.parse(file.read_text())
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return [n.value for n in constants if isinstance(n.value, str) and id(n) not in docstrings]


def test_metric_names_are_written_in_one_module():
    writing = {
        file.relative_to(ROOT).as_posix()
        for folder in (PACKAGE, ROOT / "lab", ROOT / "tools")
        for file in folder.rglob("*.py")
        if any(METRIC_NAME.fullmatch(text) for text in strings_of(file))
    }
    assert writing == {"cffm_plugin/results.py"}


def test_core_needs_torch_alone_and_the_package_no_tools_which_need_not_one_another():
    tools = {file.stem for file in (ROOT / "tools").glob("*.py")}
    for folder, forbidden in (
        (PACKAGE / "core", NOT_IN_CORE),
        (PACKAGE, {"tools", "projects", "tests"}),
        (ROOT / "tools", tools),
    ):
        for file in folder.rglob("*.py"):
            found = {name.split(".")[0] for name in imports_of(file)} & forbidden
            assert not found, f"{file} imports {found}"


def test_files_of_the_product_and_functions_stay_small():
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        text = file.read_text()
        if file.relative_to(ROOT).parts[1] in ("core", "modeling"):
            assert len(text.splitlines()) <= 400, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file}: {node.name}"


def test_cffm_runs_without_detectron2_and_what_needs_it_says_how_to_get_it():
    result = run_without(
        ["detectron2"],
        """
        import torch
        import cffm_plugin
        from cffm_plugin.core import CFFM

        assert cffm_plugin.CFFM is CFFM
        out = CFFM(16, 1, num_heads=2)(torch.zeros(1, 4, 16, 5, 5))
        assert out.shape == (1, 16, 5, 5)
        assert not any(name.startswith("detectron2") for name in sys.modules)
        print("CFFM runs")
        """,
        "from cffm_plugin import add_cffm_config",
    )
    assert "CFFM runs" in result.stdout, result.stderr
    assert result.returncode != 0
    assert "needs detectron2" in result.stderr and "make setup" in result.stderr


# Where a config is read beside functions that make a thing of it, and why.
READS_CONFIGS = {
    "config.py": "the keys, their defaults and checks",
    "engine/configs.py": "completes a config before it is frozen",
    "engine/trainer.py": "DefaultTrainer's own interface takes a config and keeps it",
}
MAKES_OF_A_CONFIG = re.compile(r"_?build_\w+|\w*from_config")


def reads_of_configs(text):
    """Lines that take a key of a config, and the functions around them, outermost first."""

    def is_config(node):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name):
                return name.strip("_") == "cfg" or name.endswith("_cfg")
        return False

    def visit(node, functions, nodes_of_configs):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions = (*functions, node.name)
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = ("CfgNode", "CfgNode | None")
            nodes_of_configs = nodes_of_configs | {
                a.arg for a in arguments if a.annotation and ast.unparse(a.annotation) in named
            }
        taken = None
        match node:
            case ast.Attribute(value=value, attr=key):
                taken = key.isupper() and value
            case ast.Subscript(value=value):
                taken = value
            case ast.Call(func=ast.Attribute(value=value, attr="get")):
                taken = value
            case ast.Call(func=ast.Name(id="getattr"), args=[value, *_]):
                taken = value
        if taken and (
            is_config(taken) or (isinstance(taken, ast.Name) and taken.id in nodes_of_configs)
        ):
            yield node.lineno, functions
        for child in ast.iter_child_nodes(node):
            yield from visit(child, functions, nodes_of_configs)

    yield from visit(ast.parse(text), (), frozenset())


def test_a_config_is_read_where_a_thing_is_made_of_it_and_nowhere_else():
    """In functions named from_config, in builders with Detectron2's signature, and in config.py."""
    exceptions = {PACKAGE / name for name in READS_CONFIGS}
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted(set(PACKAGE.rglob("*.py")) - exceptions)
        for line, functions in reads_of_configs(file.read_text())
        if not any(MAKES_OF_A_CONFIG.fullmatch(name) for name in functions)
    ]
    assert not found, "take values, or an object with from_config, at " + ", ".join(found)


def test_every_exception_reads_a_config():
    assert all(list(reads_of_configs((PACKAGE / name).read_text())) for name in READS_CONFIGS)


@pytest.mark.parametrize(
    "line, is_read",
    [
        ("cfg.MODEL.DEVICE", True),
        ("self._cfg.TEST", True),
        ("base_cfg.OUTPUT_DIR = ''", True),
        ("node = cfg['MODEL']", True),
        ("getattr(cfg, 'MODEL')", True),
        ("node.NUM_HEADS", True),  # of a node of a config, by its annotation
        ("cfg.clone()", False),
        ("build(cfg, configs['name'])", False),
        ("spec.device, T.NO_OP", False),
    ],
)
def test_what_the_law_takes_for_reading_a_config(line, is_read):
    assert bool(list(reads_of_configs(f"def f(cfg, node: CfgNode):\n    {line}"))) == is_read
