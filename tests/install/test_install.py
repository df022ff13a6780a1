"""What `meson install` leaves: a prefix that a host needs nothing else of.

Usage: test_install.py LIBHEDDLE SOURCE_ROOT BUILD_ROOT MESON CC...
Exported symbols of both libraries are those that heddle.h declares; a host outside of both trees compiles and links
with `pkg-config --cflags --libs heddle` alone, and finds the shipped patterns of the prefix; version,
soname, program and the .pc files agree; a host of heddle-rt.pc runs a bundle without libheddle. Skipped (77) where nm or pkg-config is missing.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIBRARY, ROOT, BUILD, MESON, *CC = sys.argv[1:]
HOST = r"""
#include <heddle.h>
#include <stdio.h>
int main(void) {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    const struct heddle_context_options cpu = {.struct_bytes = sizeof cpu, .target = HEDDLE_TARGET_CPU};
    if (heddle_context_create(&cpu, &context) || heddle_pattern_load(context, "window", NULL, &pattern))
        return fprintf(stderr, "%s\n", heddle_last_error()), 1;
    puts(heddle_version());
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
}
"""


def out(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def exported(library):
    lines = out("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines} - {"HEDDLE_0"}


def declared():
    with open(os.path.join(ROOT, "runtime/include/heddle.h"), encoding="utf-8") as file:
        text = re.sub(r"//[^\n]*", "", file.read())
    return set(re.findall(r"\b(heddle_\w+)\(", text))


def test_symbols():
    assert exported(LIBRARY) == declared(), exported(LIBRARY) ^ declared()


class Prefix:
    """The tree as installed, moved to where it was not configured to be."""

    def __init__(self, folder):
        self.folder = folder
        # --no-rebuild: what is installed is what is tested.
        subprocess.run([*MESON.split(), "install", "-C", BUILD, "--no-rebuild", "--destdir", folder],
                       check=True, stdout=subprocess.DEVNULL)
        pc = self.find("heddle.pc")
        self.lib = os.path.dirname(os.path.dirname(pc))
        self.env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc),
                    "PKG_CONFIG_SYSROOT_DIR": folder, "LD_LIBRARY_PATH": self.lib}

    def find(self, name):
        found = [os.path.join(at, name) for at, _, names in os.walk(self.folder) if name in names]
        assert len(found) == 1, f"{name}: {found}"
        return found[0]

    def config(self, *flags, library="heddle"):
        return out("pkg-config", *flags, library, env=self.env).split()


def test_host(prefix):
    source = os.path.join(prefix.folder, "host.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(HOST)
    program = os.path.join(prefix.folder, "host")
    subprocess.run([*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", program,
                    *prefix.config("--cflags", "--libs")], check=True)
    # strace-free proof that the patterns are the prefix's: without them the host fails.
    version = out(program, env=prefix.env).strip()
    patterns = os.path.dirname(prefix.find("window.heddle"))
    os.rename(patterns, patterns + ".away")
    failed = subprocess.run([program], env=prefix.env, stderr=subprocess.PIPE, text=True, check=False)
    os.rename(patterns + ".away", patterns)
    assert failed.returncode == 1 and "window" in failed.stderr, failed
    return version


def test_runtime(prefix, version):
    """The example, with all of libheddle gone."""
    runtime = os.path.realpath(os.path.join(prefix.lib, "libheddle-rt.so"))
    assert os.path.basename(runtime) == f"libheddle-rt.so.{version}", runtime
    assert exported(runtime) == declared() and os.path.getsize(runtime) < 1 << 20
    assert prefix.config("--modversion", library="heddle-rt") == [version]
    bundle, program = (os.path.join(prefix.folder, name) for name in ("w.hbundle", "bundle"))
    subprocess.run([prefix.find("heddle"), "compile", "window", "--emit=bundle", "--target", "cpu",
                    "--dtype", "bf16", "-o", bundle], check=True, stdout=subprocess.DEVNULL,
                   env={**prefix.env, "HEDDLE_CACHE_DIR": os.devnull})
    subprocess.run([*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", os.path.join(ROOT, "examples/bundle.c"),
                    "-o", program, *prefix.config("--cflags", "--libs", library="heddle-rt")], check=True)
    for name in os.listdir(prefix.lib):
        if name.startswith("libheddle.so"):
            os.remove(os.path.join(prefix.lib, name))
    assert "is odd" in out(program, bundle, env=prefix.env)


def test_versions(prefix, version):
    assert prefix.config("--modversion") == [version]
    program = prefix.find("heddle")
    assert out(program, "--version", env=prefix.env).strip() == f"heddle {version}"
    soname = f"libheddle.so.{version.split('.')[0]}"
    assert f"[{soname}]" in out("readelf", "-d", LIBRARY)
    real = os.path.realpath(os.path.join(prefix.lib, soname))
    assert os.path.basename(real) == f"libheddle.so.{version}", real
    assert exported(real) == declared()


def test_files(prefix):
    folder = prefix.config("--variable=patternsdir")[0]
    shipped = {name for name in os.listdir(os.path.join(ROOT, "patterns"))}
    installed = os.path.join(prefix.folder, folder.removeprefix(prefix.folder).lstrip("/"))
    assert set(os.listdir(installed)) == shipped
    for name in ("heddle.h", "heddle.1", "LICENSE"):
        prefix.find(name)


def main():
    if not all(map(shutil.which, ("nm", "readelf", "pkg-config"))):
        print("skipped: no nm, readelf or pkg-config here")
        return 77
    test_symbols()
    with tempfile.TemporaryDirectory() as folder:
        prefix = Prefix(folder)
        version = test_host(prefix)
        test_versions(prefix, version)
        test_files(prefix)
        test_runtime(prefix, version)
    print("5 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
