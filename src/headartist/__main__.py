"""`python -m headartist` is `headartist`."""

from headartist.cli import main

if __name__ == "__main__":
    main()
