"""Studies as data and one runner each: what a claim rests on, and what a line in runs/ rewrites (design section 7)."""
