"""The table of rewards: one scorer, one file, one line."""

REWARDS: dict[str, str] = {
    "aesthetic_v25": "training.rewards.aesthetic_v25:AestheticV25",
    "clip": "training.rewards.clip:Clip",
    "demo": "training.rewards.demo:DemoReward",
    "demo_judge": "training.rewards.demo_judge:DemoJudge",
    "demo_second": "training.rewards.demo_second:DemoSecond",
    "hpsv21": "training.rewards.hpsv21:Hpsv21",
    "image_reward": "training.rewards.image_reward:ImageReward",
    "laion_aesthetic": "training.rewards.laion_aesthetic:LaionAesthetic",
    "mixture": "training.rewards.mixture:Mixture",
    "pickscore": "training.rewards.pickscore:PickScore",
    "remote": "training.rewards.remote:Remote",
    "siglip": "training.rewards.siglip:Siglip",
}
