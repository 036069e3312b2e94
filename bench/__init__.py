"""What classifyd takes of time and memory, held against others: `python -m bench`."""
