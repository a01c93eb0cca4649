"""The command line, in one process: what is accepted, what is refused and how."""

import re
from collections import Counter
from math import prod

import pytest
import yaml
from calcarine.errors import InputError
from calcarine.run.class_change import same_class
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from trees import write_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in its own folder, far from the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=20)
    return [
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]


def test_defaults_are_found_from_any_folder_and_configs_compose(tmp_path):
    (tmp_path / "one.yaml").write_text("data: {batch_size: 7, test: 0.3}\ntrainer: {max_epochs: 3}\n")
    (tmp_path / "two.yaml").write_text("data: {test: 0.4}\n")
    cli = build_cli(["--config", "one.yaml", "--config", "two.yaml", "--trainer.max_epochs", "5"])
    assert type(cli.datamodule.source).__name__ == "Simulated"
    assert (cli.datamodule.batch_size, cli.datamodule.shares[1], cli.trainer.max_epochs) == (7, 0.4, 5)


def test_the_class_that_a_config_has_keeps_its_settings_however_it_is_named(tmp_path):
    encoder = "{class_path: calcarine.encoders.PixelEncoder, init_args: {size: 8}}"
    (tmp_path / "one.yaml").write_text(f"data: {{encoder: {encoder}}}\n")
    for name in ("PixelEncoder", "calcarine.PixelEncoder", "calcarine.encoders.PixelEncoder"):
        assert build_cli(["--config=one.yaml", f"--data.encoder={name}"]).config.data.encoder.init_args.size == 8


def test_names_that_lead_nowhere_are_no_class():
    assert not same_class("nowhere.Encoder", "elsewhere.Encoder")
    assert same_class("PixelEncoder", "PixelEncoder")


def test_null_is_null_however_deep_a_flag_lies():
    trunk = ["--model.head=TrunkHead", "--model.head.trunk=MlpTrunk", "--model.head.trunk_weights=null"]
    assert build_cli(trunk).config.model.init_args.head.init_args.trunk_weights is None
    network = ["model=resnet18", "weights=random", "pool=null", "image_size=~"]
    backbone = ["--data.encoder=null", "--model.backbone=TorchvisionEncoder", "--name=None"]
    config = build_cli([*backbone, *(f"--model.backbone.{each}" for each in network)]).config
    settings = config.model.init_args.backbone.init_args
    assert (settings.pool, settings.image_size, config.name) == (None, None, "None")


def test_one_seed_for_everything():
    cli = build_cli(["--seed_everything", "5"])
    assert type(cli.datamodule.seed) is int  # what a checkpoint may hold
    assert cli.datamodule.seed == 5


def test_models_of_several_seeds_share_a_split(folder):
    def held_out(*flags: str) -> list[int]:
        data = build_cli([*folder, *flags]).datamodule
        data.setup()
        return [*data.positions("validation"), *data.positions("test")]

    own = held_out("--seed_everything=5")
    assert held_out("--seed_everything=6") != own
    assert held_out("--seed_everything=6", "--data.split_seed=5") == own


def test_sizes_reach_the_model_before_setup(folder):
    cli = build_cli(folder)
    assert cli.model.head.weight.shape == (20, prod(cli.datamodule.feature_shapes["pixels"]))


def test_injected_classes_take_short_names_and_their_own_flags():
    cli = build_cli(["--model.optimizer", "SGD", "--model.optimizer.lr", "0.1", "--model.scheduler", "null"])
    optimizer = cli.model.configure_optimizers()["optimizer"]
    assert type(optimizer).__name__ == "SGD"
    assert optimizer.defaults["lr"] == 0.1


