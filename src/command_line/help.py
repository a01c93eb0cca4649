"""Help from the schema, before torch is imported: one screen of the usual flags, and any class's flags as typed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from ..errors import InputError
from .known import Parameter, schema
from .meant import no_such_class, no_such_flag
from .typed import Typed, settled

USUAL = """\
usage: train.py [--config FILE]... [--FLAG VALUE]...

Trains a model of brain responses, evaluates it, and writes runs/NAME/version_N/ with a report.

  train.py                                                        a simulated subject, under a minute
  train.py --data.source Folder --data.source.root DIR            your images/ and responses.npy
  train.py --config configs/clip_ridge.yaml --data.source.root DIR --name clip

data
  --data.source CLASS               Folder, Algonauts2023, NSD, TVSD, ItSpikes, Simulated, ...
  --data.source.root DIR            where the data lie; without a source the format is found by looking
  --data.source.subject N           one subject, or several: [1,2]
  --data.encoder CLASS              GaborEncoder, TimmEncoder, TorchvisionEncoder, OpenClipEncoder, ...
  --data.encoder.model NAME         such as resnet50; `calcarine layers timm:resnet50` lists its layers
  --data.encoder.layers LIST        such as [layer2,layer3]
  --data.reduction CLASS            PrincipalComponents, RandomProjection
  --data.batch_size N               stimuli per batch
  --data.validation, --data.test    shares held out, such as 0.1
  --data.split_seed N               of which stimuli these are, for models of several seeds on one split
  --data.training_stimuli N         train on so many of each subject; --learning_curve [50,100] on each of several
  --data.fold 1/9                   hold out one part of nine in place of a share: a cross-validation over runs

model
  --model CLASS                     EncodingModule (trained), RidgeModule, BandedRidgeModule, ...
  --model.head CLASS                LinearHead, MlpHead, VertexDecoder, GaussianReadout, ...
  --model.backbone CLASS            an encoder that is trained too, with --data.encoder null
  --model.loss CLASS                MeanSquaredError, SmoothL1, OneMinusCorrelation, ...
  --model.optimizer CLASS           SGD, Adam, AdamW, ...; then --model.optimizer.lr 1e-4
  --model.penalties LIST            of RidgeModule, such as [1,10,100]

training
  --trainer.max_epochs N            the longest that it takes; --early_stopping.patience N ends it sooner
  --trainer.devices N               GPUs; --trainer.accelerator cpu for none
  --seed_everything N               the split's seed, too
  --name NAME                       of the run; --ckpt_path last goes on with its newest after a kill
  --config FILE                     YAML of these flags; later ones win. --print_config shows what is in force

more
  --help all                        every flag
  --data.source.help Folder         the flags of a class, for any flag that takes one
  --model.head.help                 the classes that a flag takes
"""

ENCODE = """\
usage: calcarine encode [--config FILE]... [--data.FLAG VALUE]...

Fills the embedding cache ahead of training: reads the data, computes the encoder's features, and stops.
It takes every flag of `calcarine train`; those of the data decide what is computed.

  calcarine encode --data.source Folder --data.source.root DIR --data.encoder TimmEncoder \\
      --data.encoder.model resnet50 --data.encoder.layers '[layer2,layer3]'

  --data.source CLASS, --data.source.root DIR       the data; --data.source.help Folder shows a source's flags
  --data.encoder CLASS, --data.encoder.layers LIST  the features; --data.encoder.help lists the encoders
  --data.cache_dir DIR                              where they are kept, cache/ by default
  --data.cache_dtype float16|float32                their precision
  --data.encode_batch_size N                        images per forward pass
  --data.encode_precision 32-true|bf16-mixed        of the encoder's products
"""


def answer(args: Sequence[str], usual: str = USUAL) -> str | None:
    """The help that was asked for; None where none was, or where only the real parser knows.

    Args:
        args: Flags as typed.
        usual: The answer to a bare --help.

    Raises:
        InputError: No class of the flag has the name.
    """
    for index, flag in enumerate(args):
        name, _, value = flag.partition("=")
        value = value or next(iter(args[index + 1 : index + 2]), "")
        if name in ("-h", "--help"):
            return None if value == "all" else usual
        if name.startswith("--") and name.endswith(".help"):
            return _of_flag(
                settled(args[:index]), name[2:].removesuffix(".help"), "" if value.startswith("-") else value
            )
    return None


def _of_flag(typed: Typed, flag: str, name: str) -> str | None:
    """The classes that a flag takes, or the flags of one of them as they are typed."""
    parameter = typed.find(flag.split("."))
    if parameter is None:
        raise InputError(no_such_flag(typed, f"--{flag}"))
    if "slot" not in parameter:
        return None
    classes = schema()["slots"][parameter["slot"]]
    if not name:
        lines = [_line(each, schema()["classes"][path]["about"]) for each, path in classes.items()]
        return "\n".join([f"--{flag} CLASS, one of:", "", *lines, "", f"--{flag}.help CLASS shows a class's flags.\n"])
    if name not in classes and "." not in name:
        raise InputError(f"--{flag}.help: {no_such_class(flag, name, classes)}")
    known = schema()["classes"].get(classes.get(name, name))
    if known is None:
        return None
    lines = [line for each, taken in known["flags"].items() for line in _described(f"{flag}.{each}", taken)]
    return "\n".join(
        [f"--{flag} {name}", *textwrap.wrap(known["about"], 110), "", *(lines or ["It takes no flags."]), ""]
    )


def _described(flag: str, parameter: Parameter) -> Iterator[str]:
    """One flag as typed, with what it takes, its meaning and its default."""
    yield f"  --{flag} {_takes(parameter)}"
    text = str(parameter.get("help", ""))
    default = parameter.get("default")
    if parameter.get("required"):
        text += " (required)"
    elif "(default:" not in text and default is not None:
        text += f" (default: {default})"
    yield from textwrap.wrap(text, 100, initial_indent="      ", subsequent_indent="      ")


def _takes(parameter: Parameter) -> str:
    words: Mapping[str, str] = {"int": "N", "float": "X", "bool": "true|false", "path": "PATH", "list": "LIST"}
    if "slot" in parameter:
        return "CLASS"
    return "|".join(
        [
            *parameter.get("choices", ()),
            *(words.get(kind, "VALUE") for kind in parameter["kinds"][:2] if kind != "null"),
        ]
    )


def _line(name: str, about: str) -> str:
    return f"  {name:24}{textwrap.shorten(about, 92, placeholder=' …')}"
