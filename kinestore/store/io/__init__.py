"""Files, here or in an object store, that are written atomically and read with checks."""
