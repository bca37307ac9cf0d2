"""Video files: finding, identifying, decoding and sampling them."""
