"""sota_bench: which training techniques help on your images, in minutes per iteration and with sound statistics."""
