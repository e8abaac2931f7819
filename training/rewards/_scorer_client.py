"""Asks a scorer over HTTP and tells what goes wrong with it: one sentence for each way a process can fail."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Sequence
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from torch import Tensor

from toolkit.errors import TrainingError
from training.rewards._scorer_process import ScorerProcess
from training.scorer_http import MEDIA_TYPE, PROTOCOL
from training.scoring_protocol import Answer, Description, Refusal, encode

FIRST_PAUSE = 0.5  # seconds before the second attempt; each further one waits twice as long
LOOK_AGAIN = 0.1  # seconds between two looks at a scorer that is still loading
LOOK = 5.0  # seconds for one such look

Message = TypeVar("Message", bound=BaseModel)


class ScorerClient:
    """One scorer at `url`. Errors of the line and 5xx are tried again, refusals and silence are not."""

    def __init__(self, url: str, *, timeout: float, retries: int, process: ScorerProcess | None = None) -> None:
        """timeout: seconds for one answer; process: the scorer's own, where Palate started it."""
        self._url, self._timeout, self._retries, self._process = url, timeout, retries, process
        # No proxy and no stored passwords: pictures go to this address and nowhere else.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self.close = weakref.finalize(self, self._http.close)

    def wait_until_ready(self, patience: float) -> None:
        """Return once anything answers. Raises TrainingError when it ended or `patience` seconds passed."""
        deadline = time.monotonic() + patience
        while True:
            try:
                self._http.get("/describe", timeout=LOOK)
                return
            except httpx.TransportError:
                self._must_be_alive()
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"The scorer's command has not begun to answer within {patience:g} seconds.",
                    cause="It may still be loading its weights, or it does not serve on {port}.",
                    action="Raise `startup_timeout`, or run the command by hand to see.",
                )
            time.sleep(LOOK_AGAIN)

    def describe(self) -> Description:
        """What the scorer says of itself. Raises TrainingError when it speaks another version, or not at all."""
        content = self._ask("GET", "/describe")
        found = self._read(_Version, content).protocol
        if found != PROTOCOL:
            raise TrainingError(
                f"The scorer at {self._url} speaks version {found} of the protocol; Palate speaks {PROTOCOL}.",
                action="Copy the current `scorer_http.py` beside it, or update Palate.",
            )
        return self._read(Description, content)

    def score(self, images: Tensor, prompts: Sequence[str], dimension: str = "") -> list[float]:
        """One finite number per picture, in order; of that dimension, or the overall one. Raises TrainingError."""
        answer = self._read(Answer, self._ask("POST", "/score", encode(images, prompts)))
        scores = answer.dimensions.get(dimension, ()) if dimension else answer.scores
        if len(scores) != len(images):
            raise TrainingError(
                f"The scorer at {self._url} answered {len(scores)} scores for {len(images)} pictures.",
                action="Mend the scorer: one score per picture, in the pictures' order.",
            )
        if not all(map(math.isfinite, scores)):
            raise TrainingError(
                f"The scorer at {self._url} gave a score that is not a finite number.",
                cause="Half precision may have overflowed in it.",
                action="Run the scorer in bfloat16 or float32.",
            )
        return list(scores)

    def _ask(self, method: str, path: str, content: bytes = b"") -> bytes:
        """The body of a good reply."""
        trouble = ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                reply = self._http.request(method, path, content=content, headers={"Content-Type": MEDIA_TYPE})
            except (httpx.ReadTimeout, httpx.WriteTimeout):
                raise TrainingError(
                    f"The scorer at {self._url} gave no answer within {self._timeout:g} seconds.",
                    cause="It hangs, or its batches are too large for its device.",
                    action="Lower `batch_size` or raise `timeout`.",
                ) from None
            except httpx.TransportError as error:
                self._must_be_alive()
                trouble = f"does not answer ({error or type(error).__name__})"
                continue
            if reply.status_code < 500:
                return self._accepted(reply)
            trouble = f"failed: {_sentence(reply)}"
        raise TrainingError(
            f"The scorer at {self._url} {trouble}",
            cause=f"Attempts: {self._retries + 1}.",
            action="Look at the scorer's own output, start it again, then resume.",
        )

    def _accepted(self, reply: httpx.Response) -> bytes:
        if reply.is_success:
            return reply.content
        raise TrainingError(
            f"The scorer at {self._url} refused the question: {_sentence(reply)}",
            action="Change the recipe or the scorer; asking again would not help.",
        )

    def _read(self, message: type[Message], content: bytes) -> Message:
        try:
            return message.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the reply"
            raise TrainingError(
                f"What the scorer at {self._url} answered is not the scoring protocol: {place}: {first['msg']}.",
                action="See docs/remote-scorers.md, or check that nothing else listens there.",
            ) from None

    def _must_be_alive(self) -> None:
        if self._process is not None and not self._process.is_alive:
            raise TrainingError(
                "The scorer that Palate started has ended.",
                cause=f"Its last words: {self._process.last_words or 'none'}.",
                action="Run its command by hand to see what is wrong, then resume.",
            )


class _Version(BaseModel):
    protocol: int


def _sentence(reply: httpx.Response) -> str:
    """The refusal's own words, or the status where there are none."""
    try:
        return Refusal.model_validate_json(reply.content).error
    except ValidationError:
        return f"status {reply.status_code}."
