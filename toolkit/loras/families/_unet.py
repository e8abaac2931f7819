"""The UNet of Stable Diffusion 1.5 and XL: the original network numbers its blocks through."""

from toolkit.loras.names import Rule, renamed

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ATTENTION = [
    "proj_in",
    "proj_out",
    *(f"transformer_blocks.*.attn{n}.to_{part}" for n in (1, 2) for part in ("q", "k", "v", "out.0")),
    "transformer_blocks.*.ff.net.0.proj",
    "transformer_blocks.*.ff.net.2",
]
OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def rules(levels: int, *, attention_down: set[int], attention_up: set[int], layers: int = 2) -> tuple[Rule, ...]:
    """Both names of all layers; `attention_…`: the levels with attention; `layers`: resnets of a level going down."""
    found = [*renamed(OUTER)]
    for level in range(levels):
        for layer in range(layers):
            block = f"input_blocks.{level * (layers + 1) + layer + 1}."
            found += _pair(f"down_blocks.{level}.", layer, block, attends=level in attention_down)
        down = f"input_blocks.{(level + 1) * (layers + 1)}.0.op"
        found += renamed({f"down_blocks.{level}.downsamplers.0.conv": down})
        for layer in range(layers + 1):
            block = f"output_blocks.{level * (layers + 1) + layer}."
            found += _pair(f"up_blocks.{level}.", layer, block, attends=level in attention_up)
        up = f"output_blocks.{level * (layers + 1) + layers}.{2 if level in attention_up else 1}.conv"
        found += renamed({f"up_blocks.{level}.upsamplers.0.conv": up})
    for layer, place in enumerate((0, 2)):
        found += renamed(RESNET, diffusers=f"mid_block.resnets.{layer}.", original=f"middle_block.{place}.")
    found += _attention("mid_block.attentions.0.", "middle_block.1.")
    return tuple(found)


def _pair(level: str, layer: int, block: str, *, attends: bool) -> list[Rule]:
    resnet = renamed(RESNET, diffusers=f"{level}resnets.{layer}.", original=f"{block}0.")
    return [*resnet, *(_attention(f"{level}attentions.{layer}.", f"{block}1.") if attends else ())]


def _attention(diffusers: str, original: str) -> tuple[Rule, ...]:
    return renamed(dict(zip(ATTENTION, ATTENTION, strict=True)), diffusers=diffusers, original=original)
