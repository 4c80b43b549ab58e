#!/usr/bin/env bash
# Makes .gpu/ (git-ignored, about 60 MiB) for a machine that has Python 3.12, torch and a GPU, but no network: the wheels
# such an image lacks, detectron2, and real images if there are any. From the project's root:
#
#   bash benchmarks/gpu/prepare.sh [FOLDER]      FOLDER holds sartorius/train.csv and sartorius/train/*.png
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
data=${1:-${HARNESS_DATA:-../shared/data}}
mkdir -p .gpu/whl
"$python" -m pip download -q --no-deps --python-version 3.12 --only-binary=:all: -d .gpu/whl \
  pydantic==2.14.4 pydantic_core==2.50.5 annotated_types typing_inspection pycocotools==2.0.11 hydra_core==1.3.8 \
  omegaconf==2.3.1 yacs==0.1.8 termcolor platformdirs setuptools==80.10.2
# these have no wheels on the index
"$python" -m pip wheel -q --no-deps -w .gpu/whl fvcore==0.1.5.post20221221 iopath==0.1.10 antlr4-python3-runtime==4.9.3
"$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.10 -d .gpu sal-detectron2==0.7.2
mv .gpu/sal_detectron2*.whl .gpu/detectron2.zip
if [ -f "$data/sartorius/train.csv" ]; then
  mkdir -p .gpu/data/sartorius/train
  cp "$data"/sartorius/train/*.png .gpu/data/sartorius/train/
  cp "$data"/sartorius/train.csv .gpu/data/sartorius/
fi
du -sh .gpu
