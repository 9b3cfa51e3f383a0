"""Studies: the command line, the files of results, and the pages that rest on the committed ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from experiments import __main__ as command
from experiments import report, table2_page
from experiments.measured_page import FOLDERS, NAMES
from experiments.results import COMMITTED, REPOSITORY, TRIALS, RefusedError, Result, command_line, load, save
from experiments.studies import STUDIES
from experiments.study import Outcome, Study

TASKS = ("rt60", "log rt60", "log rt60_mid", "c50")


def made_up(study="table2", seed=0, data=("paper", "synthetic"), result=None, **key) -> Result:
    """Return a result of a study."""
    return Result(
        study=study,
        key=key,
        seed=seed,
        data={"size": data[0], "speech": data[1]},
        command=f"python -m experiments {study}",
        commit="0123456789",
        machine={"cpu": "a processor", "cores": 2, "threads": 1},
        processor_features=None,
        versions={},
        seconds={"total": 1.0, "training": None},
        result=result or {"rows": []},
    )


def made_up_cell(method: str, tau: float | None, seed: int, r: float, network: str = "paper") -> Result:
    """Return a cell of Table 2 of which every correlation is `r`."""
    errors = {"pearson_r": r, "rmse": 1 - r, "relative_rmse": 1 - r, "bias": 0.0}
    rows = [{"task": task, "test": "seen RIRs"} | errors for task in TASKS]
    rows.append({"task": "volume", "test": "seen RIRs", "accuracy": r, "precision": r, "recall": r})
    result = {"rows": rows, "target_sd": {"seen RIRs": {"rt60": 1.0, "c50": 1.0}}}
    return made_up(seed=seed, result=result, network=network, method=method, tau=tau)


class Counting(Study):
    """A study without computation: its results count how often it ran."""

    name = "counting"
    question = "How often?"
    speech = None

    def __init__(self) -> None:
        self.n_runs = 0

    def keys(self):
        return STUDIES["plateau"].keys()

    def run(self, key, lab, checkpoints):
        self.n_runs += 1
        return Outcome({"n": self.n_runs}, arrays={"n": np.array(self.n_runs)})

    def section(self, results):
        return "## Counting"


@pytest.fixture
def counting(monkeypatch):
    """The study above, among all others."""
    study = Counting()
    monkeypatch.setitem(STUDIES, "counting", study)
    return study


# --- The committed results and pages ----------------------------------------------------------------------------


def test_committed_pages_are_what_the_committed_results_give():
    for name, text in report.pages(COMMITTED).items():
        assert (REPOSITORY / "docs" / name).read_bytes() == text.encode(), f"run python -m experiments report: {name}"
        assert "nan" not in text.replace("tenance", "")


def test_every_committed_result_follows_the_schema():
    of_studies = [path for path in COMMITTED.rglob("*.json") if path.parent.name not in FOLDERS]
    results = [load(path) for path in of_studies]  # which checks names and types
    assert {result.study for result in results} == set(STUDIES)
    for result in results:
        study = STUDIES[result.study]
        speech = {"given": "real"}.get(study.speech, study.speech)
        assert result.data == {"size": "paper", "speech": speech}, result.name
        assert set(result.key) == set(study.keys()[0].settings), result.name


def test_committed_errors_in_measured_rooms_say_where_they_come_from():
    files = [file for folder in FOLDERS for file in sorted((COMMITTED / folder).glob("*.json"))]
    assert len(files) > 5
    for file in files:
        errors = json.loads(file.read_text())
        assert errors.keys() == {"rows", "command", "commit", "machine", "processor_features", "versions"}, file
        assert errors["command"].startswith("python -m experiments measured"), file
        assert {row["estimator"] for row in errors["rows"]} <= NAMES.keys(), file


def test_committed_arrays_are_those_of_figures():
    drawn = {f"{n}-{m}-tau0.1-seed0" for n in ("paper", "paper-varied", "bandwise") for m in ("soft", "hard")}
    assert {path.stem for path in COMMITTED.rglob("*.npz")} == drawn


def test_a_page_that_differs_is_named_and_fails_the_check(tmp_path, capsys):
    save(tmp_path, made_up_cell("soft", 0.1, 0, 0.5))
    arguments = ["report", "--results", str(tmp_path)]
    assert command.main(arguments) == 0
    assert command.main([*arguments, "--check"]) == 1  # no pictures in a trial of one cell
    assert "figure3.png is missing" in capsys.readouterr().err
    (tmp_path / "table2.md").write_text("edited")
    assert command.main([*arguments, "--check"]) == 1
    assert "table2.md is not what the results give" in capsys.readouterr().err


# --- Table 2 ----------------------------------------------------------------------------------------------------


def test_cells_stand_beside_the_papers_figures():
    page = table2_page.page([made_up_cell("hard", 0.1, 0, 0.5), made_up_cell("untrained", None, 0, 0.1)])
    assert "synthetic speech" in " ".join(page.split())
    assert "0.500 (0.879)" in page  # the paper's r of RT60 with hard sampling at tau 0.1
    assert "undecided: too few cells" in page


def test_a_page_is_written_from_cells_of_one_network_alone():
    assert "paper-rooms 1.00 s" in table2_page.page([made_up_cell("soft", 0.1, 0, 0.5, "paper-rooms")])


def test_both_kinds_of_data_stand_beside_the_paper():
    """Each kind of data has its own encoders, and its own networks trained by supervision."""
    levels = {"paper-varied": 0.5, "paper-shared": 0.7}
    cells = [made_up_cell("soft", 0.1, seed, r, network) for seed in range(2) for network, r in levels.items()]
    cells += [made_up_cell("supervised", None, 0, 0.6), made_up_cell("supervised", None, 0, 0.8, "paper-shared")]
    cells += [made_up_cell("hard", 0.1, seed, 0.9, "paper-long") for seed in range(2)]
    page = table2_page.page(cells)
    both = page[page.index("## The paper's table on both kinds of data") : page.index('## network="paper"')]
    lines = both.splitlines()
    assert "| soft | 0.1 | 0.46 | 0.50 ± 0.00 | 0.30 ± 0.00 |" in lines  # RT60: RMSE of 0.2345 s over 0.51 s
    assert "| supervised |  | 0.690 | 0.600 | 0.800 |" in lines  # volume
    assert "| hard | 0.1 | 0.48 |  |  |" in lines  # paper-long is neither
    assert len([line for line in lines if "undecided: too few cells | undecided: too few cells" in line]) == 10


def test_claims_are_decided_by_differences_within_seeds():
    """Differences to the supervised cell of the same seed: 0.01, 0.01, 0.02; to the untrained one 0.1, 0.2, 0.3."""
    cells = [made_up_cell(m, 0.1, seed, 0.7 + 0.1 * seed) for seed in range(3) for m in ("soft", "hard")]
    # A temperature that not all seeds and samplings have does not count.
    cells += [made_up_cell("hard", 1.0, 0, 0.1), made_up_cell("soft", 1.0, 0, 0.1), made_up_cell("soft", 0.01, 1, 0.1)]
    cells += [made_up_cell("supervised", None, seed, 0.69 + 0.1 * seed - 0.01 * (seed == 2)) for seed in range(3)]
    cells += [made_up_cell("untrained", None, seed, 0.6) for seed in range(3)]
    cells += [made_up_cell("soft", 0.1, seed, 0.89 + 0.1 * seed, "paper-varied") for seed in range(2)]
    # At tau 1 the bandwise networks have learned nothing, which is no verdict on those at tau 0.1.
    for seed in range(2):
        cells += [made_up_cell("hard", tau, seed, r, "bandwise") for tau, r in ((0.1, 0.9 + 0.04 * seed), (1.0, 0.1))]
        cells.append(made_up_cell("untrained", None, seed, 0.1 + 0.04 * seed, "bandwise"))
    page = table2_page.page(cells)
    claims = page.splitlines()
    on_par = next(line for line in claims if "on par" in line and "| RT60 |" in line)
    # The mean is 0.0133; the interval reaches 4.303 standard errors of 0.00333.
    assert "| 0.1 | +0.013 | -0.001 to +0.028 | 3 | confirmed" in on_par
    undecided = [line for line in claims if "far behind" in line and "| 3 |" in line]
    assert len(undecided) == 2
    assert all("+0.200 | -0.048 to +0.448 | 3 | undecided" in line for line in undecided)
    varied = page[page.index('claims, network="paper-varied"') :].splitlines()  # beside the same supervised cells
    on_par = next(line for line in varied if "on par" in line and "| RT60 |" in line)
    assert "+0.200 | +0.200 to +0.200 | 2 | confirmed" in on_par
    of_bandwise = page[page.index('claims, network="bandwise"') :].splitlines()
    far_behind = [line for line in of_bandwise if "far behind" in line and "| C50 |" in line]
    assert "| 0.1 | +0.800 | +0.800 to +0.800 | 2 | confirmed" in far_behind[0]
    assert "| 1 | -0.020 |" in far_behind[1]
    assert "| mean | +0.390 |" in far_behind[2]
    assert any("too few cells" in line for line in claims if line.startswith("| position-independent"))


# --- Files of results -------------------------------------------------------------------------------------------


def test_a_saved_result_is_read_back_whole(tmp_path):
    result = made_up_cell("soft", 0.1, 2, 0.5)
    path = save(tmp_path, result, {"five": np.arange(5)})
    assert path == tmp_path / "table2" / "paper-soft-tau0.1-seed2.json"
    assert load(path) == result
    assert np.load(path.with_suffix(".npz"))["five"].tolist() == [0, 1, 2, 3, 4]
    assert len(list(path.parent.iterdir())) == 2  # no unfinished file


def test_a_write_that_fails_leaves_the_old_result(tmp_path):
    result = made_up_cell("soft", 0.1, 0, 0.5)
    path = save(tmp_path, result)
    with pytest.raises(TypeError):
        save(tmp_path, replace(result, result={"rows": object()}))
    assert load(path) == result
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("{", "is not a result: Expecting property name"),
        ({"seconds": None}, "seconds must be of type dict, got None"),
        ({"machine": {"cpu": "x"}}, "the fields of machine must be cores, cpu, threads"),
        ({"seed": 1}, "study, key and seed must be those of its path"),
        ({"extra": 1}, "its fields must be study, key, seed"),
    ],
)
def test_a_broken_result_is_refused_with_its_name(tmp_path, change, reason):
    path = save(tmp_path, made_up_cell("soft", 0.1, 0, 0.5))
    path.write_text(change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RefusedError) as refused:
        load(path)
    assert str(path) in str(refused.value)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_results_of_other_data_are_neither_resumed_nor_reported(tmp_path, capsys):
    save(tmp_path, made_up_cell("soft", 0.1, 0, 0.5))
    arguments = ["table2", "--size", "tiny", "--network", "paper", "--method", "soft", "--tau", "0.1", "--seed", "0"]
    assert command.main([*arguments, "--output", str(tmp_path)]) == 1
    assert "was computed from other data, size paper, synthetic speech" in capsys.readouterr().err
    save(tmp_path, replace(made_up_cell("hard", 0.1, 0, 0.5), data={"size": "tiny", "speech": "synthetic"}))
    assert command.main(["report", "--results", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.endswith("different data: size paper, synthetic speech; size tiny, synthetic speech.")
    assert "\n" not in error


# --- The command ------------------------------------------------------------------------------------------------


def test_help_needs_neither_torch_nor_extras():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'skorch', 'matplotlib', 'umap', 'soundfile']))\n"
        "from experiments.__main__ import main\n"
        "for name in sys.argv[1:]:\n"
        "    try: main([*name.split(), '--help'])\n"
        "    except SystemExit as done: assert done.code == 0"
    )
    commands = ["report", *STUDIES]
    done = subprocess.run(
        [sys.executable, "-c", program, "", *commands], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage:") == len(commands) + 1
    assert all(study.question in " ".join(done.stdout.split()) for study in STUDIES.values())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("table2 --speech /nonexistent", "argument --speech: must be a folder that exists, got '/nonexistent'"),
        ("table2 --tau 0", "argument --tau: must be above 0, got '0'"),
        ("table2 --seed one", "argument --seed: must be of type int, got 'one'"),
        ("held_out --learner bandwize", "argument --learner: invalid choice: 'bandwize'"),
        ("plateau --speech /nonexistent", "argument --speech: must be a folder that exists"),
        ("octaves --size huge", "argument --size: invalid choice: 'huge'"),
        ("report --results /nonexistent", "argument --results: must be a folder that exists"),
        ("nothing", "invalid choice: 'nothing'"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(arguments.split())
    assert refused.value.code == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_folder_without_speech_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "speech").mkdir()
    chosen = ["--size", "tiny", "--speech", str(tmp_path / "speech"), "--output", str(tmp_path / "out"), "--seed", "0"]
    assert command.main(["embedding_size", *chosen, "--cache", str(tmp_path / "cache")]) == 1
    assert "must hold audio files" in capsys.readouterr().err


def test_settings_that_exclude_each_other_are_refused(capsys):
    assert command.main(["table2", "--network", "paper-varied", "--method", "supervised"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_free_settings_are_put_into_the_grid():
    arguments = ["table2", "--network", "paper", "--method", "soft", "untrained", "--tau", "0.5", "--seed", "7"]
    args = command.make_parser().parse_args(arguments)
    names = {key.name for key in command.chosen_keys(STUDIES["table2"], args)}
    assert names == {"paper-soft-tau0.5-seed7", "paper-untrained-seed7"}


def test_trials_do_not_go_where_the_committed_results_are():
    def place(study="table2", **given):
        args = Namespace(**{"size": "paper", "speech": Path("speech"), "output": None} | given)
        return command.output_of(args, STUDIES[study])

    assert place() == place("octaves") == COMMITTED
    assert place(size="tiny") == place(speech=None) == place("octaves", size="tiny") == TRIALS
    assert place(size="tiny", output=Path("mine")) == Path("mine")


def test_finished_results_are_not_computed_again(tmp_path, counting, capsys):
    arguments = ["counting", "--size", "tiny", "--sampling", "soft", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    files = sorted((tmp_path / "counting").glob("*.json"))
    assert [path.stem for path in files] == ["soft-tau0.1-seed0", "soft-tau1-seed0"]
    result = load(files[0])
    assert result.data == {"size": "tiny", "speech": None}
    assert result.command.startswith("python -m experiments counting --size tiny")
    assert result.seconds["total"] >= 0
    files[0].unlink()
    assert command.main(arguments) == 0
    assert counting.n_runs == 3
    assert load(files[1]).result == {"n": 2}
    assert "soft-tau1-seed0: finished before" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.checkpoints"))


def test_a_result_that_another_process_computes_is_left_to_it(tmp_path, counting):
    arguments = ["counting", "--size", "tiny", "--sampling", "soft", "--tau", "1", "--output", str(tmp_path)]
    counting.free = {"tau": float}
    with command.claimed(tmp_path / "counting" / "soft-tau1-seed0.checkpoints") as folder:
        assert folder is not None
        assert command.main(arguments) == 0
        assert counting.n_runs == 0
    assert command.main(arguments) == 0
    assert counting.n_runs == 1


def test_interruption_ends_with_one_line_and_nothing_half_written(tmp_path, counting, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(counting, "run", interrupted)
    assert command.main(["counting", "--size", "tiny", "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted. Finished results are kept; the same command resumes."
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_sizes_and_keys_cannot_be_changed():
    from experiments.data import SIZES

    with pytest.raises(FrozenInstanceError):
        SIZES["paper"].train_clips = 1
    with pytest.raises(FrozenInstanceError):
        STUDIES["table2"].keys()[0].seed = 1
    assert set(SIZES) == set(command.SIZES)


def test_commands_are_recorded_without_folders_of_the_machine(tmp_path):
    folder = tmp_path / "LibriSpeech" / "train-clean-100"
    folder.mkdir(parents=True)
    shown = command_line(["table2", "--speech", os.fspath(folder), "--seed", "1"])
    assert shown == "python -m experiments table2 --speech LibriSpeech/train-clean-100 --seed 1"


def test_pictures_are_drawn_from_results(tmp_path):
    pytest.importorskip("matplotlib")
    from experiments.pictures import draw_all

    summary = {"count": 3.0, "min": 0.1, "5%": 0.2, "50%": 0.5, "mean": 0.6, "95%": 0.9, "max": 1.0}
    labels = dict.fromkeys(("upstream", "downstream"), dict.fromkeys(("rt60", "c50", "volume"), summary))
    plane = {"plane": [[0, 1], [1, 0], [2, 2]], "response": [0, 1, 2], "silhouette": {"rir": 0.5, "speaker": 0.1}}
    found = {"planes": {"soft": plane, "hard": plane}, "five_rooms": {"rt60": [0.3, 0.5, 0.8], "c50": [5.0, 9.0, 12.0]}}
    pictures = [
        made_up("figures", result=labels, figure="labels", network=None),
        made_up("figures", result=found, figure="embeddings", network="paper"),
    ]
    length = [load(path) for path in (COMMITTED / "recording_length").glob("*.json")]
    drawn = list(draw_all({"figures": pictures, "recording_length": length}, tmp_path))
    assert {path.name for path in drawn} == {"figure3.png", "figure4_paper.png", "recording_length.png"}
    assert all(path.stat().st_size > 5_000 for path in drawn)
