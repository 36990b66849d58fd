"""Text to speech: what of a text is spoken, engines that speak it, and when each word is."""
