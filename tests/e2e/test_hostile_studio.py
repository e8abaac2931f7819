"""The Studio under attack, as a real process: other sites, links, absurd requests, floods. See docs/safety.md."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import made_run
import psutil
import pytest
from real_studio import Studio
from safetensors.numpy import save_file

from toolkit.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET = "only-this-computer-may-read-it"
SCRIPT = "<script>window.stolen=1</script><img src=x onerror='window.stolen=2'> {{window.stolen=3}} ${window.stolen=4}"
JSON = {"content-type": "application/json"}
TRAVERSALS = (
    "..", ".", "../outside", "../../etc", "/etc", "taste/../taste", "taste/previews", "..\\outside", "%2e%2e", "linked",
    ".hidden", "taste\x00", "~", "a" * 5000, SCRIPT,
)  # fmt: skip
LAUGHS = "a: &a [x, x]\n" + "\n".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]" for a, b in itertools.pairwise("abcdefghijklmnop")
)
ABSURD = (
    None, True, -1, 10**400, "x" * 100_000, [], ["x"] * 1000, {}, {"path": "/etc/passwd"}, {"__type__": "update"},
    [[[[[[]]]]]], "\x00\ud7ff", "!!python/object/apply:os.system [ls]", "a: &a [*a]",
    "[" * 3000, LAUGHS,
)  # fmt: skip


def served(runs: Path, *more: str) -> Iterator[Studio]:
    studio = Studio(runs, *more)
    studio.start()
    yield studio
    studio.end()
    studio.log.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that hold script wherever text can stand, links that lead out, and a secret beside them."""
    root = tmp_path_factory.mktemp("hostile") / "runs"
    run = made_run.make(root, words={"positive": SCRIPT[:150], "negative": "plain"})
    late = made_run.check(20)
    late["guards"]["texture"] = {"state": "bad", "sentence": SCRIPT}
    made_run.append(run, late, made_run.verdict(20) | {"sentence": SCRIPT})
    run.log_file.write_text(f"{SCRIPT}\n", encoding="utf-8")
    run.environment_file.write_text(json.dumps({"torch": SCRIPT}), encoding="utf-8")
    save_file({}, run.lora / "taste.safetensors", metadata={"palate": SCRIPT, "ss_training_comment": SCRIPT})
    (run.lora / "<img src=x onerror=window.stolen=5>.safetensors").write_bytes(b"lora")
    outside = root.parent / "outside"
    made_run.make(outside.parent, "outside")
    (outside / "secret.txt").write_text(SECRET)
    (root / "linked").symlink_to(outside)
    (run.path / "leads-out").symlink_to(outside)
    (run.path / "leads-out.txt").symlink_to(outside / "secret.txt")
    (run.path / ".hidden").write_text(SECRET)
    (run.path / "page.html").write_text("<script>window.stolen=6</script>")
    (root / "favourites.json").write_text('{"pairs": []}')
    odd = root / "<img src=x onerror=window.stolen=7>"
    odd.mkdir()
    (odd / "recipe.yaml").write_text("name: odd")
    return root


@pytest.fixture(scope="module")
def studio(root: Path) -> Iterator[Studio]:
    yield from served(root)


def handlers(studio: Studio) -> dict[str, tuple[int, int]]:
    """name → (its number, how many inputs), of every event that the server answers."""
    config = httpx.get(f"{studio.url}/config").json()
    return {d["api_name"]: (d["id"], len(d["inputs"])) for d in config["dependencies"] if d["backend_fn"]}


def call(studio: Studio, number: int, data: Any, query: str = "", **headers: str) -> httpx.Response:
    """A private handler, as a script on this computer may call it."""
    body = json.dumps({"fn_index": number, "data": data, "session_hash": "hostile"})
    return httpx.post(f"{studio.url}/gradio_api/run/predict{query}", content=body, headers=JSON | headers, timeout=60)


def quiet(answer: httpx.Response) -> bool:
    """Whether an answer keeps the server's insides to itself; a failure says nothing, or a sentence of Gradio's."""
    said, failed = answer.text, answer.status_code >= 500
    leaks = ("Traceback", 'File "', "site-packages", SECRET, "root:x:")
    return not any(leak in said for leak in leaks) and (
        not failed or answer.json().get("error") is None or "title" in answer.json()
    )


