"""``python -m capreward``: the same commands as the console script ``capreward``."""

from capreward.commands import main

if __name__ == "__main__":
    main()
