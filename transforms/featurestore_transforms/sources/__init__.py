"""Source files of each format as lazy frames, and the schema that a pipeline holds of them.

Start at ``file_reader.py``, then ``source_file.py``.
"""