def raw(studio: Studio, path: str, **headers: str) -> tuple[int, bytes]:
    """A request whose path is sent as it is, dots and all."""
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


# ── Names and files ──


def test_no_name_of_a_run_or_comparison_leads_out_of_the_runs(studio: Studio, root: Path) -> None:
    known = handlers(studio)
    before = sorted(path.name for path in root.parent.rglob("*"))
    takes_run = ("load_3", "ask", "request_stop", "go_on", "partial", "partial_1", "draw_rest", "end")
    for name, handler in itertools.product(TRAVERSALS, takes_run):
        assert quiet(answer := call(studio, known[handler][0], [name])), (handler, name, answer.text[:300])
    for name in TRAVERSALS:
        for handler in ("load", "load_4"):  # the run in the address
            answer = call(studio, known[handler][0], [], query=f"?from={quote(name)}&show={quote(name)}")
            assert quiet(answer), (handler, name)
    assert sorted(path.name for path in root.parent.rglob("*")) == before, "a name made or removed a file"


@pytest.mark.parametrize("place", ["/etc", "/", "/proc/self", "~/.ssh", "..", "linked", "\x00", "a" * 5000, "/dev"])
def test_a_folder_without_pictures_shows_nothing_of_itself(studio: Studio, place: str) -> None:
    number, _count = handlers(studio)["look"]
    answer = call(studio, number, ["sharp", "blurry", "demo", "folder", place, False])
    assert quiet(answer)
    assert "data:image" not in answer.json()["data"][3], "pictures out of a folder that has none"
    assert not re.search(r"passwd|environ\b|id_rsa|cmdline", answer.text)


def files_of(root: Path) -> dict[str, int]:
    """path after `file=` → the status it must get."""
    run = root / "taste"
    refused = [
        "/etc/passwd", "etc/passwd", "../../../../etc/passwd", f"{root}/../outside/secret.txt",
        f"{run}/../../outside/secret.txt",
        f"{root}/linked/secret.txt", f"{run}/leads-out/secret.txt", f"{run}/leads-out.txt", f"{run}/.hidden",
        f"{root}/favourites.json", f"{root}/queue.sqlite", f"{root}", f"{run}", "", ".", "~/.bashrc", "%00",
        f"{run}/nothing",
        "http://127.0.0.1:1/", "https://example.com/x.html", "file:///etc/passwd", "//etc/passwd", "\\\\host\\share",
        f"{root}/%2e%2e/outside/secret.txt", f"{root}/%252e%252e/outside/secret.txt",
        f"{root}/..%2foutside%2fsecret.txt", "a" * 5000,
    ]  # fmt: skip
    allowed = [f"{run}/previews/000000_00.webp", f"{run}/recipe.yaml", f"{run}/lora/taste.safetensors"]
    return dict.fromkeys(refused, 403) | dict.fromkeys(allowed, 200)


def test_only_files_of_a_run_are_handed_out(studio: Studio, root: Path) -> None:
    got = {place: raw(studio, f"/gradio_api/file={place}") for place in files_of(root)}
    assert {place: status for place, (status, _) in got.items()} == files_of(root)
    assert not [place for place, (_, body) in got.items() if SECRET.encode() in body]
    for path in ("/gradio_api/../../etc/passwd", "/assets/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/x", "//etc"):
        status, body = raw(studio, path)
        assert status in (200, 403, 404), path
        assert b"root:x:" not in body


# ── Other sites and other names ──


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),  # a name that was made to point here
        ({"host": "evil.example:{port}"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "localhost:{port}"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),  # a link
        ({"x-forwarded-host": "evil.example"}, 200),
    ],
)
def test_other_sites_and_names_are_refused(studio: Studio, headers: dict[str, str], status: int) -> None:
    headers = {name: value.format(port=studio.port) for name, value in headers.items()}
    assert httpx.get(f"{studio.url}/runs", headers=headers).status_code == status
    if "document" not in headers.values() and "x-forwarded-host" not in headers:
        number, _count = handlers(studio)["show_2"]
        assert call(studio, number, [], **headers).status_code == status


