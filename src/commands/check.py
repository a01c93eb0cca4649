"""`calcarine check`: a doctor for data, before anything is trained on them."""

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..front_door import enter
from .training import RunCommand

if TYPE_CHECKING:
    from ..data.doctor.examine import Examination

_SUMMARY = "say what is wrong with data before anything is trained on them"
_SOURCE = "--data.source."
_ENDS = """\
Of single-trial betas (Betas) any --data.source.NAME is taken, as train takes it.

Each line is an error, a warning or a note, and says what to do.
  error    a run would stop there, or learn from the wrong rows
  warning  a run goes on; something is likely a mistake
  note     good to know
The exit status is 2 where there is an error, and else 0; with --strict it is 2 where there is a warning, too.
Nothing is written."""


def _main(args: Sequence[str]) -> int:
    return enter(args, _check)


def _check(args: Sequence[str]) -> None:
    parser = ArgumentParser(
        "calcarine check",
        description=f"{_SUMMARY.capitalize()}.",
        epilog=_ENDS,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("root", type=Path, metavar="DIR", help="the folder, or the file where the format is one")
    parser.add_argument("--format", metavar="NAME", help="a source such as Folder or TVSD; default: by the files")
    parser.add_argument("--subject", type=_subject, nargs="+", metavar="N", help="only these subjects; default all")
    parser.add_argument("--noise_ceiling", type=Path, metavar="PATH", help="as --data.source.noise_ceiling")
    parser.add_argument("--images", type=Path, metavar="DIR", help="as --data.source.images")
    parser.add_argument("--missing", choices=("refuse", "allow"), default="refuse", help="as --data.source.missing")
    parser.add_argument("--unlisted", choices=("refuse", "drop"), default="refuse", help="as --data.source.unlisted")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of lines")
    parser.add_argument("--strict", action="store_true", help="end with 2 where there is a warning, too")
    options, flags = parser.parse_known_args(_as_own(args))
    if flags and not flags[0].startswith(_SOURCE):
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    _run(options, flags)


def _as_own(args: Sequence[str]) -> list[str]:
    """The flags, those of train that check has too under its own names."""
    own = {f"{_SOURCE}{name}": f"--{name}" for name in ("subject", "noise_ceiling", "images", "missing", "unlisted")}
    own["--data.source"] = "--format"
    args = list(args)
    for place in range(len(args) - 1, 0, -1):  # a flag of the source that argparse does not know takes its value along
        flag = args[place - 1]
        if flag.startswith(_SOURCE) and "=" not in flag and flag not in own and not args[place].startswith("--"):
            args[place - 1 : place + 1] = [f"{flag}={args[place]}"]
    return ["".join((own.get(flag, flag), *rest)) for flag, *rest in (arg.partition("=") for arg in args)]


def _subject(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _source_flags(flags: Sequence[str]) -> dict[str, Any]:
    """Flags of Betas, the source that may need some to be read at all, by their names."""
    if not flags:
        return {}
    from jsonargparse import ArgumentParser as TypedParser

    from ..data.sources.betas.source import Betas
    from ..run.flags import MODE, parse_flags

    parser = TypedParser("calcarine check", exit_on_error=False, parser_mode=MODE, allow_abbrev=False)
    parser.add_class_arguments(Betas, "data.source", skip={"root", "subject", "noise_ceiling", "images", "shuffle"})
    named = {flag.partition("=")[0].removeprefix(_SOURCE) for flag in flags if flag.startswith(_SOURCE)}
    parsed = parse_flags(parser, flags).data.source
    return {name: value for name, value in vars(parsed).items() if name in named}


def _run(options: Namespace, flags: Sequence[str]) -> None:
    from ..data.doctor.case import Asked
    from ..data.doctor.examine import examine

    asked = Asked(
        options.subject, options.noise_ceiling, options.images, options.missing, options.unlisted, _source_flags(flags)
    )
    found = examine(options.root, options.format, asked)
    sys.stdout.write((_as_json(found) if options.json else _as_lines(found)) + "\n")
    errors, warnings, _ = _totals(found)
    if errors or (options.strict and warnings):
        raise InputError(
            f"{options.root}: expected data without faults, found {_counted(found)}; see what each line says"
        )


def _totals(found: list["Examination"]) -> list[int]:
    """Errors, warnings and notes."""
    counts = [examination.chart.counts() for examination in found]
    return [sum(count[severity] for count in counts) for severity in ("error", "warning", "note")]


def _as_lines(found: list["Examination"]) -> str:
    """Errors last, where they are seen first."""
    lines = []
    for examination in found:
        place = {"note": 0, "warning": 1, "error": 2}
        symptoms = sorted(examination.chart.symptoms, key=lambda symptom: place[symptom.severity])
        lines += [symptom.line(examination.root) for symptom in symptoms]
    return "\n".join([*lines, _counted(found)])


def _counted(found: list["Examination"]) -> str:
    words = zip(_totals(found), ("error", "warning", "note"), strict=True)
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in words)


def _as_json(found: list["Examination"]) -> str:
    """What was found, for scripts: `recordings`, each with its `symptoms`, and the totals."""
    errors, warnings, notes = _totals(found)
    recordings = [
        {
            "root": str(examination.root),
            "format": examination.format,
            "symptoms": [
                {
                    "severity": symptom.severity,
                    "check": symptom.check,
                    "file": symptom.file(examination.root),
                    "found": symptom.found,
                    "remedy": symptom.remedy,
                }
                for symptom in examination.chart.symptoms
            ],
        }
        for examination in found
    ]
    return json.dumps({"errors": errors, "warnings": warnings, "notes": notes, "recordings": recordings}, indent=2)


CHECK = RunCommand("check", _SUMMARY, "calcarine check DIR", _main)
