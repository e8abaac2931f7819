"""Both languages say everything: the catalogue has exactly what the sources say; on a zh page no English is left."""

import ast
import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from toolkit import catalogue, demo_pictures, pairs
from toolkit.comparison_folder import Comparisons
from toolkit.errors import UsageError
from toolkit.run_folder import FAILED, INTERRUPTED, PAUSED, QUEUED, RUNNING, RunFolder
from toolkit.studio import (
    comparing,
    pages,
    plan_markup,
    reading,
    recipe_form,
    run_markup,
    runs_markup,
    settings_form,
    speech,
    start_markup,
    tastes,
)  # fmt: skip
from toolkit.studio.compare import ComparePage
from toolkit.studio.launching import Launcher
from toolkit.studio.listening import wanted
from toolkit.studio.markup import problem
from toolkit.studio.run import PARTS
from toolkit.studio.runs_listing import Listing
from toolkit.word_scorer import Separation
from toolkit.words import library
from training import guards

MakeRun = Callable[..., RunFolder]
ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "toolkit" / "studio"
PLACE = re.compile(r"\{(\w+)\}")
CHINESE = re.compile("[\u4e00-\u9fff]")


def calls(name: str) -> Iterator[tuple[str, ast.expr]]:
    """Where a function is called, and with which first argument."""
    for path in STUDIO.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield f"{path.name}:{node.lineno}", node.args[0]


def sentences() -> set[str]:
    literals = [*calls("say"), *calls("phrase")]
    return {str(node.value) for _, node in literals if isinstance(node, ast.Constant)} | set(speech.script_sentences())


def test_chinese_has_what_the_studio_says_and_nothing_else() -> None:
    said = set(speech.catalogue("zh").said)
    assert sentences() - said == set(), "missing"
    assert said - sentences() == set(), "stale"


def test_sentences_are_named_where_they_are_said() -> None:
    assert [at for at, node in calls("say") if isinstance(node, ast.JoinedStr | ast.BinOp)] == []
    assert [at for at, node in calls("phrase") if not isinstance(node, ast.Constant)] == []


def test_translations_keep_their_places_and_need_no_escaping() -> None:
    both = speech.catalogue("zh")
    for sentence, translation in {**both.said, **both.told}.items():
        assert set(PLACE.findall(sentence)) == set(PLACE.findall(translation)), sentence
        assert not set('<>&"\\$') & set(translation.replace("DPO-C&M", "")), sentence
    for sentence in both.said:
        assert not set('<>&"\\$') & set(sentence), sentence


def subjects() -> set[str]:
    return {subject.name for subject in demo_pictures.subjects().values()}


def literals(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        if "studio" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_what_is_told_still_comes_from_somewhere() -> None:
    sources = [*literals(ROOT / "toolkit"), *literals(ROOT / "training")]
    sources += [
        (ROOT / name).read_text(encoding="utf-8") for name in ("comfy_nodes/words.json", "toolkit/catalogue.json")
    ]
    known = "\n".join([*sources, reading.__file__, (STUDIO / "reading.py").read_text(encoding="utf-8")]).lower()
    known = re.sub(r"\s+", " ", known.replace("\\u0303", "\u0303"))
    for template in speech.catalogue("zh").told:
        if template.startswith(("Input should", "String should")):  # pydantic's
            continue
        for part in PLACE.split(template)[::2]:
            words = part.strip(" .:;,()`“”[]").lower()
            assert words in known or json.dumps(words)[1:-1] in known, (template, words)


def test_what_a_run_may_say_of_itself_is_told() -> None:
    said = [text for guard in guards.GUARDS for text in (guard.falling, guard.rising) if text]
    said += [f"{entry.summary}" for entry in catalogue.load()["methods"].values()]
    base = guards.Check(0, {"reward": 0.0, "second": 0.1, "texture": 1.0, "diversity": 1.0})
    bad = {"reward": 1.0, "second": -0.5, "texture": 9.0, "diversity": 1.0}
    for checks, updates in (
        ([base, guards.Check(5, bad)], 5),
        ([base, guards.Check(5, bad), guards.Check(9, bad)], 99),
    ):
        said.append(guards.verdict(checks, patience=2, updates=updates).sentence)
    said += [Separation(0.6).sentence, Separation(0.9).sentence]
    with speech.speaking("zh"):
        for sentence in said:
            assert speech.told(sentence) != sentence, sentence
            assert CHINESE.search(speech.told(sentence))
        assert (
            speech.told(said[-3])
            == "停在第 9 步：第二奖励低于底模：训练所用的奖励正在被钻空子。没有毫无疑问的检查点，因此保留底模。"
        )
        assert speech.told("Never heard. Pictures are becoming alike.") == "Never heard. 图片越来越雷同。"


@given(st.text(max_size=200))
def test_any_text_can_be_told(content: str) -> None:
    with speech.speaking("zh"):
        assert isinstance(speech.told(content), str)
    assert speech.told(content) == content


def test_built_once_said_to_everybody() -> None:
    with speech.unspoken():
        kept = html.escape(f"<b>{speech.say('Show {count} more', count=3)}</b> {speech.say('Draw')}")
    assert "Draw" not in kept
    assert html.unescape(speech.spoken(kept, "en")) == "<b>Show 3 more</b> Draw"
    assert html.unescape(speech.spoken(kept, "zh")) == "<b>再显示 3 个</b> 绘制"
    assert speech.language() == "en"


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de,zh-TW;q=0.9,en;q=0.8", "zh"),
        ("", "en;q=0.3, zh;q=0.2", "en"),
        ("", "zh;q=0, fr", "en"),
        ("", "zh;q=x,*", "en"),
        ("palate_language=en", "zh-CN", "en"),
        ("palate_language=zh", "en", "zh"),
        ("palate_language=../etc; a=b", "zh", "zh"),
        ("\x80;;=", "", "en"),
    ],
)
def test_the_choice_counts_before_the_browser(cookie: str, accepted: str, language: str) -> None:
    assert wanted(Headers({"cookie": cookie, "accept-language": accepted})) == language


