"""The table of methods: one paper, one file, one line."""

METHODS: dict[str, str] = {
    "align_prop": "training.methods.align_prop:AlignProp",
    "direct_align": "training.methods.direct_align:DirectAlign",
    "dmpo": "training.methods.dmpo:Dmpo",
    "dpo": "training.methods.dpo:Dpo",
    "dpo_cm": "training.methods.dpo_cm:DpoCm",
    "draft": "training.methods.draft:Draft",
    "drtune": "training.methods.drtune:Drtune",
    "dspo": "training.methods.dspo:Dspo",
    "flow_bp": "training.methods.flow_bp:FlowBp",
    "inpo": "training.methods.inpo:Inpo",
    "ipo": "training.methods.ipo:Ipo",
    "kto": "training.methods.kto:Kto",
    "leap_align": "training.methods.leap_align:LeapAlign",
    "mapo": "training.methods.mapo:Mapo",
    "refl": "training.methods.refl:Refl",
    "sdpo": "training.methods.sdpo:Sdpo",
    "sft": "training.methods.sft:Sft",
    "sipo": "training.methods.sdpo:Sdpo",
    "smpo": "training.methods.smpo:Smpo",
    "srpo": "training.methods.srpo:Srpo",
}
