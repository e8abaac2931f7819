"""The table of bases: one model family, one file, one line."""

BASES: dict[str, str] = {
    "cogvideox": "training.bases.cogvideox:CogVideoX",
    "demo": "training.bases.demo:Demo",
    "flux": "training.bases.flux:Flux",
    "flux2": "training.bases.flux2:Flux2",
    "hunyuan_dit": "training.bases.hunyuan_dit:HunyuanDit",
    "qwen_image": "training.bases.qwen_image:QwenImage",
    "sd15": "training.bases.sd15:Sd15",
    "sd3": "training.bases.sd3:Sd3",
    "sdxl": "training.bases.sdxl:Sdxl",
    "wan": "training.bases.wan:Wan",
    "z_image": "training.bases.z_image:ZImage",
}
