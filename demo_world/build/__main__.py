"""Build the world: `python -m demo_world.build all`, or one stage: `python -m demo_world.build vae --minutes 9`."""

import argparse
import importlib
import inspect

import torch

STAGES = {
    "data": "demo_world.build.data:build",
    "captions": "demo_world.build.captions:build",
    "vae": "demo_world.build.vae:train",
    "decoder": "demo_world.build.vae:refine_decoder",
    "text_encoder": "demo_world.build.text_encoder:train",
    "reward": "demo_world.build.reward:train",
    "second_reward": "demo_world.build.second_reward:train",
    "judge": "demo_world.build.judge:train",
    "generator": "demo_world.build.generator:train",
    "gates": "demo_world.build.gates:main",
}


def run(stage: str, options: dict[str, float | bool]) -> None:
    """Call one stage with those of the options that it takes."""
    module, function = STAGES[stage].split(":")
    call = getattr(importlib.import_module(module), function)
    known = inspect.signature(call).parameters
    call(**{name: value for name, value in options.items() if name in known})


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m demo_world.build", description=__doc__)
    parser.add_argument("stage", choices=["all", *STAGES])
    parser.add_argument("--minutes", type=float, help="wall-clock budget of a training stage (all: of each)")
    parser.add_argument("--flat", type=float, help="generator only: share of the budget before the rate falls")
    parser.add_argument("--resume", action="store_true", default=None, help="scorers: go on from the shipped weights")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    choice = parser.parse_args()
    if choice.threads:
        torch.set_num_threads(choice.threads)
    options = {
        name: getattr(choice, name) for name in ("minutes", "flat", "resume") if getattr(choice, name) is not None
    }
    for stage in STAGES if choice.stage == "all" else [choice.stage]:
        run(stage, options)


if __name__ == "__main__":
    main()
