"""The table of methods: one paper, one file, one line."""

METHODS: dict[str, str] = {
    "align_prop": "training.methods.align_prop:AlignProp",
    "direct_align": "training.methods.direct_align:DirectAlign",
    "draft": "training.methods.draft:Draft",
    "drtune": "training.methods.drtune:Drtune",
    "flow_bp": "training.methods.flow_bp:FlowBp",
    "leap_align": "training.methods.leap_align:LeapAlign",
    "refl": "training.methods.refl:Refl",
    "srpo": "training.methods.srpo:Srpo",
}
