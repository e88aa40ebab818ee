"""What the console's benchmarks run: the console itself, a minimal Textual app beside it, a writer of journals."""
