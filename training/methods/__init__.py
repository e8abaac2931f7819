"""The table of methods: one paper, one file, one line."""

METHODS: dict[str, str] = {
    "direct_align": "training.methods.direct_align:DirectAlign",
    "dmpo": "training.methods.dmpo:Dmpo",
    "dpo": "training.methods.dpo:Dpo",
    "dpo_cm": "training.methods.dpo_cm:DpoCm",
    "dspo": "training.methods.dspo:Dspo",
    "inpo": "training.methods.inpo:Inpo",
    "ipo": "training.methods.ipo:Ipo",
    "kto": "training.methods.kto:Kto",
    "latent_reward": "training.methods.latent_reward:FollowLatentReward",
    "mapo": "training.methods.mapo:Mapo",
    "refl": "training.methods.refl:Refl",
    "sdpo": "training.methods.sdpo:Sdpo",
    "sft": "training.methods.sft:Sft",
    "sipo": "training.methods.sdpo:Sdpo",
    "smpo": "training.methods.smpo:Smpo",
    "srpo": "training.methods.srpo:Srpo",
}
