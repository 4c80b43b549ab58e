#!/usr/bin/env bash
# Every figure that needs a GPU, in two parts (525 s and 200 s), from the project's root:
#
#   bash benchmarks/gpu/measure.sh a b           both parts
#   bash benchmarks/gpu/measure.sh --rehearse    every step on the CPU, at the smallest size, with fixed limits
#
# Logs, figures and records are left in $OUT (default: results/runs/gpu); `python benchmarks/gpu/collect.py $OUT` makes
# tables and results/speed-gpu.md of them, also of half a run. PYTHON names the interpreter. Where it lacks packages and
# there is no network, prepare.sh gathers them beforehand in .gpu/, with real images.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
site=${GPU_SITE:-$("$python" -c "import tempfile; print(tempfile.gettempdir())")/harness-gpu-site}
if [ -d .gpu/whl ] && ! "$python" -c "import detectron2, pydantic" 2>/dev/null && [ ! -d "$site/detectron2" ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .gpu/whl/*.whl
  # its compiled part, which is not needed, is tagged for another Python, so pip refuses the file
  "$python" -m zipfile -e .gpu/detectron2.zip "$site"
fi
[ -d "$site" ] && export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" benchmarks/gpu/run_steps.py "$@"
