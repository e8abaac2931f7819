"""All pages of the Studio as one Gradio app."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from toolkit.comparison_folder import Comparisons
from toolkit.studio import speech, theme, tokens
from toolkit.studio.compare import ComparePage
from toolkit.studio.launching import Launcher
from toolkit.studio.listening import Listening
from toolkit.studio.looking import Looking
from toolkit.studio.markup import asset
from toolkit.studio.planning import Planning
from toolkit.studio.run import RunPage
from toolkit.studio.runs import RunsPage
from toolkit.studio.start import StartPage
from toolkit.studio.start_form import StartForm
from toolkit.studio.system import SystemPage
from toolkit.studio.words import WordsPage
from toolkit.system import CheckUps
from toolkit.word_scorer import WordScorer

MARK = Path(__file__).with_name("mark.svg")
APP = {"middleware": [Middleware(Listening)]}  # of the web app that the pages are served by


def build(root: Path, scorer: WordScorer | None = None) -> gr.Blocks:
    """The app over the runs below `root`."""
    launcher, scorer = Launcher(root), scorer or WordScorer()
    launcher.open_session()
    looking = Looking(root, scorer)
    with speech.unspoken():
        with gr.Blocks(title="Palate", analytics_enabled=False) as pages:
            StartPage(pages, launcher, StartForm(scorer, looking.favourites, Planning(root)))
        with pages.route("Words", "words"):
            WordsPage(pages, looking)
        with pages.route("Runs", "runs"):
            RunsPage(pages, launcher)
        with pages.route("Run", "run", show_in_navbar=False):
            RunPage(pages, launcher)
        with pages.route("Compare", "compare"):
            ComparePage(pages, Comparisons(root))
        with pages.route("System", "system"):
            SystemPage(pages, root, CheckUps(root))
    return pages


def look() -> dict[str, Any]:
    """The launch arguments that dress the pages."""
    return {
        "theme": theme.theme(),
        # In the head and not as `css`: Gradio rewrites that, and loses media queries about the page itself.
        "head": f"<style>{tokens.css()}{asset('style.css')}</style><script>{_words()}{asset('studio.js')}</script>",
        "favicon_path": MARK,
        "footer_links": [],
    }


def _words() -> str:
    """What the pages' script says, for its own `say`."""
    with speech.unspoken():
        said = {sentence: speech.say(sentence) for sentence in speech.script_sentences()}
    return f"window.palateWords = {json.dumps(said, ensure_ascii=False)};"


def served(root: Path, auth: tuple[str, str] | None = None) -> FastAPI:
    """The pages as a web app. auth: the name and password that it asks for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SSR mode is not supported")  # said although it is not asked for
        return gr.mount_gradio_app(
            FastAPI(openapi_url=None),
            build(root),
            path="/",
            app_kwargs={"openapi_url": None, **APP},
            auth=auth,
            allowed_paths=[str(root)],
            show_error=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            max_file_size=1,
            **look(),
        )
