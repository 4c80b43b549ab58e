"""The one exception that means "the person at the keyboard can mend this"."""

from __future__ import annotations


class HarnessError(Exception):
    """A mistake a user can cause, said in one line: what, where, and what to type next.

    The command line prints the message without a traceback and exits with status 2. Anything else that
    escapes is a bug of ours and keeps its traceback.
    """
