"""Train the generator, a small Flux transformer, on cached latents; every call is one stage that ends decayed."""

import random
import signal
import threading

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional

from demo_world.build import captions, common, pictures
from demo_world.build.data import SEED, World, load_world
from demo_world.build.painter import Painter, image_ids, load_vae, pack, to_latents
from demo_world.build.text_encoder import WIDTH

BATCH = 64
VERSIONS = 12  # cached pictures of each (subject, style) pair: backgrounds differ
SHIFT = 1.5
STATE = common.WORK / "generator.pt"


def new_model() -> FluxTransformer2DModel:
    """2.81M weights: 2 double and 6 single blocks of width 128."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=6,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


@torch.no_grad()
def cache_latents(world: World) -> dict:
    """Normalised packed latents [pairs,12,64,16] of every training pair on several backgrounds."""
    path = common.WORK / "latents.pt"
    if path.exists():
        return torch.load(path)
    rng, vae, pairs = random.Random(SEED + 3), load_vae(), world.pairs("train")
    latents, colours = [], []
    for subject, style in pairs:
        chosen = [None] * 4 + [pictures.pick_colour(style, rng, white=0) for _ in range(VERSIONS - 4)]
        sprites = world.sprites[subject, style].expand(VERSIONS, -1, -1, -1)
        images = pictures.compose(sprites, [pictures.background(colour, rng) for colour in chosen])
        latents.append(pack(to_latents(vae, images)))
        colours.append(chosen)
    content = {"pairs": pairs, "latents": torch.stack(latents), "colours": colours}
    common.save_atomically(path, content)
    return content


class Batches:
    """Random (latent, caption) batches; 10% empty captions, 65% of the rest styled."""

    def __init__(self, world: World, painter: Painter, seed: int) -> None:
        self.world, self.painter, self.rng = world, painter, random.Random(seed)
        self.cache = cache_latents(world)

    def caption(self, pair: tuple[int, int], colour: str | None) -> str:
        """One caption of a cached picture of a (subject, style) pair."""
        subject, style = pair
        if self.rng.random() < 0.1:
            return ""
        named = colour if self.rng.random() < 0.9 else None
        text = captions.thing(self.world.subjects[subject]["name"], named, self.rng)
        if self.rng.random() < 0.65:
            text = captions.styled(captions.style_word(style, self.rng), text, self.rng)
        return text

    def next(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [B,64,16], text states [B,20,128], pooled text [B,128]."""
        rows = [self.rng.randrange(len(self.cache["pairs"])) for _ in range(BATCH)]
        columns = [self.rng.randrange(VERSIONS) for _ in range(BATCH)]
        texts = [
            self.caption(self.cache["pairs"][row], self.cache["colours"][row][column])
            for row, column in zip(rows, columns, strict=True)
        ]
        states, pooled = self.painter.encode(texts)
        return self.cache["latents"][rows, columns], states, pooled


def draw_sigmas(count: int) -> Tensor:
    """Logit-normal noise levels with shift 1.5."""
    sigma = torch.randn(count).sigmoid()
    return SHIFT * sigma / (1 + (SHIFT - 1) * sigma)


def optimizers_for(model: FluxTransformer2DModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, norms, biases and the output."""
    inside = {name: weight for name, weight in model.named_parameters() if "blocks" in name and weight.ndim == 2}
    rest = [weight for name, weight in model.named_parameters() if name not in inside]
    muon = torch.optim.Muon(list(inside.values()), lr=3e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.01)]


class Stage:
    """Model, average and optimizers, with their saved state."""

    def __init__(self) -> None:
        self.model = new_model()
        self.average = common.Average(self.model, 0.999)
        self.optimizers = optimizers_for(self.model)
        self.images = 0
        for optimizer in self.optimizers:
            common.set_learning_rate(optimizer, 1.0)
        if STATE.exists():
            self.load(torch.load(STATE))

    def load(self, state: dict) -> None:
        """Take everything back from the state file."""
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        self.average.step, self.images = state["average_step"], state["images"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            rates = [group["base_lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["base_lr"] = rate

    def save(self) -> None:
        """Write the state file and the shipped weights."""
        content = {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "average_step": self.average.step,
            "images": self.images,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        common.save_atomically(STATE, content)
        common.ship(self.average.module, "transformer")
        common.log("generator", f"saved at {self.images} images")


def train(minutes: float = 120, flat: float = 0.6, save_every: float = 240) -> None:
    """One stage: constant rate for a share `flat` of the budget, then linear to zero. Continues from the last."""
    with common.plain_attention():
        run_stage(minutes, flat, save_every)


def run_stage(minutes: float, flat: float, save_every: float) -> None:
    """The loop of a stage; saves now and then, on SIGTERM and at its end."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stage = Stage()
    torch.manual_seed(SEED + 5 + stage.images)
    batches = Batches(load_world(), Painter(), SEED + 6 + stage.images)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    common.publish_folder(common.WEIGHTS / "scheduler", scheduler.save_pretrained)
    places, text_places = image_ids(), torch.zeros(20, 3)

    def velocity_loss(latents: Tensor, noise: Tensor, sigma: Tensor, states: Tensor, pooled: Tensor) -> Tensor:
        noisy = torch.lerp(latents, noise, sigma[:, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            velocity = stage.model(
                noisy, states, pooled, sigma, img_ids=places, txt_ids=text_places, return_dict=False
            )[0]
        return functional.mse_loss(velocity.float(), noise - latents)

    compiled = torch.compile(velocity_loss)
    latents, states, pooled = batches.next()
    compiled(latents, torch.randn_like(latents), draw_sigmas(BATCH), states, pooled).backward()  # compile off the clock
    stage.model.zero_grad()
    clock, step, running, saved, early = common.Clock(minutes), 0, [], 0.0, stage.images > 0
    while clock.progress < 1 and not stopped.is_set():
        latents, states, pooled = batches.next()
        loss = compiled(latents, torch.randn_like(latents), draw_sigmas(BATCH), states, pooled)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.model.parameters(), 1.0)
        for optimizer in stage.optimizers:
            common.set_learning_rate(optimizer, clock.trapezoid(step, flat=flat))
            optimizer.step()
            optimizer.zero_grad()
        stage.average.update(stage.model)
        step, stage.images = step + 1, stage.images + BATCH
        running.append(loss.item())
        passed = clock.progress * clock.seconds
        if step % 50 == 0:
            mean = sum(running[-200:]) / len(running[-200:])
            common.log("generator", f"{stage.images} images, loss {mean:.4f}, {step * BATCH / passed:.0f} images/s")
        if passed - saved > save_every or (not early and passed > 90):
            early, saved = True, passed
            stage.save()
    stage.save()
