"""The table of methods: one paper, one file, one line."""

METHODS: dict[str, str] = {
    "direct_align": "training.methods.direct_align:DirectAlign",
    "draft": "training.methods.draft:Draft",
    "refl": "training.methods.refl:Refl",
    "srpo": "training.methods.srpo:Srpo",
}
