"""Search spaces: what a file may say, what is drawn, and the flags that come of it."""

import optuna
import pytest
from calcarine.errors import InputError
from calcarine.study.search.flags import check_flags, corners, find, make_flags, own_values
from calcarine.study.search.space import read_space

SPACE = """
model.head.dropout: {type: float, low: 0.0, high: 0.5, when: {model.head.use_dropout: true}}
model.head.use_dropout: {type: categorical, choices: [true, false]}
model.optimizer: {type: categorical, choices: [Adam, SGD]}
model.optimizer.lr: {type: float, low: 1e-5, high: 1.0e-2, log: true}
model.optimizer.momentum: {type: float, low: 0.0, high: 0.9, when: {model.optimizer: SGD}}
model.head.hidden_dims.0: {type: int, low: 0.125, high: 2.0, log: true, times: input_dim}
"""
CONFIG = {
    "model": {
        "class_path": "calcarine.models.EncodingModule",
        "init_args": {
            "head": {
                "class_path": "calcarine.models.FullyConnectedHead",
                "init_args": {"hidden_dims": [200, 50], "dropout": 0.1, "use_dropout": True},
            },
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e-3, "momentum": 0.5}},
        },
    }
}


@pytest.fixture
def space(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    return read_space(tmp_path / "space.yaml").scaled(100)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.b: 3", "a.b: expected {type: …}, found 3"),
        ("a.b: {type: real}", "expected a type of float, int, categorical, found 'real'"),
        ("a.b: {type: float, low: 0, high: 1, lg: true}", "found 'lg'"),
        ("a.b: {type: float, low: 2, high: 1}", "found an empty range from 2 to 1"),
        ("a.b: {type: float, low: 0}", "expected a number as high, found None"),
        ("a.b: {type: float, low: x, high: 1}", "expected a number as low, found 'x'"),
        ("a.b: {type: float, low: 0, high: 1, log: true}", "expected low above 0 beside log"),
        ("a.b: {type: int, low: 0.5, high: 3}", "expected whole numbers"),
        ("a.b: {type: int, low: 1, high: 3, step: 0}", "expected a step above 0"),
        ("a.b: {type: float, low: 0.5, high: 3, times: input_dim}", "expected an int"),
        ("a.b: {type: int, low: 1, high: 3, times: width}", "expected times: input_dim, found 'width'"),
        ("a.b: {type: categorical, choices: []}", "expected choices: [VALUE, …], found []"),
        ("a.b: {type: categorical, choices: [[1]]}", "write a list as text"),
        ("a.b: {type: float, choices: [1]}", "use type: categorical"),
        ("a.b: {type: float, low: 0, high: 1, when: {c.d: true}}", "expected when to name a flag of this file"),
        ("a.b: {type: int, low: 0, high: 1, when: {a.b: 1}}", "expected when to name a choice of a.b (none), found 1"),
        ("- a.b", "expected flags and what they may be, found list"),
        ("a.b: {type: [", "expected YAML"),
    ],
)
def test_a_wrong_space_is_one_line(line, message, tmp_path):
    (tmp_path / "space.yaml").write_text(line)
    with pytest.raises(InputError) as error:
        read_space(tmp_path / "space.yaml")
    assert message in str(error.value)
    assert "space.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_conditions_that_wait_for_each_other_are_refused(tmp_path):
    text = "a: {type: categorical, choices: [1], when: {b: 1}}\nb: {type: categorical, choices: [1], when: {a: 1}}"
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(InputError, match="wait for each other"):
        read_space(tmp_path / "space.yaml")


def test_draws_stay_in_the_space_and_follow_conditions(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(60)]
    assert all(space.contains(values) for values in drawn)
    for values in drawn:
        assert ("model.head.dropout" in values) == values["model.head.use_dropout"]
        assert ("model.optimizer.momentum" in values) == (values["model.optimizer"] == "SGD")
        assert 12 <= values["model.head.hidden_dims.0"] <= 200
    widths = [values["model.head.hidden_dims.0"] for values in drawn]
    assert sum(width < 50 for width in widths) == pytest.approx(30, abs=12)  # half of the range by its logarithm


