"""The backend: trains, samples and scores, as a process (`python -m training`), also under `accelerate launch`."""
