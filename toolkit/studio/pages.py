"""All pages of the Studio as one Gradio app."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from toolkit.comparison_folder import Comparisons
from toolkit.studio import theme, tokens
from toolkit.studio.compare import ComparePage
from toolkit.studio.launching import Launcher
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


def build(root: Path, scorer: WordScorer | None = None) -> gr.Blocks:
    """The app over the runs below `root`."""
    launcher, scorer = Launcher(root), scorer or WordScorer()
    launcher.open_session()
    looking = Looking(root, scorer)
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
        "head": f"<style>{tokens.css()}{asset('style.css')}</style><script>{asset('studio.js')}</script>",
        "favicon_path": MARK,
        "footer_links": [],
    }


def served(root: Path, auth: tuple[str, str] | None = None) -> FastAPI:
    """The pages as a web app. auth: the name and password that it asks for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SSR mode is not supported")  # said although it is not asked for
        return gr.mount_gradio_app(
            FastAPI(openapi_url=None),
            build(root),
            path="/",
            app_kwargs={"openapi_url": None},
            auth=auth,
            allowed_paths=[str(root)],
            show_error=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            max_file_size=1,
            **look(),
        )
