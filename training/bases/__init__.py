"""The table of bases: one model family, one file, one line."""

BASES: dict[str, str] = {
    "cogvideox": "training.bases.cogvideox:CogVideoX",
    "demo": "training.bases.demo:Demo",
    "flux": "training.bases.flux:Flux",
    "sd15": "training.bases.sd15:Sd15",
    "sdxl": "training.bases.sdxl:Sdxl",
    "wan": "training.bases.wan:Wan",
}
