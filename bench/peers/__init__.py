"""What classifyd is held against; each a program of its own, that needs none of its code to run."""
