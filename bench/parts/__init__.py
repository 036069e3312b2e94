"""What is measured: a module for each, with `run(setup: Setup) -> Report`."""
