"""The native form: its C++ sources, what they are compiled from (``library``), and torch's operator of them (``operator``).

Nothing is imported here, so that compiling needs no torch.
"""
