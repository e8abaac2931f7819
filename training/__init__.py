"""The backend: trains, samples and scores. It runs as a process (`python -m training`), alone or under `accelerate launch`."""