@pytest.mark.parametrize(
    "path", ["upload", "proxy=https://example.com/", "queue/join", "openapi.json", "vibe-edit", "reset"]
)
def test_what_no_page_uses_is_closed(studio: Studio, path: str) -> None:
    assert httpx.get(f"{studio.url}/gradio_api/{path}").status_code == 404
    assert httpx.post(f"{studio.url}/gradio_api/{path}", json={}).status_code == 404


# ── Absurd and huge requests ──


def test_absurd_inputs_of_every_handler_end_in_words_or_quietly(studio: Studio) -> None:
    for name, (number, count) in handlers(studio).items():
        if re.search(r"_([2-9]|1\d)$", name):
            continue  # the same function again
        tries = [[value] * count for value in (ABSURD if count else ABSURD[:1])] + [[], ["x"] * (count + 3)]
        for data in (*tries, "x", None, {"a": 1}):
            answer = call(studio, number, data)
            assert quiet(answer), (name, str(data)[:80], answer.text[:500])
    for content in (b"", b"[", b'{"fn_index": 1e999}', b'{"fn_index": -1, "data": []}', b"\xff\xfe", b"[" * 100_000):
        answer = httpx.post(f"{studio.url}/gradio_api/run/predict", content=content, headers=JSON)
        assert answer.status_code < 600
        assert "Traceback" not in answer.text
    assert httpx.get(f"{studio.url}/runs").status_code == 200


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/run/predict", "/login"])
@pytest.mark.parametrize("says_its_length", [True, False])
def test_two_gigabytes_are_refused_early_and_never_reach_the_disk(
    studio: Studio, path: str, says_its_length: bool
) -> None:
    free, sent, size, chunk = shutil.disk_usage("/tmp").free, 0, 2 * 1024**3, b"x" * 65536
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader(*(("Content-Length", str(size)) if says_its_length else ("Transfer-Encoding", "chunked")))
    connection.endheaders()
    status = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < size:
            connection.send(chunk if says_its_length else b"10000\r\n" + chunk + b"\r\n")
            sent += len(chunk)
            time.sleep(0.001)
    with contextlib.suppress(http.client.HTTPException, OSError):  # reset before the answer was read
        status = connection.getresponse().status
    assert status in (0, 404, 413)
    assert sent < 50_000_000
    assert shutil.disk_usage("/tmp").free > free - 500_000_000
    assert httpx.get(f"{studio.url}/runs").status_code == 200


def test_two_hundred_requests_at_once_are_answered_and_a_tick_stays_quick(studio: Studio) -> None:
    assert studio.process is not None
    process, known = psutil.Process(studio.process.pid), handlers(studio)
    call(studio, known["load_3"][0], ["taste"])
    before = process.memory_info().rss

    async def flood() -> tuple[list[int], list[float]]:
        limits = httpx.Limits(max_connections=250)
        async with httpx.AsyncClient(limits=limits, timeout=120, base_url=studio.url) as client:
            body = {"fn_index": known["load_3"][0], "data": ["taste"], "session_hash": "flood"}
            each = [
                client.get("/runs") if n % 2 else client.post("/gradio_api/run/predict", json=body) for n in range(200)
            ]
            running = [asyncio.create_task(one) for one in each]
            waits = []
            tick = {"fn_index": known["refresh"][0], "data": ["", "", 40, None], "session_hash": "another tab"}
            while not all(task.done() for task in running):
                began = time.monotonic()
                assert (await client.post("/gradio_api/run/predict", json=tick)).status_code == 200
                waits.append(time.monotonic() - began)
            return [(await task).status_code for task in running], waits

    statuses, waits = asyncio.run(flood())
    assert statuses == [200] * 200
    assert max(waits) < 30, waits
    began = time.monotonic()
    assert call(studio, known["refresh"][0], ["", "", 40, None]).status_code == 200
    assert time.monotonic() - began < 2
    grown = process.memory_info().rss - before
    print(f"slowest tick {max(waits):.1f} s of {len(waits)}; memory grew by {grown / 1e6:.0f} MB")
    assert grown < 400e6


