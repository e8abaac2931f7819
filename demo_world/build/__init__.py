"""Build the demo world from public emoji artwork: data, tokenizer, autoencoder, rewards, judge and generator."""