class Seen(HTMLParser):
    """What people read or hear of a page, without code, names and recipes."""

    SILENT = ("script", "style", "pre", "code")
    READ = ("aria-label", "title", "alt", "placeholder", "data-spoken", "data-caption")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("img", "input", "br", "meta", "link"):
            self._inside.append(tag)
        self.found += [value for name, value in attrs if name in self.READ and value]

    def handle_endtag(self, tag: str) -> None:
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not set(self._inside) & set(self.SILENT):
            self.found.append(data)


# What stays as it is: names of methods, models, formats, files and programs, and what runs and pictures are about.
LABELS = {*recipe_form.METHOD_LABELS.values(), *recipe_form.BASE_LABELS.values(), *recipe_form.REWARD_LABELS.values()}
WORDS = {word for entry in library() for word in (entry.positive, entry.negative)}
PROMPTS = {"a dog", "a tiger face", "a horse face on a black background"}
PLAIN = (
    "LoRA", "Palate", "Studio", "GPU", "CPU", "YAML", "JSON", "ComfyUI", "diffusers", "kohya", "arXiv", "Logit",
    "taste", "base", "demo", "English", "warning", "palate doctor",
)  # fmt: skip
KEPT = sorted({*LABELS - sentences(), *WORDS, *PROMPTS, *PLAIN, *demo_pictures.subjects(), *subjects()}, key=len)
FILES = r"`[^`]*`|[\w/-]*\.(?:yaml|jsonl?|txt|log|safetensors|png|parquet|md)|/\S+"
NAMES = re.compile("|".join((FILES, *map(re.escape, reversed(KEPT)))))
ENGLISH = re.compile(r"[A-Za-z]{3,}")


def left(content: str) -> list[str]:
    """English that is still there."""
    seen = Seen()
    seen.feed(content)
    return [text for text in seen.found if ENGLISH.search(NAMES.sub("", html.unescape(text)))]


@pytest.fixture
def zh() -> Iterator[None]:
    with speech.speaking("zh"):
        yield


@pytest.mark.usefixtures("zh")
@pytest.mark.parametrize("state", ["done", "base kept", "running", "begun", "failed", "interrupted", "paused", "alarm"])
def test_a_run_is_shown_in_chinese(make_run: MakeRun, told: SimpleNamespace, state: str) -> None:
    run = make_run(best={"done": 20, "base kept": 0, "alarm": 20}.get(state))
    statuses = {"running": RUNNING, "begun": QUEUED, "failed": FAILED, "interrupted": INTERRUPTED, "paused": PAUSED}
    if state in statuses:
        run.write_state(statuses[state], pid=0, update=20, updates=20)
    if state == "begun":
        run.events_file.unlink()
    if state == "alarm":
        light = {"state": "bad", "sentence": "Fine texture is rising: the reward may be getting gamed."}
        told.append(run, told.check(30) | {"guards": {"texture": light}})
    view = reading.view(run)
    for name, draw in PARTS.items():
        assert left(draw(view)) == [], name
    assert left(runs_markup.card(view)) == []
    assert left(run_markup.found(["one"])) == []


@pytest.mark.usefixtures("zh")
def test_lists_and_comparisons_are_shown_in_chinese(make_run: MakeRun) -> None:
    root = make_run().path.parent
    assert left(Listing(Launcher(root)).drawn()) == []
    assert left(runs_markup.empty() + runs_markup.nothing_found() + runs_markup.more(50, 40)) == []
    page = object.__new__(ComparePage)
    page._comparisons = Comparisons(root)
    shown = [part for part in page.look(*astuple(comparing.first_fields(root))) if isinstance(part, str)]
    assert sum("<img" in part for part in shown) == 2
    assert left("".join(shown)) == []
    wrong = [
        comparing.Fields(), comparing.Fields(right="taste"), comparing.Fields(right="taste", prompts="a" * 10_001),
        comparing.Fields(right="taste", prompts="a", preset="none"), comparing.Fields(right="a@b@c", prompts="a"),
    ]  # fmt: skip
    for fields in wrong:
        with pytest.raises(UsageError) as refusal:
            comparing.wanted(root, fields)
        assert left(problem(refusal.value).replace("a@b@c", "")) == [], refusal.value
    assert left(start_markup.queued("taste", 2) + start_markup.measuring() + start_markup.not_yet()) == []


