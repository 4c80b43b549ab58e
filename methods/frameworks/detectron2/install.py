"""`python -m methods.frameworks.detectron2.install`: install detectron2, unless it is installed already.

The package index has no release of it, but a build of its main branch of 2024, as a wheel tagged for Python 3.10. Its
Python part runs on later versions too. Its compiled part is not needed, because torchvision has NMS and RoIAlign.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[3] / "requirements" / "detectron2.txt"


def command() -> list[str]:
    """The command that installs the pinned build into this environment."""
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--python-version", "3.10", "--require-hashes"),
        *("--target", sysconfig.get_path("purelib"), "-r", str(REQUIREMENTS)),
    ]


def main() -> int:
    if importlib.util.find_spec("detectron2") is not None:
        return 0
    return subprocess.run(command(), check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
