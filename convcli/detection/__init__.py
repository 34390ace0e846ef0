"""Motion in a clip's results of a temporal kernel: events, the noise threshold, pictures of them.

Frames in, numbers and arrays out.  No files, no terminal.
"""
