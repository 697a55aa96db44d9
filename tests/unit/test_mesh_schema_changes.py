import pytest

from atoll.mesh.harvest import Column, SchemaChange, schema_diff

ID, NAME = Column("id", "int32", nullable=False), Column("name", "string", nullable=True)


def test_equal_schemas_have_no_change():
    change = schema_diff([ID, NAME], [ID, NAME])
    assert change == SchemaChange()
    assert not change
    assert not change.is_breaking
    assert change.sentence() == "nothing changed"


def test_a_new_column_breaks_nobody():
    change = schema_diff([ID], [ID, NAME])
    assert (change.added, change.is_breaking) == ((NAME,), False)
    assert change.sentence() == "added 'name' string"


def test_a_column_that_is_gone_breaks_readers():
    change = schema_diff([ID, NAME], [ID])
    assert (change.removed, change.is_breaking) == ((NAME,), True)


@pytest.mark.parametrize(
    ("before", "after", "is_breaking"),
    [
        ("int32", "int64", False),
        ("float", "double", False),
        ("string", "large_string", False),
        ("int64", "int32", True),
        ("int64", "double", True),
        ("uint8", "int16", True),
        ("string", "int64", True),
        ("list<element: int32>", "list<element: int64>", True),
    ],
)
def test_only_wider_types_break_nobody(before, after, is_breaking):
    change = schema_diff([Column("x", before, True)], [Column("x", after, True)])
    assert change.is_breaking is is_breaking
    assert change.sentence() == f"retyped 'x' {before} -> {after}"


def test_nulls_that_may_come_break_readers_those_that_may_not_do_not():
    strict, loose = Column("x", "int64", nullable=False), Column("x", "int64", nullable=True)
    assert schema_diff([strict], [loose]).is_breaking
    assert not schema_diff([loose], [strict]).is_breaking
    assert schema_diff([strict], [loose]).sentence() == "now nullable 'x'"
    assert schema_diff([loose], [strict]).sentence() == "no longer nullable 'x'"


def test_another_order_is_said_and_breaks_nobody():
    change = schema_diff([ID, NAME], [NAME, ID])
    assert (change.is_reordered, change.is_breaking) == (True, False)
    assert not schema_diff([ID, NAME], [NAME]).is_reordered
    assert not schema_diff([ID], [NAME, ID]).is_reordered


def test_a_sentence_of_many_changes_stays_short_and_on_one_line():
    new = [Column(f"c\n{number}", "int64", True) for number in range(2000)]
    sentence = schema_diff([ID], new).sentence()
    assert sentence.startswith("added 'c\\n0' int64, ")
    assert "and 1,995 more; removed 'id' int32" in sentence
    assert len(sentence) < 200
    nested = Column("x", f"struct<{'a: int64, ' * 1000}>", True)
    assert len(schema_diff([Column("x", "int64", True)], [nested]).sentence()) < 200
