"""Choosing a sweep's winner, and refusing folders that hold another recipe."""

import json

import pytest

from toolkit import recipe
from toolkit.bench.runs import Job, choose, finish, seconds_per_update
from toolkit.errors import PalateError
from toolkit.run_folder import RunFolder


def candidate(folder, second, light="ok"):
    run = RunFolder(folder)
    folder.mkdir()
    check = {"kind": "check", "update": 5, "values": {"second": second}, "guards": {"texture": {"state": light}}}
    updates = [{"kind": "update", "update": n + 1, "seconds": s} for n, s in enumerate((9.0, 1.0, 2.0, 4.0))]
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in [*updates, check]), encoding="utf-8")
    return run


def test_the_second_reward_chooses_among_the_healthy(tmp_path):
    scores = [(0.2, "ok"), (0.3, "watch"), (0.9, "bad")]
    runs = [candidate(tmp_path / str(n), *score) for n, score in enumerate(scores)]
    assert choose(runs) == 1


def test_where_no_candidate_is_healthy_the_gentlest_which_comes_first_is_taken(tmp_path):
    assert choose([candidate(tmp_path / str(n), 0.1 * n, "bad") for n in range(3)]) == 0


def test_pace_is_the_median_without_the_first_update(tmp_path):
    assert seconds_per_update(candidate(tmp_path / "run", 0.0)) == 2.0


def test_a_folder_with_another_recipe_is_refused_not_trained(tmp_path):
    words = {"words": {"positive": "warm", "negative": "cold"}}
    RunFolder.create(tmp_path / "run", recipe.parse(words), exact=True)
    with pytest.raises(PalateError, match="holds a run of another recipe") as refusal:
        finish([Job(tmp_path / "run", recipe.parse(words, {"training.updates": 8}))], workers=1, say=print)
    assert "--output" in str(refusal.value)
