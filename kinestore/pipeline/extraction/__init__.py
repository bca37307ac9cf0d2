"""The job that fills a store with embeddings and frames."""
