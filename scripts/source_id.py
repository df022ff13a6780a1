"""A name for what sources say: source_id.py OUT DEPFILE PATH... writes a header that defines HEDDLE_
and its own name (source_id.h: HEDDLE_SOURCE_ID) as a hash of these files and of all sources in these
folders, and a depfile that lists them. Compiled code of other sources is not to be found in a cache,
and a bundle of another interface is not to be run."""
import hashlib
import os
import sys

ENDINGS = (".c", ".h", ".def", ".l", ".y", ".build")

out, depfile, *folders = sys.argv[1:]
files = [path for path in folders if os.path.isfile(path)]
for folder in folders:
    for where, below, names in os.walk(folder):
        below.sort()
        files += [os.path.join(where, name) for name in sorted(names) if name.endswith(ENDINGS)]
digest = hashlib.sha256()
for path in files:
    data = open(path, "rb").read()
    digest.update(f"{os.path.basename(path)} {len(data)}\n".encode() + data)
with open(out, "w") as file:
    name = os.path.splitext(os.path.basename(out))[0].upper()
    file.write(f'#define HEDDLE_{name} "{digest.hexdigest()[:32]}"\n')
with open(depfile, "w") as file:
    names = " ".join(path.replace(" ", "\\ ") for path in files)
    file.write(f"{out.replace(' ', chr(92) + ' ')}: {names}\n")
