"""The bench of the methods as a user runs it, on two arms and a handful of prompts: runs, figures, page; goes on."""

import json

import pytest
import yaml

from toolkit import prompts
from toolkit.bench import page, study
from toolkit.bench.methods import MethodsBench, measured_file

PROMPTS = {"train": 3, "validation": 2, "test": 3}  # of the demo's own lists


@pytest.fixture
def tiny(tmp_path):
    """Two arms, one candidate, two seeds, a second of training each."""
    shipped = yaml.safe_load(yaml.safe_dump(study.read().model_dump(mode="json")))
    for role, count in PROMPTS.items():
        texts = [prompt.text for prompt in prompts.read(f"demo:{role}")[:count]]
        (tmp_path / f"{role}.txt").write_text("\n".join(texts), encoding="utf-8")
    shipped["recipe"]["prompts"] = {role: str(tmp_path / f"{role}.txt") for role in PROMPTS}
    shipped["recipe"]["training"]["batch_size"] = 2
    shipped["budget"] |= {"seconds": 1.0, "samples": 4, "sweep_seconds": 0.5, "seeds": [1, 2]}
    shipped["sweeps"]["direct"] = [{"optimizer.learning_rate": 1e-3}]
    shipped["arms"] = {name: shipped["arms"][name] for name in ("srpo", "sft")}
    shipped["questions"] = [{"ask": "More than data?", "kind": "compare", "arms": ["sft", "srpo"]}]
    return study.Study.model_validate(shipped)


@pytest.mark.slow
def test_a_tiny_bench_runs_measures_writes_its_page_and_does_nothing_twice(tiny, tmp_path):
    said = []
    bench = MethodsBench(tiny, tmp_path / "bench", 2, said.append)
    bench.run()
    assert not (tmp_path / "bench" / "made" / "pairs").exists(), "no arm asked for pairs"
    written = page.write(bench, tmp_path / "page")
    text, facts = written.read_text(encoding="utf-8"), json.loads((tmp_path / "page" / "methods.json").read_text())
    assert "| srpo |" in text
    assert "| sft |" in text
    assert "More than data?" in text
    assert facts["answers"]["More than data?"][0]["arm"] == "srpo"
    assert {path.name for path in (tmp_path / "page").glob("*.png")} >= {"frontier.png", "curves.png"}
    run = bench.final_jobs()["srpo"][0].run
    figures = json.loads(measured_file(run).read_text())
    assert sorted(map(int, figures)) == sorted({0, *bench.looked_at("srpo")})
    assert len(figures["0"]["pictures"]["judge"]) == PROMPTS["test"]
    assert figures["0"]["values"]["distance"] == pytest.approx(0, abs=1e-5)

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "bench").rglob("state.json")}
    said.clear()
    MethodsBench(tiny, tmp_path / "bench", 2, said.append).run()
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert said == [
        "pace: each arm alone", "sweeps", "runs of seed 1", "measuring 0 runs", "runs of seed 2", "measuring 0 runs",
    ]  # fmt: skip