@pytest.mark.parametrize(("asked", "rate"), [("false", 0.1), ("true", 0.3)])
def test_the_rate_is_that_of_one_batch_where_it_is_scaled(asked, rate, caplog):
    flags = ["--model.optimizer=SGD", "--model.optimizer.lr=0.1", "--trainer.accumulate_grad_batches=3"]
    cli = build_cli([*flags, f"--scale_lr={asked}"])
    cli.trainer.strategy.connect(cli.model)
    cli.model.trainer = cli.trainer
    with caplog.at_level("INFO"):
        optimizer = cli.model.configure_optimizers()["optimizer"]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    said = "--scale_lr: learning rate 0.3 = 0.1 × 1 ranks × 3 batches accumulated"
    assert (said in caplog.text) == (asked == "true")


def test_what_solves_has_no_rate_to_scale(folder, capsys):
    assert main([*folder, "--model=RidgeModule", "--scale_lr=true"]) == 2
    assert "--scale_lr: RidgeModule solves, and has no learning rate; leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "weight_decay"), [("SGD", 0), ("Adam", 0), ("AdamW", 0.01)])
def test_a_class_starts_from_its_own_defaults_not_from_those_of_the_class_before(name, weight_decay):
    cli = build_cli([f"--model.optimizer={name}"])
    assert cli.model.configure_optimizers()["optimizer"].defaults["weight_decay"] == weight_decay


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.batchsize", "3"], r"--data\.batchsize: no such option; did you mean --data\.batch_size\?"),
        (["--data.sorce", "Folder"], r"--data\.sorce: no such option; did you mean --data\.source\?"),
        (["--data.source", "Folde"], r"--data\.source: no class is called Folde; did you mean Folder\?"),
        (["--data.encoder", "GaborEncodr"], r"no class is called GaborEncodr; did you mean GaborEncoder\?"),
        (["--data.source.imags", "3"], r"--data\.source\.imags: no such option; did you mean --data\.source\.images\?"),
        (["--model.head.wieght", "3"], r"--model\.head\.wieght: no such option, it takes none"),
        (["--model.head", "TrunkHead"], r"--model\.head\.trunk: required, and not given$"),
        (["--model.head=TrunkHead", "--model.head.trunk=MlpTrnk"], r"called MlpTrnk; did you mean MlpTrunk\?$"),
        (["--model.head=TrunkHead", "--model.head.readout=LinearHed"], r"called LinearHed; did you mean LinearHead\?$"),
        (["--model.finetuning", "Gradua"], r"no class is called Gradua; did you mean Gradual\?"),
        (["--model.finetuning=Gradual", "--model.finetuning.start=x"], r"--model\.finetuning\.start: expected int"),
        (["--model.hed", "LinearHead"], r"--model\.hed: no such option; did you mean --model\.head\?"),
        (["--model.optimizer.lrr", "3"], r"optimizer\.lrr: no such option; did you mean --model\.optimizer\.lr\?"),
        (["--model.optimizer.lr", "fast"], r"--model\.optimizer\.lr: expected float, found 'fast'"),
        (["--data.batch_size", "many"], r"--data\.batch_size: expected int, found 'many'"),
        (["--data.cache_dtype", "int8"], r"--data\.cache_dtype: expected .*float16.*found 'int8'"),
        (["--data.source", "Folder"], r"--data\.source\.root: required"),
        (["--data.source", "Folder", "--data.source.root", "none"], r"--data\.source\.root none: expected a folder"),
        (["--config", "none.yaml"], r"--config: .*none\.yaml"),
        (["--trainer.max_epoch", "3"], r"--trainer\.max_epoch: no such option; did you mean --trainer\.max_epochs\?"),
        (["--ckpt_path", "none.ckpt"], r"--ckpt_path none\.ckpt: expected 'last' or a checkpoint file"),
        (["--trainer.enable_checkpointing", "false"], r"set --checkpoint\.every_n_seconds"),
        (["--trainer.limit_test_batches", "0.5"], r"limit_test_batches 0\.5: every held-out stimulus is evaluated"),
        (["--trainer.precision", "bf16-true"], r"--trainer\.precision bf16-true: .* use bf16-mixed"),
        (["--trainer.devices", "0"], r"--trainer: "),
        (["--trainer.strategy", "ddp_spawn"], r"--trainer\.strategy ddp_spawn: .* use ddp$"),
        (["--trainer.strategy", "fsdp"], r"--trainer\.strategy fsdp: .* use ddp, .*Lora"),
        (["--trainer.strategy", "deepspeed_stage_2"], r"--trainer\.strategy deepspeed_stage_2: .* use ddp"),
        (["--trainer.strategy", "FSDPStrategy"], r"--trainer\.strategy FSDPStrategy: .* use ddp"),
        (["--trainer.precision", "foo"], r"--trainer\.precision: expected .*bf16-mixed.*found 'foo'"),
        (["--seed_everything", "-1"], r"--seed_everything: expected a number >=0, found '-1'"),
        (["--data.split_seed", "-1"], r"--data.split_seed -1: expected 0 or more"),
        (["--data.image_size", "0"], r"--data\.image_size 0: expected 1 or more"),
        (["--early_stopping.patience", "0"], r"--early_stopping\.patience 0: expected 1 or more"),
        (["--name", "../x"], r"--name \.\./x: expected a name below runs/"),
        (["--data.batch_size", "0"], r"--data\.batch_size 0: expected 1 or more"),
        (["--data.reduction", "PrincipalComponents", "--data.encoder", "null"], r"--data\.reduction: needs"),
        (["--model", "LayerSelectionModule", "--model.regression", "Rigde"], r"regression: .*; did you mean Ridge\?"),
        (
            ["--model", "LayerSelectionModule", "--model.regression.penalties", "[1]"],
            r"--model\.regression: name its class before its own options",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_with_the_nearest_name(args, message, capsys):
    assert main(args) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert re.search(message, line), line


def test_a_typo_in_a_config_is_refused(tmp_path, capsys):
    (tmp_path / "typo.yaml").write_text("data: {batch_sizes: 7}\n")
    assert main(["--config", "typo.yaml"]) == 2
    assert re.search(r"data\.batch_sizes: no such option; did you mean --data\.batch_size\?", capsys.readouterr().err)


@pytest.mark.parametrize("flag", ["--help", "--print_config"])
def test_help_and_print_config_end_well(flag, capsys):
    with pytest.raises(SystemExit) as ended:
        build_cli([flag])
    assert ended.value.code in (0, None)
    out = capsys.readouterr().out
    assert "batch_size" in out
    if flag == "--print_config":
        assert yaml.safe_load(out)["data"]["source"]["class_path"] == "calcarine.data.Simulated"
    else:
        assert "Share of the stimuli held out for early stopping" in out


def test_a_runs_config_repeats_the_run(folder, tmp_path):
    assert main([*folder, "--name=first", "--trainer.max_epochs=3"]) == 0
    first = tmp_path / "runs/first/version_0"
    assert main(["--config", str(first / "config.yaml"), "--name=second"]) == 0
    second = tmp_path / "runs/second/version_0"
    assert (first / "scores.csv").read_bytes() == (second / "scores.csv").read_bytes()
    assert (first / "targets.csv").read_bytes() == (second / "targets.csv").read_bytes()


def test_every_run_has_its_own_folder_with_everything(folder, tmp_path, capsys):
    for version in range(2):
        assert main([*folder, "--trainer.max_epochs=2", "--name=mine"]) == 0
        run = tmp_path / f"runs/mine/version_{version}"
        last = capsys.readouterr().out.strip().splitlines()[-1]
        assert last.startswith(f"runs/mine/version_{version}: test correlation ")
        assert "; Folder " in last
        assert ", PixelEncoder, EncodingModule (LinearHead" in last
        present = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        expected = {
            "config.yaml",
            "checkpoints/last.ckpt",
            "checkpoints/best.ckpt",
            "scores.csv",
            "targets.csv",
            "history.csv",
            "predictions/validation.npy",
            "predictions/validation_stimuli.csv",
            "predictions/test.npy",
            "predictions/test_stimuli.csv",
            "figures/learning_curves.png",
            "figures/pearson_per_roi.png",
            "figures/residuals.png",
            "report.html",
        }
        assert expected <= present
        assert any("tfevents" in name for name in present)


def test_tensorboard_shows_curves_rois_hyperparameters_and_figures(folder, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "mine/rois.csv").write_text("target,hemisphere,roi\n" + "".join(f"{i},lh,V1\n" for i in range(9)))
    main([*folder, "--trainer.max_epochs=3", "--name=watched"])
    scalars, images, plugins = Counter(), set(), set()
    for path in (tmp_path / "runs/watched/version_0").glob("events*"):
        events = EventAccumulator(str(path))
        events.Reload()
        scalars.update({tag: len(events.Scalars(tag)) for tag in events.Tags()["scalars"]})
        images |= set(events.Tags()["images"])
        plugins |= set(events.summary_metadata)
    assert scalars["train/loss"] == scalars["validation/loss"] == 3
    assert scalars["validation_pearson/lh.V1"] == 3 + 1  # epochs, and the restored best
    assert scalars["final/test_pearson"] == 1
    assert any("_hparams_" in tag for tag in plugins)
    assert {"figures/learning_curves", "figures/pearson_per_roi", "figures/residuals"} <= images
    assert not list((tmp_path / "runs/watched/version_0").glob("hparams.yaml"))


def test_a_second_run_does_not_extract_again_and_says_so(folder, caplog):
    with caplog.at_level("INFO"):
        main([*folder, "--trainer.max_epochs=1"])
        assert "nothing to extract" not in caplog.text
        main([*folder, "--trainer.max_epochs=1"])
        assert "nothing to extract" in caplog.text


def test_checkpoints_load_without_unpickling_classes(folder, tmp_path):
    import torch

    main([*folder, "--trainer.max_epochs=1", "--name=mine"])
    for name in ("last", "best"):
        path = tmp_path / f"runs/mine/version_0/checkpoints/{name}.ckpt"
        assert "head.weight" in torch.load(path, weights_only=True)["state_dict"]


def test_resuming_continues_in_the_same_folder(folder, tmp_path):
    main([*folder, "--trainer.max_epochs=6", "--name=whole"])
    main([*folder, "--trainer.max_epochs=2", "--name=halves"])
    main([*folder, "--trainer.max_epochs=6", "--name=halves", "--ckpt_path=last"])
    whole, halves = (tmp_path / f"runs/{name}" for name in ("whole", "halves"))
    assert [path.name for path in halves.iterdir()] == ["version_0"]
    for name in ("scores.csv", "history.csv"):
        assert (whole / "version_0" / name).read_bytes() == (halves / "version_0" / name).read_bytes()


def test_a_checkpoint_of_another_split_is_refused(folder, tmp_path, capsys):
    """Or its training stimuli would be tested on."""
    main([*folder, "--trainer.max_epochs=2", "--name=mine"])
    scores = (tmp_path / "runs/mine/version_0/scores.csv").read_bytes()
    flags = [*folder, "--trainer.max_epochs=4", "--name=mine", "--ckpt_path=last"]
    for change in (["--seed_everything=3"], ["--data.test=0.3"], ["--data.source.shuffle=true"]):
        assert main([*flags, *change]) == 2
        assert "trained on other stimuli" in capsys.readouterr().err
    assert (tmp_path / "runs/mine/version_0/scores.csv").read_bytes() == scores


def test_a_run_without_a_checkpoint_is_started_again_and_no_older_one_taken(folder, tmp_path):
    main([*folder, "--trainer.max_epochs=2", "--name=mine"])
    scores = (tmp_path / "runs/mine/version_0/scores.csv").read_bytes()
    (tmp_path / "runs/mine/version_1").mkdir()
    assert main([*folder, "--trainer.max_epochs=2", "--seed_everything=3", "--name=mine", "--ckpt_path=last"]) == 0
    assert (tmp_path / "runs/mine/version_1/scores.csv").exists()
    assert (tmp_path / "runs/mine/version_0/scores.csv").read_bytes() == scores


@pytest.mark.parametrize("damage", ["truncated", "garbage", "weights"])
def test_a_checkpoint_that_cannot_go_on_is_one_line(damage, folder, tmp_path, capsys):
    main([*folder, "--trainer.max_epochs=1", "--name=mine"])
    checkpoints = tmp_path / "runs/mine/version_0/checkpoints"
    path = checkpoints / "last.ckpt"
    if damage == "weights":
        path = checkpoints / "best.ckpt"
    else:
        path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"garbage")
    assert main([*folder, "--name=again", f"--ckpt_path={path}"]) == 2
    assert "--ckpt_path" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list((tmp_path / "runs").glob("again/*"))


