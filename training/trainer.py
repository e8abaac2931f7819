"""The loop: batches, losses, step, events, checkpoint. It knows no method, base or reward by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from toolkit.errors import Interrupted, TrainingError
from toolkit.recipe import Recipe
from toolkit.run_folder import DONE, SAMPLE, SAVE, STATE_EVERY_SECONDS, STOPPED, RunFolder
from training import alarms, checkpoint, events, guards, previews
from training.adapters import Policy
from training.batches import Batches
from training.contracts import Event, Method, OptimizerStep, Remembers, Reward
from training.interrupts import Interrupts
from training.lockstep import in_lockstep
from training.pace import Pace
from training.processes import Processes
from training.validation import Panel, Renderer


@dataclass
class Parts:
    """Everything a run is made of, built elsewhere."""

    policy: Policy
    method: Method
    reward: Reward
    batches: Batches
    renderer: Renderer
    panel: Panel
    prompts: list[str]  # of validation, in the panel's order
    examine: Callable[[], Mapping[str, float]] = dict  # what is measured at each check beside the pictures


class Trainer:
    """Trains one run folder to its end, from wherever it stands."""

    def __init__(
        self, recipe: Recipe, run: RunFolder, parts: Parts, accelerator: Accelerator, interrupts: Interrupts
    ) -> None:
        """Only the main process of `accelerator` touches `run`."""
        self.recipe, self.run_folder, self.parts = recipe, run, parts
        self.accelerator, self.interrupts = accelerator, interrupts
        self.is_main = accelerator.is_main_process
        self.processes = Processes(accelerator)
        self.memory = parts.method if isinstance(parts.method, Remembers) else None
        self.parameters = parts.policy.trainable()
        self._alarms = getattr(parts.method, "alarms", ())  # of a method that names some
        settings = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
        )
        budget = recipe.training
        samples = budget.batch_size * budget.gradient_accumulation * accelerator.num_processes
        self.checkpoints = checkpoint.Checkpoints(run.checkpoints, recipe.digest(), samples)
        self.update = 0
        self.pace = Pace(settings)
        self._checks: list[guards.Check] = []
        self._asked_for: set[int] = set()  # updates whose checkpoints the user wants kept
        self._log = events.EventLog(None)
        self._last_state = 0.0

    def run(self) -> guards.Verdict:
        """Train until the budget, the guards or the user end it; the verdict names the best checkpoint.

        Raises TrainingError on NaN or a full disk, Interrupted after a signal; the last checkpoint stays valid.
        """
        self._resume()
        mirror = self.accelerator.log if self.recipe.trackers else None
        self._log = events.EventLog(self.run_folder.events_file if self.is_main else None, mirror)
        self.interrupts.arm()
        self._log.write("start", update=self.update, updates=self.recipe.training.updates)
        try:
            verdict = self._check() if self._is_check_due() else self._verdict()
            while not verdict.stop and self.update < self.recipe.training.updates:
                self._train_update()
                if self._wants_stop():
                    return self._finish(self._check(), STOPPED)
                if self._is_check_due():
                    verdict = self._check()
                elif self.is_main:
                    self._grant(self.run_folder.take_wishes())
            return self._finish(verdict, DONE)
        except OSError as error:
            raise TrainingError(
                f"Writing to the run folder failed at update {self.update}: {error.strerror or error}.",
                cause=f"Saved up to update {(self.checkpoints.updates() or [0])[-1]}, and that is intact.",
                action="Free some space or fix the folder's rights, then resume.",
            ) from error
        finally:
            self._log.close()

    def _resume(self) -> None:
        if self.is_main:
            self.checkpoints.clear_unfinished()
        self.accelerator.wait_for_everyone()
        loaded = self.checkpoints.load()
        if loaded is None:
            if self.is_main:
                events.cut(self.run_folder.events_file, 0)
            return
        self.parts.policy.load_adapter(loaded.adapter)
        checkpoint.load_optimizer_state(self.optimizer, self.parameters, loaded.optimizer)
        if self.memory:
            self.memory.load_state_dict(loaded.method)
        self.update, norms = loaded.update, None
        if self.is_main:
            events.cut(self.run_folder.events_file, loaded.events_length)
            self._checks = [guards.Check(e["update"], e["values"]) for e in self.run_folder.events("check")]
            self._asked_for = {event["update"] for event in self.run_folder.events("save")}
            norms = [event["grad_norm"] for event in self.run_folder.events("update")]
            self._measure_base()
            with events.EventLog(self.run_folder.events_file) as log:
                log.write("checkpoint", update=self.update)
        self._checks = self.processes.from_main(self._checks)
        self.pace = Pace(self.recipe.optimizer, self.processes.from_main(norms) or ())

    def _train_update(self) -> None:
        started = time.perf_counter()
        self._warm_up()
        metrics: dict[str, list[Tensor]] = {}
        norms: list[Tensor] = []
        accumulation = self.recipe.training.gradient_accumulation
        micro_batches = [self._losses(micro) for micro in range(accumulation)]
        for event in in_lockstep(micro_batches, self.processes.everyone):
            if isinstance(event, OptimizerStep):
                norms.append(self._step())
                continue
            self.accelerator.backward(event.loss / accumulation)
            for name, value in {"loss": event.loss.detach(), **event.metrics}.items():
                metrics.setdefault(name, []).append(value.float().mean())
        means = self.processes.average_metrics(metrics)
        norms.append(self._step(means["loss"]))
        if self.memory:
            self.memory.after_update(self.parts.policy, self.update)
        self.update += 1
        seconds = time.perf_counter() - started
        norm = torch.stack(norms).mean()
        self.pace.see(events.plain(norm))  # as the log will tell it again
        self._log.write("update", update=self.update, metrics=means, grad_norm=norm, seconds=seconds)
        self._beat()

    def _losses(self, micro: int) -> Iterator[Event]:
        """A micro-batch is made when it is first asked, not before its turn."""
        batch, rng = self.parts.batches.micro_batch(self.update, micro)
        yield from self.parts.method.losses(self.parts.policy, self.parts.reward, batch, rng)

    def _step(self, loss: float = 0.0) -> Tensor:
        """One optimizer step; the gradient's norm. Raises TrainingError where it, or the loss, is not a number."""
        parameters = list(self.parameters.values())
        self.processes.average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.recipe.optimizer.max_grad_norm)
        if not torch.isfinite(norm) or not math.isfinite(loss):
            raise TrainingError(
                f"Training diverged at update {self.update + 1}: the loss or its gradient is not a number.",
                cause=f"Last good checkpoint: {(self.checkpoints.updates() or [0])[-1]}.",
                action=f"Try half the learning rate ({self.recipe.optimizer.learning_rate / 2:g}).",
            )
        if not self.pace.is_wild(events.plain(norm)):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _warm_up(self) -> None:
        settings = self.recipe.optimizer
        share = min(1.0, (self.update + 1) / (settings.warmup_updates + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share * self.pace.share

    def _is_check_due(self) -> bool:
        """Also after a resume: a signal may have ended the run between an update and its check."""
        due = self.update % self.recipe.validation.every == 0 or self.update == self.recipe.training.updates
        return not self._checks or (due and self._checks[-1].update < self.update)

    def _check(self) -> guards.Verdict:
        """Measure, log, save; the same verdict on every process."""
        if self.is_main:
            self._log.write("phase", name="checking pictures", update=self.update)
            images = self._render()
            check = guards.Check(
                self.update, events.plain({**self.parts.panel.measure(images), **self.parts.examine()})
            )
            self._checks.append(check)
            lights = guards.lights(check, self._checks[0])
            names = self._show(images)
            heard = alarms.raised(self._alarms, [event["metrics"] for event in self.run_folder.events("update")])
            self._log.write(
                "check", update=self.update, values=check.values, guards=lights, previews=names, alarms=heard
            )
            self.run_folder.take_wishes()  # pictures and a checkpoint are what a check leaves
            self._save()
        self._checks = self.processes.from_main(self._checks)
        return self._verdict()

    def _grant(self, wishes: Sequence[str]) -> None:
        """Pictures or a checkpoint between checks. Neither changes what is learned or which checkpoint is best."""
        if SAMPLE in wishes:
            shown = self.parts.prompts[: self.recipe.validation.previews]
            self._log.write("sample", update=self.update, previews=self._show(self.parts.renderer(shown)))
        if SAVE in wishes:
            self._log.write("save", update=self.update)
            self._asked_for.add(self.update)
            self._save()

    def _show(self, images: Tensor) -> list[str]:
        """Write the preview pictures, the first of `images`; their file names."""
        count = self.recipe.validation.previews
        paths = previews.save(
            self.run_folder.previews, self.update, images[:count], self.parts.prompts[:count], self._sampler_facts(),
            self.parts.policy.base.frames_per_second,
        )  # fmt: skip
        return [path.name for path in paths]

    def _save(self) -> None:
        moments = checkpoint.optimizer_state(self.optimizer, self.parameters)
        memory = self.memory.state_dict() if self.memory else {}
        self.checkpoints.save(self.update, self.parts.policy.adapter_state(), moments, self._log.sync(), memory)
        self._log.write("checkpoint", update=self.update)
        verdict = self._verdict()
        kept = {verdict.best, verdict.fallback, *self._asked_for}
        self.checkpoints.retain(self.recipe.training.keep_checkpoints, kept)

    def _finish(self, verdict: guards.Verdict, status: str) -> guards.Verdict:
        self._log.write(
            "verdict", update=self.update, best=verdict.best, alarms=verdict.alarms, sentence=verdict.sentence,
            status=status,
        )  # fmt: skip
        self._log.sync()
        return verdict

    def _wants_stop(self) -> bool:
        """Whether the user asked to end: a stop file ends well, a signal saves and raises Interrupted."""
        signal_number = self.interrupts.received
        asked = self.processes.from_main((signal_number, self.run_folder.stop_file.exists()))
        if asked[0] is None:
            return asked[1]
        if self.is_main:
            self._save()
        raise Interrupted(
            f"Stopped at update {self.update}; everything up to here is saved.",
            signal_number=asked[0],
            action="Resume to go on.",
        )

    def _verdict(self) -> guards.Verdict:
        settings = self.recipe
        return guards.verdict(self._checks, patience=settings.validation.patience, updates=settings.training.updates)

    def _render(self) -> Tensor:
        return torch.cat(
            [self.parts.renderer(self.parts.prompts, seed) for seed in range(self.recipe.validation.seeds)]
        )

    def _measure_base(self) -> None:
        """The panel compares with the base's pictures: a resumed run renders them again."""
        with self.parts.policy.as_reference():
            self.parts.panel.measure(self._render())

    def _beat(self) -> None:
        if self.is_main and time.monotonic() - self._last_state > STATE_EVERY_SECONDS:
            self._last_state = time.monotonic()
            self.run_folder.write_state("running", update=self.update)

    def _sampler_facts(self) -> str:
        v = self.recipe.validation
        return f"euler, {v.steps} steps, guidance {v.guidance_scale:g}, seed {self.recipe.training.seed}, strength 1"
