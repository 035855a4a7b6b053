"""`python -m wraith`."""

from wraith.cli import main

if __name__ == "__main__":
    main()
