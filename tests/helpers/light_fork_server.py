"""The fork server without torch, for tests of what it does itself. A worker imports what it needs."""

from __future__ import annotations

import sys

from harness.orchestration.process import fork_server

if __name__ == "__main__":
    fork_server.PRELOADED = ("harness.orchestration.worker",)
    fork_server.main(int(sys.argv[1]), sys.argv[2:])
