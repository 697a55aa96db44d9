"""The commands of the mesh, which are made from its operations."""

import click
import pytest

from atoll.mesh.cli.commands import command
from atoll.mesh.service import OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_60_every_operation_is_a_command(name):
    made = command(OPERATIONS[name])
    assert OPERATIONS[name].told.partition("\n")[0][:30] in made.get_help(click.Context(made))


@pytest.mark.parametrize(
    ("text", "value"),
    [("spot welds", "spot welds"), ("7", 7), ('"7"', "7"), ('["a"]', ["a"]), ("[a", "[a")],
)
def test_60_a_value_of_several_types_is_json_or_else_text(text, value):
    [option] = [one for one in command(OPERATIONS["CreateProposal"]).params if one.name == "after"]
    assert option.type.convert(text, option, None) == value


def test_60_a_file_that_is_not_there_is_no_text():
    [option] = [one for one in command(OPERATIONS["CreateProposal"]).params if one.name == "after"]
    with pytest.raises(click.BadParameter, match="@none"):
        option.type.convert("@none", option, None)
