"""Why the model says what it says: players, the game that they play on the network, and how its values are computed."""
