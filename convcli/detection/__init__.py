"""Motion in what a temporal kernel makes of a clip: events, the noise they must rise above, pictures of them.

Frames in, numbers and arrays out.  No files, no terminal.
"""