@pytest.mark.slow
def test_epochs_without_validation_have_none_in_the_history(folder, tmp_path):
    flags = [*folder, "--trainer.check_val_every_n_epoch=2"]
    main([*flags, "--trainer.max_epochs=6", "--name=whole"])
    main([*flags, "--trainer.max_epochs=3", "--name=halves"])
    main([*flags, "--trainer.max_epochs=6", "--name=halves", "--ckpt_path=last"])
    whole, halves = ((tmp_path / f"runs/{name}/version_0/history.csv").read_text() for name in ("whole", "halves"))
    assert whole == halves
    assert [line.endswith(",") for line in whole.splitlines()[1:]] == [True, False] * 3


def test_a_place_that_cannot_be_written_is_one_line(folder, tmp_path, capsys):
    (tmp_path / "runs").write_text("in the way")
    assert main([*folder, "--trainer.max_epochs=1"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: runs")


def test_last_without_a_run_starts_anew(folder, tmp_path):
    assert main([*folder, "--trainer.max_epochs=1", "--name=new", "--ckpt_path=last"]) == 0
    assert (tmp_path / "runs/new/version_0/scores.csv").exists()


def test_an_impossible_rate_is_one_line(folder, capsys):
    assert main([*folder, "--model.optimizer.lr=-1"]) == 2
    assert "--model.optimizer: Invalid learning rate" in capsys.readouterr().err


def test_fast_dev_run_writes_nothing(folder, tmp_path):
    assert main([*folder, "--trainer.fast_dev_run=true"]) == 0
    assert not (tmp_path / "runs").exists()


def test_a_broken_image_is_one_line(folder, tmp_path, capsys):
    image = tmp_path / "mine/images/image7.png"
    image.write_bytes(image.read_bytes()[:60])
    assert main([*folder, "--trainer.max_epochs=1"]) == 2
    assert "image7.png" in capsys.readouterr().err.strip().splitlines()[-1]


def test_images_reach_a_backbone(folder, tmp_path):
    args = [*folder, "--data.encoder=null", "--data.image_size=16", "--trainer.max_epochs=1"]
    with pytest.raises(InputError, match=r"--model\.backbone"):
        build_cli(args)
    assert main([*args, "--model.backbone=PixelEncoder", "--name=tuned"]) == 0
    assert (tmp_path / "runs/tuned/version_0/scores.csv").exists()


@pytest.mark.slow
def test_runs_go_where_they_are_sent_and_are_found_there_again(folder, tmp_path, capsys):
    elsewhere = [*folder, "--name=mine", "--runs=some/where"]
    assert main([*elsewhere, "--trainer.max_epochs=1"]) == 0
    assert capsys.readouterr().out.startswith("some/where/mine/version_0: ")
    assert main([*elsewhere, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    assert [path.name for path in (tmp_path / "some/where/mine").iterdir()] == ["version_0"]
    assert len((tmp_path / "some/where/mine/version_0/history.csv").read_text().splitlines()) == 3
    assert not (tmp_path / "runs").exists()
