"""The `tune.py` command."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..command_line.meant import TUNE
from ..front_door import enter
from ..run.main import answered
from ..run.orphan import end_with_parent
from .crew import MEMBER, run_crew
from .search.options import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study, or this worker's part of it; returns the exit status."""
    return enter(argv, _run)


def _run(argv: Sequence[str]) -> None:
    options = parse(argv, member=MEMBER in os.environ)
    if answered(options.args, program="tune.py", own=TUNE):
        return
    end_with_parent()
    from .outcome.results import conclusion

    if options.workers is not None:
        study = run_crew(options, argv)
    else:
        from ..run.main import quieten
        from .opening import open_session

        quieten()
        session = open_session(options)
        session.run()
        study = session.study
    if not options.member:
        print(conclusion(study, options.folder, options.args), flush=True)  # noqa: T201 what the command answers
