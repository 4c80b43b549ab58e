"""Prints the peak resident memory of a process that reads every image of a packed set twice, in random order.

python benchmarks/memory_of_reading.py FOLDER      {"before": bytes, "opened": bytes, "peak": bytes}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset
from harness.data.store.pack import read_pack
from harness.platform.memory import peak_rss


def main(folder: Path) -> dict[str, int]:
    before = peak_rss()
    pack = read_pack(folder)
    if pack is None:
        raise SystemExit(f"no pack in {folder}")
    dataset = Dataset(pack, "packed", "packed")
    opened, rng = peak_rss(), np.random.default_rng(0)
    for _ in range(2):
        for i in rng.permutation(len(dataset)).tolist():
            sample = dataset[i]
            assert sample.instances.masks is not None
            sample.image.max()
            sample.instances.masks.pixels.max()
    return {"before": before, "opened": opened, "peak": peak_rss()}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
