"""Corpora, manifests, splits and pairs: where samples come from, before any of their files is decoded."""