def test_flags_name_classes_first_and_fill_lists(space):
    values = {
        "model.optimizer.momentum": 0.5,
        "model.head.use_dropout": True,
        "model.head.hidden_dims.0": 64,
        "model.optimizer": "SGD",
    }
    flags = make_flags(values, CONFIG)
    assert flags == [
        "--model.optimizer=SGD",
        "--model.optimizer.momentum=0.5",
        "--model.head.use_dropout=true",
        "--model.head.hidden_dims=[64, 50]",
    ]


def test_one_value_for_all_places_becomes_a_list():
    assert make_flags({"model.head.dropout.1": 0.3}, CONFIG) == ["--model.head.dropout=[0.1, 0.3]"]
    searched = ["model.head.dropout.0", "model.head.dropout.1"]  # of which the second is not active now
    assert make_flags({"model.head.dropout.0": 0.3}, CONFIG, searched) == ["--model.head.dropout=[0.3, 0.1]"]
    with pytest.raises(InputError, match="expected a place in a list of 2, found 2"):
        make_flags({"model.head.hidden_dims.2": 3}, CONFIG)


def test_a_number_is_not_a_truth_value():
    assert make_flags({"a": 1, "b": 0, "c": False, "d": None}, {}) == ["--a=1", "--b=0", "--c=false", "--d=null"]


def test_a_config_is_read_by_short_and_long_names():
    assert find(CONFIG, "model.optimizer.lr") == find(CONFIG, "model.init_args.optimizer.init_args.lr") == 1e-3
    assert find(CONFIG, "model.optimizer") == "SGD"
    assert find(CONFIG, "model.head.hidden_dims.1") == 50
    assert find(CONFIG, "model.head.dropout.1") == 0.1  # one value for all places
    with pytest.raises(KeyError):
        find(CONFIG, "model.head.width")


def test_the_configurations_own_values(space):
    assert own_values(space, CONFIG) == {
        "model.head.use_dropout": True,
        "model.head.dropout": 0.1,
        "model.optimizer": "SGD",
        "model.optimizer.lr": 1e-3,
        "model.optimizer.momentum": 0.5,
        "model.head.hidden_dims.0": 200,
    }
    assert own_values(space, {}) is None


def test_own_values_out_of_the_space_are_none(tmp_path):
    (tmp_path / "space.yaml").write_text("model.optimizer.lr: {type: float, low: 0.1, high: 1}")
    assert own_values(read_space(tmp_path / "space.yaml"), CONFIG) is None


def test_corners_hold_every_end_and_choice_within_its_conditions(space):
    found = list(corners(space))
    for flag, parameter in space.parameters.items():
        assert {values[flag] for values in found if flag in values} >= set(parameter.extremes())
    assert all(space.only_active(values) == values for values in found)
    assert len(found) <= 4


def test_what_the_parser_refuses_is_refused(space):
    def parse(flags):
        if "--model.optimizer=Adam" in flags:
            raise InputError("--model.optimizer: no")

    with pytest.raises(InputError, match=r"model\.optimizer: no"):
        check_flags(space, CONFIG, parse)


def test_a_grid_is_every_combination_once(tmp_path):
    text = (
        "a: {type: categorical, choices: [x, y]}\nb: {type: int, low: 1, high: 3, when: {a: x}}\n"
        "c: {type: float, low: 0.0, high: 0.3, step: 0.1}"
    )
    (tmp_path / "space.yaml").write_text(text)
    grid = read_space(tmp_path / "space.yaml").grid()
    assert len(grid) == (3 + 1) * 4
    assert len({tuple(values.items()) for values in grid}) == len(grid)
    (tmp_path / "space.yaml").write_text("a: {type: float, low: 0.0, high: 1.0}")
    with pytest.raises(InputError, match="--sampler grid: a has no finite grid"):
        read_space(tmp_path / "space.yaml").grid()
