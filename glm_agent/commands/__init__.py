"""One file a command: it builds the parts and yields the events; `conduct` plays them to the views."""
