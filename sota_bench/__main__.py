"""``python -m sota_bench``."""

from sota_bench.cli import program

if __name__ == "__main__":
    program()
