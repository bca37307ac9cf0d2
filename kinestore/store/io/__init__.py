"""Files that are written whole and read with care, here or in an object store."""
