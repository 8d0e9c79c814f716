"""`python -m headartist` is `headartist`."""

from headartist_command.door import main

if __name__ == "__main__":
    main()
