"""Every family of timm, torchvision and open_clip: axes and orders are what the library says, or what patches show."""

import gc
from importlib.metadata import version

import pytest

from .families import Member, families, members
from .page import PAGE, line
from .walk import walk

MEMBERS = members()
PACKAGES = {"timm": "timm", "torchvision": "torchvision", "open_clip": "open_clip_torch"}


def installed(library: str) -> str:
    return version(PACKAGES[library]).partition("+")[0]


OF_EVERY_KIND = {
    "timm": "crossvit efficientformer eva hiera levit mambaout maxxvit mvitv2 swin_transformer swin_transformer_v2_cr "
    "tnt vision_transformer xcit",
    "torchvision": "convnext maxvit swin_transformer vision_transformer",
    "open_clip": "VisionTransformer timm.eva timm.swin_transformer",
}
"""Families that show one each of the ways in which axes and tokens lie; the others are left to releases."""


def case(member: Member):
    shown = member.family in OF_EVERY_KIND[member.library].split()
    marks = [pytest.mark.slow, *([] if shown else [pytest.mark.whole_zoo])]
    return pytest.param(member, id=f"{member.library}-{member.family}", marks=marks)


@pytest.mark.parametrize("member", [case(member) for member in MEMBERS])
def test_every_layer_of_a_family_is_what_it_is_said_to_be(member: Member) -> None:
    if member.skipped:
        pytest.skip(member.skipped)
    found = walk(member)
    assert not found.wrong
    assert found.located or found.confirmed
    if member.version == installed(member.library):
        assert line(member, found) in PAGE.read_text().splitlines()
    gc.collect()  # two workers hold two networks, not four


@pytest.mark.parametrize("library", PACKAGES)
def test_the_list_has_every_family(library: str) -> None:
    listed = [member.family for member in MEMBERS if member.library == library]
    assert len(set(listed)) == len(listed)
    if {member.version for member in MEMBERS if member.library == library} == {installed(library)}:
        assert set(listed) == families(library)


def test_few_are_skipped_and_each_for_a_reason() -> None:
    assert sum(not member.skipped for member in MEMBERS) >= 120
    assert all(len(member.skipped) > 20 for member in MEMBERS if member.skipped)


def test_the_page_is_of_the_list() -> None:
    lines = [text for text in PAGE.read_text().splitlines() if "`" in text and text.startswith("| ")]
    told = [text.split(" | ")[:2] for text in lines]
    assert told == [[f"| {member.family}", f"`{member.model}`"] for member in MEMBERS]
    assert [line(member, None) in lines for member in MEMBERS] == [bool(member.skipped) for member in MEMBERS]
