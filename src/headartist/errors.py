"""The one exception a user may cause, and nothing else."""


class HeadArtistError(Exception):
    """A mistake the user can mend: one sentence that names the thing, the value and the next step."""
