"""What can be done with LoRA files of any family: convert, inspect, verify, extract, merge.

`families` says how each family's layers are called; `reading` turns any file into updates under diffusers' names;
everything else works on those. Files are written by `toolkit.lora_file` alone.
"""
