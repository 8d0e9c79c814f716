"""One thread at a time imports and loads: libraries that put imports off meet half-made modules otherwise."""

import threading

LOADING = threading.RLock()
"""Held while heavy libraries are imported, and while settings of the whole process are switched for a moment."""