# ── With a password ──


def test_with_a_password_everything_needs_a_login(tmp_path: Path) -> None:
    run = made_run.make(tmp_path / "runs")
    for studio in served(run.path.parent, "--auth", "me:open-sesame-77"):
        url = studio.url
        for path in ("/", "/words", "/runs", "/run?run=taste", "/compare", "/system"):
            page = httpx.get(url + path)
            assert page.status_code == 401 or '"auth_required":true' in page.text.replace(" ", ""), path
            assert "taste" not in page.text.replace("Teach a taste", "")
        for path in ("config", "gradio_api/info", f"gradio_api/file={run.recipe_file}"):
            assert httpx.get(f"{url}/{path}").status_code == 401, path
        assert call(studio, 0, []).status_code == 401
        login = {"username": "me", "password": "open-sesame-77"}
        assert httpx.post(f"{url}/login", data=login | {"password": "x"}).status_code == 400
        assert httpx.post(f"{url}/login", data=login, headers={"origin": "https://evil.example"}).status_code == 403
        with httpx.Client(base_url=url) as visitor:
            assert visitor.post("/login", data=login).status_code == 200
            assert visitor.get("/config").status_code == 200
            assert visitor.get(f"/gradio_api/file={run.recipe_file}").status_code == 200
            assert visitor.get("/config", headers={"origin": "https://evil.example"}).status_code == 403


# ── Script, in a real browser ──


@pytest.mark.browser
def test_nothing_that_people_or_files_say_runs_as_script(
    studio: Studio, root: Path, open_page: Callable[..., Any]
) -> None:
    said = quote(SCRIPT)
    page = open_page()
    page.on("dialog", lambda dialog: dialog.dismiss())
    for path, shown in {
        "/run?run=taste": "#grid img",
        f"/run?run={said}": ".run-missing",
        "/runs": ".run-name",
        "/?from=taste": "#start",
        f"/?positive={said}&negative={said}x": "#start",
        f"/words?positive={said}&negative=plain": "#library-list .pair-row",
        "/compare?run=taste": "#left input",
        f"/compare?show={said}": "#standing .notice",
        "/system": "#diagnostics pre",
    }.items():
        page.goto(studio.url + path)
        page.locator(shown).first.wait_for()
        page.wait_for_timeout(500)
        assert page.evaluate("window.stolen") is None, path
    page.goto(f"{studio.url}/run?run=taste")
    page.get_by_role("button", name="Log").click()
    page.locator("#log pre").first.wait_for()
    assert "window.stolen=1" in page.locator("#log pre").first.inner_text()
    page.goto(f"{studio.url}/gradio_api/file={root}/taste/page.html")
    assert page.evaluate("window.stolen") is None, "a file of a run ran as a page"


@pytest.mark.browser
def test_another_site_in_the_same_browser_reaches_nothing(
    studio: Studio, root: Path, open_page: Callable[..., Any]
) -> None:
    page, run = open_page(), RunFolder(root / "taste")
    page.route("http://evil.example/", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    page.goto("http://evil.example/")
    number = handlers(studio)["request_stop"][0]
    body = json.dumps({"fn_index": number, "data": ["taste"]})
    attack = """async ([url, body]) => {
      const tried = {};
      for (const type of ['application/json', 'text/plain', ''])
        tried[type] = await fetch(`${url}/gradio_api/run/predict`,
          {method: 'POST', mode: type === 'application/json' ? 'cors' : 'no-cors', body: new Blob([body], {type})})
          .then((answer) => answer.type, () => 'refused');
      tried.picture = await new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve('seen'); image.onerror = () => resolve('refused');
        image.src = `${url}/gradio_api/file=PLACE`;
      });
      return tried;
    }""".replace("PLACE", str(run.previews / "000000_00.webp"))
    tried = page.evaluate(attack, [studio.url, body])
    assert tried["application/json"] == tried["picture"] == "refused"
    assert not run.stop_file.exists(), "another site stopped a run"
    assert httpx.get(f"{studio.url}/runs").headers["content-security-policy"].endswith("frame-ancestors 'none'")
