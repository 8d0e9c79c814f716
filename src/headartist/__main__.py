"""`python -m headartist` is `headartist`."""

from headartist.door import main

if __name__ == "__main__":
    main()
