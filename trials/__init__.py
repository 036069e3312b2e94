"""Long trials of the promise, each with its control: the guard taken out, and the trial failing."""
