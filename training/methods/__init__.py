"""The table of methods: one paper, one file, one line."""

METHODS: dict[str, str] = {
    "awm": "training.methods.awm:Awm",
    "dance_grpo": "training.methods.dance_grpo:DanceGrpo",
    "ddpo": "training.methods.ddpo:Ddpo",
    "direct_align": "training.methods.direct_align:DirectAlign",
    "flow_grpo": "training.methods.flow_grpo:FlowGrpo",
    "mix_grpo": "training.methods.mix_grpo:MixGrpo",
    "nft": "training.methods.nft:Nft",
    "refl": "training.methods.refl:Refl",
    "srpo": "training.methods.srpo:Srpo",
}
