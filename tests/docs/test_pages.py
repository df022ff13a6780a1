"""The examples of docs/*.md do what the pages say.

    ```heddle [NAME.heddle]     a pattern file: `heddle check` takes it. NAME: later examples import it
    ```mask FLAGS               what `heddle draw` prints for the pattern above, 1 as '#' and 0 as '.';
                                FLAGS are draw's; --input doc=[0,0,1] stands for a file with these numbers
    ```error                    what `heddle check` says about the pattern above, which is then wrong
    ```console                  "$ COMMAND" lines, each with what it prints below; HEDDLE is the program
    ```c FILE BEGIN             a piece of a file of the repository, from the line that begins with BEGIN

Pictures of docs/patterns.md stand in blocks without a language, side by side, under headers that say sizes
and parameters. Links lead somewhere, and files and functions named in backquotes are there. heddle.1 is checked
by mandoc, where it is.

Usage: test_pages.py [--update] HEDDLE     --update writes what is printed now into the pages
"""
import functools
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = os.path.join(ROOT, "docs")
FENCE = re.compile(r"^```(\w*)[ ]?([^\n]*)\n(.*?)^```$", re.M | re.S)
ENVIRONMENT = {**os.environ, "HEDDLE_CACHE_DIR": os.devnull}


class Page:
    def __init__(self, name, heddle, folder, update):
        self.name, self.heddle, self.folder, self.update = name, heddle, folder, update
        self.passed, self.failures = 0, []
        self.pattern = None             # the file of the last ```heddle block

    def call(self, *arguments):
        return subprocess.run([self.heddle, *arguments], cwd=self.folder, env=ENVIRONMENT, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def say(self, fine, line, what):
        if fine:
            self.passed += 1
        else:
            self.failures.append(f"FAILED {self.name}:{line}: {what}")

    # ---- blocks: each gives what the block should hold -------------------------------------------

    def heddle_block(self, line, info, body, following):
        self.pattern = info.strip() or "example.heddle"
        with open(os.path.join(self.folder, self.pattern), "w", encoding="utf-8") as file:
            file.write(body)
        if following != "error":
            done = self.call("check", self.pattern)
            self.say(done.returncode == 0, line, done.stderr)
        return body

    def error_block(self, line, *_):
        done = self.call("check", self.pattern)
        self.say(done.returncode == 1, line, f"exit status {done.returncode}, not 1")
        return done.stderr

    def mask_block(self, line, info, *_):
        flags, inputs = [], 0
        for word in shlex.split(info):
            if "=[" in word:
                name, numbers = word.split("=", 1)
                numbers = np.array(json.loads(numbers))
                kind = np.float32 if numbers.dtype.kind == "f" else np.int32
                path = os.path.join(self.folder, f"{name}.{inputs}.npy")
                np.save(path, numbers.astype(kind))
                word, inputs = f"{name}={path}", inputs + 1
            flags.append(word)
        return self.draw(line, self.pattern, flags)

    def draw(self, line, pattern, flags):
        done = self.call("draw", pattern, "--format", "txt", *flags)
        self.say(done.returncode == 0, line, done.stderr)
        return done.stdout.replace("1", "#").replace("0", ".")

    def console_block(self, line, _info, body, *_):
        out = []
        for command in re.findall(r"^\$ (.*)$", body, re.M):
            program, *arguments = shlex.split(command)
            self.say(program == "heddle", line, f"'{command}' is not a call of heddle")
            done = self.call(*arguments)
            self.say(done.returncode == 0, line, done.stderr)
            out.append(f"$ {command}\n{done.stdout}")
        return "".join(out)

    def c_block(self, line, info, body, *_):
        if not info:
            return body
        path, begin = info.split(" ", 1)
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            lines = file.read().splitlines(keepends=True)
        starts = [i for i, text in enumerate(lines) if text.startswith(begin)]
        self.say(len(starts) == 1, line, f"{len(starts)} lines of {path} begin with '{begin}'")
        if not starts:
            return body
        end = next(i for i in range(starts[0], len(lines)) if lines[i].rstrip() in ("}", "};"))
        return "".join(lines[starts[0]:end + 1])

    # Side by side: columns begin where the entries of the header do, two blanks or more apart.
    def picture_block(self, line, _info, body, _following, section):
        header = body.splitlines()[0]
        found = list(re.finditer(r"\S+(?: \S+)*", header))
        columns, entries = [at.start() for at in found], [at.group() for at in found]
        pictures = [self.picture(line, section, entry).splitlines() for entry in entries]
        wanted = [header.rstrip()]
        for i in range(max(map(len, pictures))):
            text = ""
            for column, picture in zip(columns, pictures):
                text = text.ljust(column) + (picture[i] if i < len(picture) else "")
            wanted.append(text.rstrip())
        return "\n".join(wanted) + "\n"

    def picture(self, line, section, entry):
        axes, flags = [], []
        for word in entry.split():
            for pair in word.split(","):
                name, number = pair.split("=", 1)
                if name in ("i", "t", "y", "x"):
                    axes.append(pair)
                elif name == "block":
                    flags += ["--const", pair]
                elif name == "head":
                    flags += ["--head", number, "--heads", str(int(number) + 1)]
                else:
                    flags += ["--param", pair]
        return self.draw(line, pattern_of(section, axes), ["--axes", ",".join(axes), *flags])


def pattern_of(section, axes):
    """'neighborhood1d, neighborhood2d, ...' has one for each number of axes."""
    names = section.split(", ")
    return names[0] if len(names) == 1 else names[len(axes) - 1]


def blocks_of(text):
    found = list(FENCE.finditer(text))
    for i, match in enumerate(found):
        between = text[match.end():found[i + 1].start()] if i + 1 < len(found) else None
        adjacent = between is not None and between.strip() == ""
        yield match, found[i + 1].group(1) if adjacent else None


def section_at(text, place):
    headings = re.findall(r"^## (.*)$", text[:place], re.M)
    return headings[-1] if headings else ""


def check_page(page, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    out, at = "", 0
    for match, following in blocks_of(text):
        kind, info, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        method = getattr(page, f"{kind}_block", None)
        if not kind and page.name == "patterns.md" and body.split("\n")[0].count("=") and \
                "columns" not in body.split("\n")[0]:
            wanted = page.picture_block(line, info, body, following, section_at(text, match.start()))
        elif method:
            wanted = method(line, info, body, following)
        else:
            continue
        if not page.update:
            page.say(wanted == body, line, f"the page has\n{body}but it should be\n{wanted}")
        out += text[at:match.start(3)] + wanted
        at = match.end(3)
    if page.update:
        with open(path, "w", encoding="utf-8") as file:
            file.write(out + text[at:])


def check_links(page, path):
    """Files that a page names in links are there."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for match in re.finditer(r"\]\(([^)#]+)(#[^)]*)?\)", text):
        target = match.group(1)
        if not target.startswith("http"):
            line = text.count("\n", 0, match.start()) + 1
            there = os.path.exists(os.path.join(os.path.dirname(path), target))
            page.say(there, line, f"links to {target}, which is not there")


FOLDERS = ("dsl", "compiler", "runtime", "cli", "tests", "bench", "scripts", "patterns", "examples", "docs")
PATHS = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]+")
NAMES = re.compile(r"\b(?:cpu|sm90|llvm|cuda|program|expr|heddle)_[a-z0-9_]+\b")


@functools.cache
def sources():
    """The C text of the repository."""
    text = []
    for folder in ("dsl", "compiler", "runtime", "cli", "tests/gpu"):
        for at, _, files in os.walk(os.path.join(ROOT, folder)):
            for file in files:
                if file.endswith((".c", ".h", ".def")):
                    with open(os.path.join(at, file), encoding="utf-8") as source:
                        text.append(source.read())
    return set(NAMES.findall("\n".join(text)))


def check_names(page, path):
    """Files, functions and structs that a page names in `...` are in the tree."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    plain = FENCE.sub(lambda match: "\n" * match.group().count("\n"), text)
    for match in re.finditer(r"`([^`\n]+)`", plain):
        line = plain.count("\n", 0, match.start()) + 1
        for name in PATHS.findall(match.group(1)):
            if not re.search(r"[A-Z]{4}", name):        # NAME and STAGE stand for others
                there = os.path.join(ROOT, name)        # a suffix may be left out
                page.say(glob.glob(there) or glob.glob(there + ".*"), line, f"names {name}, which is not there")
        for name in NAMES.findall(PATHS.sub("", match.group(1))):
            page.say(name in sources() or name in ("heddle_ctypes", "heddle_torch"), line,
                     f"names {name}, which no source has")


def check_man():
    """0 or 1 failures, and what mandoc says."""
    if not shutil.which("mandoc"):
        return 0, "mandoc is not here: heddle.1 is not checked"
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(DOCS, "heddle.1")],
                          stdout=subprocess.PIPE, text=True, check=False)
    return int(done.returncode != 0), done.stdout


def main():
    update = "--update" in sys.argv
    heddle = os.path.abspath(sys.argv[-1])
    passed, failures = 0, []
    paths = [os.path.join(DOCS, name) for name in sorted(os.listdir(DOCS)) if name.endswith(".md")]
    paths += [os.path.join(ROOT, name) for name in ("README.md", "HACKING.md", "CHANGELOG.md")]
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            page = Page(os.path.basename(path), heddle, folder, update)
            if path.startswith(DOCS):
                check_page(page, path)
            check_links(page, path)
            check_names(page, path)
            passed += page.passed
            failures += page.failures
    failed, said = check_man()
    if failed:
        failures.append(f"FAILED heddle.1\n{said}")
    elif said:
        print(said)
    print("\n".join(failures))
    print(f"{passed + (not failed)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