PLAN = {
    "phases": {"load": 3e9, "reward": 9e9}, "needed_bytes": 10e9,
    "device": {"memory_bytes": 8e9, "fits": False},
    "time": {"seconds": 2e5, "seconds_per_update": 90.0, "basis": "this CPU, a matrix product measured here just now"},
    "disk": {"run": 2e9, "weights": 30e9, "free": 50e9}, "fit": None,
}  # fmt: skip
FIT = {
    "changes": ["batch 1 with 4 accumulated", "nf4 weights"], "settings": {"base.offload": True}, "needed_bytes": 7e9,
}  # fmt: skip


@pytest.mark.usefixtures("zh")
def test_what_a_recipe_needs_is_told_in_chinese() -> None:
    device = {"memory_bytes": 8e9, "fits": True}
    plans = [
        PLAN,
        PLAN | {"fit": FIT},
        PLAN | {"device": device},
        PLAN | {"device": {"memory_bytes": None, "fits": None}},
    ]
    drawn = [plan_markup.plan(found) for found in plans] + [plan_markup.plan(PLAN, is_searching=True)]
    drawn += [plan_markup.working(), plan_markup.not_yet(), plan_markup.no_such_card(1), plan_markup.reading()]
    drawn += [plan_markup.no_folder(kind) for kind in pairs.KINDS]
    assert [left(part.replace(" CPU", "").replace("this", "")) for part in drawn] == [[]] * len(drawn)
    assert "装不下；改用以下设置就可以：批大小 1，累积 4 次, nf4 权重。" in drawn[1]


@pytest.mark.usefixtures("zh")
@pytest.mark.parametrize("reason", pairs.ADVICE)
def test_why_an_entry_is_dropped_is_told_in_chinese(reason: str) -> None:
    drawn = plan_markup.holds(pairs.Findings((), {reason: ("1.png",)}), "pairs")
    assert left(drawn.replace("NAME", "")) == []


@pytest.mark.usefixtures("zh")
def test_a_folder_that_cannot_be_read_is_told_in_chinese(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for kind in pairs.KINDS:
        for place in ("none", "empty"):
            with pytest.raises(UsageError) as refusal:
                pairs.read(kind, tmp_path / place)
            drawn = problem(refusal.value).replace(f"（{kind}）", "")
            assert left(drawn) == [], refusal.value


@pytest.mark.usefixtures("zh")
def test_each_taste_and_each_group_of_settings_is_named_in_chinese() -> None:
    for name, taste in tastes.TASTES.items():
        assert left(start_markup.taste(name) + speech.say(taste.label)) == []
        assert left(speech.say(taste.folder)) == []
    drawn = settings_form.drawn(recipe_form.first())
    for title in re.findall(r"<summary>(.*?)</summary>", drawn):
        assert left(title) == [], title
    assert "不小于" in drawn
    for typed in ("x", "1.5"):
        with pytest.raises(UsageError) as refusal:
            settings_form.put(recipe_form.first(), "lora", "rank", typed)
        assert left(problem(refusal.value)) == []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The app as it is served."""
    with TestClient(pages.served(tmp_path_factory.mktemp("runs"))) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/words", "/runs", "/run", "/compare", "/system"])
def test_a_page_is_sent_in_the_visitors_language(client: TestClient, path: str) -> None:
    both = {}
    for language in ("en", "zh"):
        answer = client.get(path, headers={"accept-language": language})
        assert answer.status_code == 200
        assert re.search(rf'<html\s+lang="{speech.TAGS[language]}"', answer.text)
        assert not re.search("[\ue000\ue001]", answer.text)
        assert "Accept-Language" in answer.headers["vary"]
        both[language] = answer.text
    assert "跳到正文" in both["zh"]
    assert "Skip to content" in both["en"]
    assert not CHINESE.search(both["en"].replace("中文", ""))


@pytest.mark.parametrize("path", ["", "words", "runs", "run", "compare", "system"])
def test_no_built_label_stays_english(client: TestClient, path: str) -> None:
    page = client.get(f"/{path}", headers={"accept-language": "zh"}).text
    config = json.loads(re.search(r"window\.gradio_config = (.*?);</script>", page, re.DOTALL)[1])  # type: ignore[index]
    on_page = set(config["page"][path]["components"])
    for component in config["components"]:
        if component["id"] not in on_page or not component["props"].get("visible", True):
            continue
        props = component["props"]
        shown = [props.get(name) for name in ("label", "info", "placeholder")]
        if component["type"] in ("button", "html") and props.get("elem_id") != "settings":
            shown.append(props.get("value"))
        if props.get("elem_id") not in ("method", "ready"):  # names
            shown += [label for label, _ in props.get("choices") or ()]
        for text in shown:
            if isinstance(text, str) and component["type"] not in ("code", "navbar", "column", "row", "form"):
                assert left(text) == [], component
