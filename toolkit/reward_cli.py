"""The commands that teach rewards and words; `toolkit.cli` adds them to `palate`. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class PairOrCommand(TyperGroup):
    """A group whose first argument may also be a word: then it is a pair to measure."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Anything that is neither a command nor a call for help is given to `measure`."""
        known = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in known else ["measure", *args])


rewards = typer.Typer(
    help="Train rewards: on noisy latents, or to hear control words.", no_args_is_help=True, rich_markup_mode=None
)
words = typer.Typer(
    help="Show the library of word pairs, measure a pair, or learn one from pictures you like.",
    epilog='Examples:  palate words "3d render" "line art"  ·  palate words learn likes --output taste.safetensors',
    cls=PairOrCommand,
    rich_markup_mode=None,
)
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as steps=400.")
]
Output = Annotated[Path, typer.Option(help="The .safetensors file to write.")]
Reward = Annotated[str, typer.Option(help="The reward to tune.")]


@words.command()
def measure(
    positive: Annotated[str, typer.Argument(help="What pictures should be more like; empty lists the library.")] = "",
    negative: Annotated[str, typer.Argument(help="What pictures should be less like.")] = "",
    base: Annotated[str, typer.Option(help="The base whose pictures are scored.")] = "demo",
    reward: Annotated[str, typer.Option(help="The reward that reads the words.")] = "demo",
) -> None:
    """Measure how well a reward tells a pair apart; without words, list the library."""
    from toolkit import commands

    if positive:
        commands.measure_words(positive, negative, base=base, reward=reward)
    else:
        commands.list_words()


@words.command()
def learn(
    likes: Annotated[Path, typer.Argument(help="Pictures liked or disliked (docs/data.md).")],
    output: Output,
    reward: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A reward that is to know the words (default: demo and demo_second)."),
    ] = None,
    positive: Annotated[str, typer.Option(help="What to call what you like.")] = "<liked>",
    negative: Annotated[str, typer.Option(help="What to call what you do not.")] = "<disliked>",
    set_: Set = None,
) -> None:
    """Learn a word pair from pictures you like and dislike, for a recipe's `words: {learned: FILE}`."""
    from toolkit import reward_commands

    reward_commands.learn_words(likes, output, reward or ["demo", "demo_second"], positive, negative, set_ or [])


@rewards.command()
def train_latent(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or a ready one's name: its base, seed and precision.")],
    pairs: Annotated[Path, typer.Argument(help="Preference pairs (docs/data.md).")],
    output: Output,
    set_: Set = None,
) -> None:
    """Train a reward on a base's noisy latents from preference pairs, for the method `latent_reward`."""
    from toolkit import reward_commands

    reward_commands.train_latent(recipe, pairs, output, set_ or [])


@rewards.command()
def export_comfyui(
    weights: Annotated[
        Path, typer.Argument(help="The reward's weights: HPS_v2.1_compressed.pt, or PickScore's folder.")
    ],
    output: Output,
    reward: Annotated[str, typer.Option(help="Whose they are: hpsv21 or pickscore.")] = "hpsv21",
    set_: Set = None,
) -> None:
    """Write a reward for ComfyUI's models/palate: float16, .safetensors, for the node Load Preference Model."""
    from toolkit import reward_commands

    reward_commands.export_comfyui(weights, output, reward, set_ or [])


@rewards.command()
def tune(
    photos: Annotated[Path, typer.Argument(help="Photos whose captions name their style (docs/data.md).")],
    word: Annotated[list[str], typer.Option(metavar="WORD", help="A style word of the captions; give each of them.")],
    output: Output,
    reward: Reward = "demo",
    set_: Set = None,
) -> None:
    """Make a reward more sensitive to style words, for its setting `tuned: FILE`."""
    from toolkit import reward_commands

    reward_commands.tune(photos, word, output, reward, set_ or [])
