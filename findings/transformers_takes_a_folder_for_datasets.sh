#!/usr/bin/env bash
# transformers' Trainer does not start where a folder called datasets/ stands.
#
# Guess, written down before it was run: transformers asks whether the library datasets is installed by
# its metadata, so that a folder of that name, without Python in it, changes nothing.
#
# What happens (transformers 5.23.0, accelerate 1.15.0, torch 2.13.0): Python takes any folder on its
# path for a namespace package, and transformers asks for no more than a package that can be found. The
# Trainer then takes `datasets.Dataset` of it, to compare with a plain torch dataset: AttributeError
# before the first step. Without the folder the same lines train.
#
# Why it matters: Detectron2's default place of data is ./datasets, which is a folder of every project in
# its way, this one included; ./datasets is also what people call their data. `python script.py` puts
# the script's folder on the path, `python -m` and notebooks the current one. Cures: run from elsewhere;
# pip install datasets; or call the folder otherwise (DETECTRON2_DATASETS).
#
# Output seen:
#   transformers 5.23.0
#   without the folder: 1 step
#   with an empty folder datasets/: AttributeError: module 'datasets' has no attribute 'Dataset'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
mkdir "$folder/work"
cat > "$folder/work/train.py" <<'PYTHON'
import torch
import transformers


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, x, labels):
        return {"loss": (self.linear(x) - labels).square().mean()}


data = [{"x": torch.ones(3), "labels": torch.zeros(1)} for _ in range(4)]
arguments = transformers.TrainingArguments(
    output_dir="out", max_steps=1, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True
)
try:
    trained = transformers.Trainer(Model(), arguments, train_dataset=data).train()
    print(trained.global_step, "step")
except AttributeError as error:
    print(f"AttributeError: {error}")
PYTHON
cd "$folder/work"
"$folder/venv/bin/python" -c 'import transformers; print("transformers", transformers.__version__)'
without=$("$folder/venv/bin/python" train.py 2> /dev/null | tail -1)
echo "without the folder: $without"
mkdir datasets
with=$("$folder/venv/bin/python" train.py 2> /dev/null | tail -1)
echo "with an empty folder datasets/: $with"
test "$without" = "1 step"
test "$with" = "AttributeError: module 'datasets' has no attribute 'Dataset'"
