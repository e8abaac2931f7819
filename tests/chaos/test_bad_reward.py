"""A reward that stops giving numbers ends the run in words, with the last good checkpoint kept."""

from __future__ import annotations

import pytest

from toolkit.run_folder import FAILED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure

NAN_IN_UPDATE_4 = """
from training.rewards.demo import DemoReward
from training.trainer import Trainer
features, train = DemoReward.image_features, Trainer._train_update
def train_update(self):
    if self.update == 3:
        DemoReward.image_features = lambda reward, images: features(reward, images) * float("nan")
    train(self)
Trainer._train_update = train_update
"""
BROKEN_REWARD = """
from training.rewards.demo import DemoReward
def image_features(self, images):
    raise RuntimeError("the picture tower fell over")
DemoReward.image_features = image_features
"""


def test_a_reward_that_turns_nan_stops_the_run(palate, chaos) -> None:
    run, child = palate.start_training("run", plant=NAN_IN_UPDATE_4)
    said = chaos.end(child, 1)
    assert "Training diverged at update 4: the loss or its gradient is not a number." in said
    assert "Last good checkpoint: 2." in said
    assert "Try half the learning rate (0.0001)." in said
    assert run.state().status == FAILED
    assert chaos.intact(run) == [0, 2]
    assert run.lora_files() == []
    assert [event["update"] for event in run.events("update")] == [1, 2, 3]


def test_a_reward_that_crashes_is_quoted(palate, chaos) -> None:
    """Nobody foresaw it, so there is a traceback, but in the log and not on the screen."""
    run, child = palate.start_training("run", plant=BROKEN_REWARD)
    said = chaos.end(child, 1)
    assert "ended unexpectedly (exit code 1)" in said
    assert "RuntimeError: the picture tower fell over" in said
    assert "Traceback" in run.log_file.read_text()
    assert not run.state().is_active
