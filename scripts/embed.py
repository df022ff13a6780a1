"""A file as a C array: embed.py FILE OUT NAME HEADER defines `const unsigned char NAME[]`, which a
NUL follows, and `const unsigned long NAME_bytes`, as HEADER declares them. FILE `-`: an empty array."""
import sys

path, out, name, header = sys.argv[1:]
data = b"" if path == "-" else open(path, "rb").read()
rows = [",".join(map(str, data[i:i + 24])) for i in range(0, len(data), 24)]
with open(out, "w") as file:
    file.write(f'#include "{header}"\n'
               f"const unsigned char {name}[] = {{{','.join(rows + ['0'])}}};\n"
               f"const unsigned long {name}_bytes = {len(data)};\n")
