"""Training with torch and Lightning: `run.train` is the whole way, `fit.fit` one network on one part."""
