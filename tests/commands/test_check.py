"""`calcarine check`, as it is typed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from calcarine.commands.main import main
from calcarine.data.doctor import files
from trees import write_algonauts, write_algonauts2021, write_folder


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "mine")


def constant(root):
    responses = np.load(root / "responses.npy")
    responses[:, 1] = 4
    np.save(root / "responses.npy", responses)


def test_lines_end_in_what_was_counted(root, capsys):
    assert main(["check", str(root)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"note: {root}: Folder, mine: 12 images of 8 × 6 pixels, 5 targets (float32)")
    assert last == f"0 errors, 0 warnings, {len(lines)} notes"


def test_errors_end_with_2_and_come_last(root, capsys):
    np.save(root / "responses.npy", np.load(root / "responses.npy")[:-1])
    assert main(["check", str(root)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-2].startswith("error: responses.npy: expected 12 rows")
    assert out.splitlines()[-1].startswith("1 error, 0 warnings")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"error: {root}: expected data without faults, found 1 error")


def test_warnings_end_with_2_where_that_is_asked(root, capsys):
    constant(root)
    assert main(["check", str(root)]) == 0
    assert "warning: responses.npy: 1 of 5 targets without any variation (1)" in capsys.readouterr().out
    assert main(["check", str(root), "--strict"]) == 2


def test_json_is_for_scripts(root, capsys):
    constant(root)
    (root / "images/image3.png").write_bytes(b"")
    assert main(["check", str(root), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    (recording,) = told["recordings"]
    assert (recording["root"], recording["format"]) == (str(root), "Folder")
    counts = dict.fromkeys(("error", "warning", "note"), 0)
    for symptom in recording["symptoms"]:
        assert list(symptom) == ["severity", "check", "file", "found", "remedy"]
        counts[symptom["severity"]] += 1
    assert [counts["error"], counts["warning"]] == [told["errors"], told["warnings"]] == [2, 1]
    assert {each["file"] for each in recording["symptoms"] if each["severity"] == "error"} == {"images/image3.png"}


def test_several_recordings_in_one_folder(tmp_path, capsys):
    for name in ("one", "two"):
        write_folder(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert main(["check", str(tmp_path), "--json"]) == 0
    roots = [recording["root"] for recording in json.loads(capsys.readouterr().out)["recordings"]]
    assert roots == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_subjects_that_are_asked_for(tmp_path, capsys):
    write_algonauts2021(tmp_path, subjects=3)
    assert main(["check", str(tmp_path), "--subject", "1", "3"]) == 0
    out = capsys.readouterr().out
    assert "mini track, sub01" in out
    assert "mini track, sub03" in out
    assert "sub02" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: expected a folder or a file of data, found none"),
        (["mine", "--format", "Foldr"], "--format Foldr: expected one of Folder, Algonauts2023"),
        (["mine", "--subject", "2"], "--subject: expected a flag of Folder, which has none such"),
        (["mine", "--data.source.space", "T1w"], "--data.source.space: expected a flag of Folder, which has none such"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(arguments, words, root, monkeypatch, capsys):
    monkeypatch.chdir(root.parent)
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {words}")
    assert len(err.splitlines()) == 1


def test_what_no_format_recognises_says_what_is_near(root, tmp_path, capsys):
    assert main(["check", str(root / "images")]) == 2
    assert f"give {root}" in capsys.readouterr().out
    tree = tmp_path / "outer/challenge"
    write_algonauts(tree)
    assert main(["check", str(tree.parent)]) == 2
    assert f"give {tree}" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty")]) == 2
    assert "no format that is read" in capsys.readouterr().out


def test_a_named_format_says_what_is_missing(root, capsys):
    (root / "responses.npy").unlink()
    assert main(["check", str(root), "--format", "Folder"]) == 2
    assert "error: responses.npy: expected an array (stimuli, targets), found no such file" in capsys.readouterr().out
    assert main(["check", str(root), "--format", "Algonauts2023"]) == 2
    assert main(["check", str(root), "--format", "Algonauts2021"]) == 2
    assert main(["check", str(root), "--format", "ItSpikes"]) == 2


def test_files_that_may_not_be_read(root, monkeypatch, capsys):
    closed = root / "images/image3.png"
    monkeypatch.setattr(files.os, "access", lambda path, right: path != closed)
    assert main(["check", str(root)]) == 2
    assert "error: images/image3.png: a file that you may not read (-rw" in capsys.readouterr().out


def test_a_failing_check_costs_no_other(root, monkeypatch, capsys):
    constant(root)
    monkeypatch.setattr("calcarine.data.doctor.scale.check", lambda case: 1 / 0)
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    assert "warning: responses.npy: could not be checked (ZeroDivisionError: division by zero)" in out
    assert "without any variation" in out
    assert "could not be read" not in out


def test_it_imports_neither_torch_nor_lightning(root):
    code = (
        "import sys\n"
        "from calcarine.commands.main import main\n"
        f"assert main(['check', {str(root)!r}]) == 0\n"
        "sys.exit(' '.join({'torch', 'lightning', 'pandas', 'matplotlib'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_says_how_it_ends(capsys):
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    out = capsys.readouterr().out
    assert "with --strict it is 2 where there is a warning, too" in out
    assert "Nothing is written" in out
