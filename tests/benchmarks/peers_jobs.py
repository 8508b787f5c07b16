"""How scripts that run in the peers' Python are given jobs: one a line, as JSON."""

import contextlib
import io
import json
import sys
from collections.abc import Callable


def answer_jobs(work: Callable[[dict], dict]) -> None:
    """Answer each job of standard input with a line of JSON, until it ends."""
    answers = sys.stdout
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()):  # peers print
            answer = work(json.loads(line))
        print(json.dumps(answer), file=answers, flush=True)
