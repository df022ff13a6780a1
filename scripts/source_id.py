"""A name for what the compiler's sources say: source_id.py OUT DEPFILE FOLDER... writes a header
with HEDDLE_SOURCE_ID, a hash of all sources in the folders, and a depfile that lists them. Compiled
code of other sources is not to be found in a cache."""
import hashlib
import os
import sys

ENDINGS = (".c", ".h", ".def", ".l", ".y", ".build")

out, depfile, *folders = sys.argv[1:]
files = []
for folder in folders:
    for where, below, names in os.walk(folder):
        below.sort()
        files += [os.path.join(where, name) for name in sorted(names) if name.endswith(ENDINGS)]
digest = hashlib.sha256()
for path in files:
    data = open(path, "rb").read()
    digest.update(f"{os.path.basename(path)} {len(data)}\n".encode() + data)
with open(out, "w") as file:
    file.write(f'#define HEDDLE_SOURCE_ID "{digest.hexdigest()[:32]}"\n')
with open(depfile, "w") as file:
    names = " ".join(path.replace(" ", "\\ ") for path in files)
    file.write(f"{out.replace(' ', chr(92) + ' ')}: {names}\n")
