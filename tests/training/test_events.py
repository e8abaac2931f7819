"""events.jsonl: appended line by line, readable at any moment, cut back where a resumed run goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.run_folder import RunFolder
from training.events import EventLog, cut, means, numbers, plain, totals


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_an_event_is_visible_at_once_and_in_order(run: RunFolder) -> None:
    with EventLog(run.events_file) as log:
        log.write("start", update=0)
        log.write("update", update=1, metrics={"loss": torch.tensor([1.0, 3.0])})
        assert [event["kind"] for event in run.events()] == ["start", "update"]
    (update,) = run.events("update")
    assert (update["update"], update["metrics"]) == (1, {"loss": 2.0})


def test_a_torn_last_line_is_left_out(run: RunFolder) -> None:
    with EventLog(run.events_file) as log:
        log.write("update", update=1)
    with run.events_file.open("ab") as file:
        file.write(b'{"kind": "update", "upd')
    assert [event["update"] for event in run.events()] == [1]


def test_a_resumed_log_goes_on_where_the_checkpoint_left_it(run: RunFolder) -> None:
    with EventLog(run.events_file) as log:
        log.write("update", update=1)
        length = log.sync()
        log.write("update", update=2)
    with run.events_file.open("ab") as file:
        file.write(b'{"kind": "upd')  # killed in the middle of a line
    assert length < run.events_file.stat().st_size
    cut(run.events_file, length)
    with EventLog(run.events_file) as log:
        log.write("update", update=2)
    assert [event["update"] for event in run.events()] == [1, 2]


def test_cutting_needs_no_file_and_never_lengthens_one(run: RunFolder) -> None:
    cut(run.events_file, 0)
    assert not run.events_file.exists()
    run.events_file.write_bytes(b"{}\n")
    cut(run.events_file, 100)
    assert run.events_file.read_bytes() == b"{}\n"


def test_nan_and_infinity_become_null(run: RunFolder) -> None:
    with EventLog(run.events_file) as log:
        log.write("update", loss=torch.tensor(float("nan")), values={"second": math.inf, "recall": 0.5})
    (event,) = run.events()
    assert (event["loss"], event["values"]) == (None, {"second": None, "recall": 0.5})


def test_a_log_without_a_path_swallows_everything() -> None:
    told = []
    with EventLog(None, lambda *event: told.append(event)) as log:
        log.write("update", update=1, loss=0.5)
        assert log.sync() == 0
    assert told == []


def test_a_mirror_is_told_the_numbers_of_every_update(run: RunFolder) -> None:
    told = []
    with EventLog(run.events_file, lambda *event: told.append(event)) as log:
        log.write("update", update=3, metrics={"loss": 0.5, "reward": float("nan")}, seconds=2)
        log.write("phase", name="checking pictures")
    assert told == [({"update/loss": 0.5, "update/seconds": 2.0}, 3)]


def test_nested_numbers_keep_their_place_in_the_name() -> None:
    event = {"kind": "check", "update": 4, "values": {"second": 0.2}, "more": {"deep": {"er": 1}}}
    assert numbers(event) == {"check/second": 0.2, "check/more/deep/er": 1.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=json_values)
def test_plain_values_survive_json_unchanged(value) -> None:
    once = plain(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    assert plain(once) == once


def test_a_number_that_only_some_processes_saw_is_averaged_over_those() -> None:
    """As if all values had been seen by one."""
    first = totals({"loss": [torch.tensor(1.0), torch.tensor(2.0)], "at_0.3": [torch.tensor(5.0)]})
    second = totals({"loss": [torch.tensor(6.0)], "at_0.7": [torch.tensor(7.0), torch.tensor(9.0)]})
    assert first["loss"] == (3.0, 2)
    assert means([first, second]) == {"loss": 3.0, "at_0.3": 5.0, "at_0.7": 8.0}
