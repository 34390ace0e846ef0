"""Motion in what a temporal kernel makes of a clip: events, the noise they must rise above, pictures of them.

Pure: arrays in, numbers and arrays out.  No files, no kernels, no terminal.
"""
