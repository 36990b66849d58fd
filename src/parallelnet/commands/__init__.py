"""The work behind each command, by what it is for: options in, one module called, the result printed."""
