"""The table of rewards: one scorer, one file, one line."""

REWARDS: dict[str, str] = {
    "demo": "training.rewards.demo:DemoReward",
    "demo_judge": "training.rewards.demo_judge:DemoJudge",
    "demo_second": "training.rewards.demo_second:DemoSecond",
    "remote": "training.rewards.remote:Remote",
}
