"""Random patterns, each with problems to run it on.

Half of the conditions have the shapes of real patterns (windows, strides, blocks, dilation, frames)
with random numbers in them; the others are arbitrary. Divisors, shifts, indices and sizes are kept
legal by the nodes' intervals, so the program must accept every pattern.
"""
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
import re

import numpy as np

from expr import BOOL, INT, REAL, Function, Input, Map, Node, Param, SubPattern, Writer

NARROW, WIDE = 1 << 28, 1 << 56      # magnitudes that integers stay below
MAX_HEADS = 4
AXES = ("i",), ("y", "x"), ("t", "y", "x")
MAX_SIZE = {1: 600, 2: 40, 3: 14}


class TooBig(Exception):
    pass


def corners(function, a, b):
    values = [function(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return min(values), max(values)


def bit_bounds(a, b):
    bits = max(abs(v).bit_length() for v in (a.lo, a.hi, b.lo, b.hi))
    return (0 if a.lo >= 0 and b.lo >= 0 else -(1 << bits)), (1 << bits) - 1


def bounds(op, args):
    a = args[0]
    b = args[1] if len(args) > 1 else None
    if op in ("+", "-", "*"):
        return corners({"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[op], a, b)
    if op in ("/", "ceildiv"):
        low, high = corners(int.__floordiv__, a, b)
        return low, high + (op == "ceildiv")
    if op == "%":
        return (0, b.hi - 1) if b.lo > 0 else (b.lo + 1, 0)
    if op == "<<":
        return corners(int.__lshift__, a, b)
    if op == ">>":
        return corners(int.__rshift__, a, b)
    if op in ("&", "|", "^"):
        return bit_bounds(a, b)
    if op == "min":
        return min(x.lo for x in args), min(x.hi for x in args)
    if op == "max":
        return max(x.lo for x in args), max(x.hi for x in args)
    if op == "clamp":
        return b.lo, args[2].hi
    if op == "neg":
        return -a.hi, -a.lo
    if op == "abs":
        return (0 if a.lo <= 0 <= a.hi else min(abs(a.lo), abs(a.hi))), max(abs(a.lo), abs(a.hi))
    if op in ("log2", "bits"):
        return -1, max(a.hi, 1).bit_length()
    if op == "choose":
        return min(args[1].lo, args[2].lo), max(args[1].hi, args[2].hi)
    raise AssertionError(op)


@dataclass
class Pattern:
    """A generated pattern: what it keeps, and how scores change (None: not at all)."""
    axes: tuple
    keeps: list
    score: Node
    positive: set       # names of parameters that must be at least 1
    reads_queries: bool     # an input is indexed by the query: no negative positions then

    def text(self):
        writer = Writer()
        keeps = [writer.text(k) for k in self.keeps]
        score = writer.text(self.score) if self.score else None
        lines = [function_text(f) for f in writer.functions]
        lines += [sub_text(p, self.axes) for p in writer.patterns]
        lines += ["pattern random {", f"    axes {', '.join(self.axes)};"]
        lines += declarations(writer, self.positive)
        lines += [f"    {writer.names[id(m)]}" for m in writer.maps]
        lines += [f"    let {name} = {text};" for name, text in writer.lets]
        lines += [f"    keep {k};" for k in keeps]
        if score:
            lines.append(f"    score {score};")
        return "\n".join(lines + ["}", ""])

    def used(self):
        """Parameters and inputs that the text needs."""
        writer = Writer()
        for node in self.keeps + ([self.score] if self.score else []):
            writer.text(node)
        return writer.params, writer.inputs

    def reads_batch(self):
        """Does the batch entry decide anything?"""
        return re.search(r"\bbatch\b", self.text()) is not None


def function_text(function):
    writer = Writer()
    body = writer.text(function.body)
    where = ", ".join(f"{name} = {text}" for name, text in writer.lets)
    return (f"fn {function.name}({', '.join(function.params)}) = {body}"
            + (f"\n    where {where};" if where else ";"))


def sub_text(sub, axes):
    writer = Writer()
    keep = writer.text(sub.keep)
    for param in sub.params:
        writer.once(writer.params, param)
    lines = [f"pattern {sub.name} {{", f"    axes {', '.join(axes)};"]
    lines += declarations(writer, set())
    lines += [f"    let {name} = {text};" for name, text in writer.lets]
    return "\n".join(lines + [f"    keep {keep};", "}"])


def declarations(writer, positive):
    lines = []
    for p in writer.params:
        index = "[head]" if p.per_head else ""
        start = p.lo if p.type == INT else float(p.lo)
        lines.append(f"    {'const' if p.constant else 'param'} {p.type} {p.name}{index} = {start};")
    for i in writer.inputs:
        lines.append(f"    input {i.type} {i.name}[{', '.join(i.indices)}];")
    for p in writer.params:
        if p.name in positive:
            at = f"{p.name}[head]" if p.per_head else p.name
            lines.append(f'    require {at} >= 1 : "a divisor";')
    return lines


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.axes = AXES[rng.choice(3, p=[0.5, 0.25, 0.25])]
        self.max_size = MAX_SIZE[len(self.axes)]
        self.limit = WIDE if rng.random() < 0.15 else NARROW
        self.params, self.inputs, self.positive = [], [], set()
        self.functions, self.subs, self.maps = [], [], []
        self.variables = []         # of quantifiers around here
        self.arguments = None       # inside a function: its parameters, and nothing else
        self.uniform_only = False   # inside a map: no positions
        self.inside_sub = False     # inside a pattern for `use`: no inputs
        self.lets = {INT: [], BOOL: []}
        self.reads_queries = False
        self.counter = 0

    # -- small helpers --

    @contextmanager
    def scope(self, **changes):
        """These attributes, for a while."""
        saved = {name: getattr(self, name) for name in changes}
        self.__dict__.update(changes)
        try:
            yield
        finally:
            self.__dict__.update(saved)

    def flip(self, probability=0.5):
        return self.rng.random() < probability

    def pick(self, *values):
        return values[self.rng.integers(len(values))]

    def between(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def name(self, stem):
        self.counter += 1
        return f"{stem}{self.counter}"

    def int_const(self, value):
        return Node("const", INT, data=int(value), lo=int(value), hi=int(value))

    def make(self, op, *args):
        low, high = bounds(op, args)
        if max(abs(low), abs(high)) > self.limit:
            raise TooBig
        return Node(op, INT, args, lo=low, hi=high)

    def try_make(self, op, *args):
        try:
            return self.make(op, *args)
        except TooBig:
            return args[0]

    def test(self, op, *args):
        return Node(op, BOOL, args)

    def every(self, op, *conditions):
        node = conditions[0]
        for other in conditions[1:]:
            node = Node(op, BOOL, (node, other))
        return node

    # -- leaves --

    def coordinate(self, side, axis):
        return Node("leaf", INT, data=f"{side}.{axis}",
                    lo=-self.max_size if len(self.axes) == 1 and side == "q" else 0,
                    hi=self.max_size)

    def token(self, side):
        keys = self.max_size ** len(self.axes)
        return Node("leaf", INT, data=f"{side}.token",
                    lo=-keys if len(self.axes) == 1 and side == "q" else 0, hi=keys)

    def size(self, axis):
        return Node("leaf", INT, data=f"size({axis})", lo=1, hi=self.max_size)

    def param(self, low, high, type=INT):
        """A parameter with a value in low .. high: an old one that fits, or a new one."""
        old = [p for p in self.params if p.type == type and low <= p.lo and p.hi <= high]
        if old and self.flip(0.4):
            chosen = self.pick(*old)
        else:
            constant = type == INT and self.flip(0.2)
            per_head = not constant and self.flip(0.3)
            name = self.name("c" if constant else "p")
            chosen = Param(name, type, per_head, low, high, constant)
            self.params.append(chosen)
            if low >= 1 and type == INT and self.arguments is None:
                self.positive.add(chosen.name)
        return self.param_node(chosen)

    def param_node(self, p):
        index = (Node("leaf", INT, data="head", lo=0, hi=MAX_HEADS - 1),) if p.per_head else ()
        low, high = (p.lo, p.hi) if p.type == INT else (0, 0)
        return Node("param", p.type, index, p, low, high)

    def number(self, low, high):
        """A number in low .. high that the pattern knows, or one that the problem gives."""
        if self.arguments is None and not self.uniform_only and self.flip(0.4):
            return self.param(low, high)
        return self.int_const(self.between(low, high))

    def head(self):
        return Node("leaf", INT, data="head", lo=0, hi=MAX_HEADS - 1)

    def leaf(self):
        if self.arguments is not None and self.flip(0.8):
            return self.pick(*self.arguments)
        if self.variables and (self.flip() or self.uniform_only):
            return self.pick(*self.variables)
        if self.arguments is not None or self.uniform_only:
            return self.int_const(self.between(-9, 70))
        axis = self.pick(*self.axes)
        kind = self.rng.choice(8, p=[0.25, 0.3, 0.06, 0.06, 0.05, 0.05, 0.18, 0.05])
        if kind == 0:
            return self.coordinate("q", axis)
        if kind == 1:
            return self.coordinate("k", axis)
        if kind == 2:
            return self.token(self.pick("q", "k"))
        if kind == 3:
            word = self.pick("head", "head", "head", "heads", "kv_head", "batch")
            return Node("leaf", INT, data=word, lo=0, hi=MAX_HEADS)
        if kind == 4:
            return self.size(axis)
        if kind == 5:
            return self.input_read(INT)
        if kind == 6:
            return self.number(self.between(-20, 0), self.between(1, 70))
        return self.int_const(self.pick(1, 2, 63, 64, 65, 127, 128, self.limit >> 4))

    def input_read(self, type):
        """One of the inputs at a legal index; on one axis only, where blocks are simple to say."""
        if len(self.axes) > 1 or self.flip(0.2):
            shape = self.pick(("head",), ("head",), ("kv_head",), ("batch",), ("batch", "head"))
        else:
            shape = self.pick(("i",), ("i",), ("head", "i"), ("blocks(i, 16)",),
                              ("head", "blocks(i, 16)", "blocks(i, 16)"), ("batch", "i"), ("token",))
        old = [i for i in self.inputs if i.type == type and i.indices == shape]
        if old and self.flip(0.7):
            chosen = old[0]
        else:
            low, high = (-5, 100) if self.flip(0.3) else (0, 3)
            chosen = Input(self.name("in"), type, shape, low, high)
            self.inputs.append(chosen)
        indices = []
        for index in shape:
            if index in ("head", "kv_head", "batch"):
                indices.append(Node("leaf", INT, data=index, lo=0, hi=MAX_HEADS - 1))
                continue
            side = self.pick("q", "k")
            self.reads_queries |= side == "q"
            at = self.coordinate(side, "i")
            indices.append(at if index in ("i", "token") else self.make("/", at, self.int_const(16)))
        low, high = (int(chosen.lo), int(chosen.hi)) if type == INT else (0, 0)
        return Node("input", type, tuple(indices), chosen, low, high)

    # -- integers --

    def integer(self, depth):
        for _ in range(20):
            try:
                return self.any_integer(depth)
            except TooBig:
                depth = max(0, depth - 1)
        return self.int_const(7)

    def any_integer(self, depth):
        if depth <= 0 or self.flip(0.15):
            return self.leaf()
        if self.lets[INT] and self.arguments is None and not self.variables and self.flip(0.15):
            return self.pick(*self.lets[INT])
        op = self.pick("+", "+", "-", "-", "-", "*", "/", "/", "%", "%", "ceildiv", "min", "max",
                       "clamp", "abs", "abs", "log2", "bits", "&", "|", "^", "<<", ">>", "neg",
                       "choose", "count", "call", "let")
        more = lambda: self.integer(depth - 1)
        if op in ("+", "-", "&", "|", "^"):
            return self.make(op, more(), more())
        if op == "*":
            factor = self.int_const(self.between(-9, 9)) if self.flip(0.7) else more()
            return self.make(op, more(), factor)
        if op in ("/", "%", "ceildiv"):
            return self.make(op, more(), self.divisor(depth))
        if op in ("min", "max"):
            return self.make(op, more(), more())
        if op == "clamp":
            low = self.between(-5, 20)
            return self.make(op, more(), self.int_const(low), self.int_const(low + self.between(0, 60)))
        if op in ("abs", "neg"):
            return self.make(op, more())
        if op in ("log2", "bits"):
            x = more() if self.flip(0.3) else self.make("max", more(), self.int_const(op == "log2"))
            return self.make(op, x)
        if op in ("<<", ">>"):
            return self.make(op, more(), self.shift_count(depth))
        if op == "choose":
            return self.make(op, self.boolean(depth - 1), more(), more())
        if op == "count":
            node = self.quantifier("count", depth)
            return Node("count", INT, node.args, node.data, 0, 64)
        if op == "call":
            return self.call(INT, depth)
        return self.let(INT, depth)

    def divisor(self, depth):
        kind = self.between(0, 9)
        if kind < 5 or self.arguments is not None:
            return self.int_const(self.pick(2, 3, 4, 5, 7, 8, 16, 32, 64, 100, 1, -3))
        if kind < 8 and not self.uniform_only:
            return self.param(1, self.pick(4, 9, 40))
        if kind < 9 and not self.uniform_only:
            return self.size(self.pick(*self.axes))
        if self.flip():
            return self.make("max", self.integer(depth - 1), self.int_const(self.between(1, 3)))
        return self.make("+", self.make("abs", self.integer(depth - 1)), self.int_const(1))

    def shift_count(self, depth):
        if self.flip():
            return self.int_const(self.between(0, 6))
        return self.make("clamp", self.integer(depth - 1), self.int_const(0),
                         self.int_const(self.between(1, 6)))

    def let(self, type, depth):
        inside = self.integer(depth - 1) if type == INT else self.boolean(depth - 1)
        if self.variables or self.uniform_only:
            return inside       # a let outside of the quantifier could not see its variable
        node = Node("let", type, (inside,), lo=inside.lo, hi=inside.hi)
        if self.arguments is None:
            self.lets[type].append(node)
        return node

    # -- reals --

    def real(self, depth):
        kind = self.between(0, 8)
        if depth <= 0 or kind == 0:
            return Node("const", REAL, data=round(float(self.rng.normal(0, 9)), 3))
        if kind == 1 and self.arguments is None and not self.uniform_only:
            return self.param(-2.5, 7.5, REAL)
        if kind == 2 and self.arguments is None and not self.uniform_only:
            return self.input_read(REAL)
        other = self.integer(depth - 1) if self.flip(0.6) else self.real(depth - 1)
        if kind <= 5:
            return Node(self.pick("+", "-", "*"), REAL, (self.real(depth - 1), other))
        if kind == 6:
            divisor = Node("const", REAL, data=self.pick(2.0, 0.3, 7.5, 64.0))
            return Node("/", REAL, (other, divisor))
        if kind == 7:
            return Node(self.pick("min", "max"), REAL, (self.real(depth - 1), other))
        size = Node("abs", REAL, (self.real(depth - 1),))
        return size if self.flip() else Node("sqrt", REAL, (size,))

    # -- booleans --

    def boolean(self, depth):
        if depth <= 0:
            return self.atom(0)
        roll = self.rng.random()
        more = lambda: self.boolean(depth - 1)
        if roll < 0.5:
            return self.every(self.pick("and", "and", "or"), more(), more())
        if roll < 0.58:
            return Node("not", BOOL, (more(),))
        if roll < 0.62:
            return Node("choose", BOOL, (more(), more(), more()))
        if roll < 0.64:
            return Node(self.pick("==", "!="), BOOL, (more(), more()))
        if roll < 0.70 and self.arguments is None:
            return self.let(BOOL, depth)
        return self.atom(depth)

    def atom(self, depth):
        simple = self.arguments is not None or self.variables or self.uniform_only
        if not simple and self.flip(0.55):
            try:
                return self.shaped()
            except TooBig:
                pass
        kind = self.between(0, 15)
        depth = min(depth, 2)
        if kind <= 7:
            return self.test(self.pick("<", "<=", ">", ">=", "==", "!="), self.integer(depth),
                             self.integer(depth))
        if kind <= 10:
            return self.member(depth)
        if kind == 11 and not simple:
            return Node("leaf", BOOL, data="causal")
        if kind == 12 and not simple:
            return self.test(self.pick("<", ">="), self.real(depth), self.real(depth))
        if kind == 13 and len(self.variables) < 2:
            return self.quantifier(self.pick("any", "all"), depth)
        if kind == 14 and not simple:
            return self.pick(self.use, self.map_read)(depth)
        if kind == 15 and not simple:
            return self.call(BOOL, depth)
        return self.test(self.pick("<", "<=", ">", ">="), self.integer(depth), self.leaf())

    def member(self, depth):
        x = self.integer(depth)
        kind = self.pick("range", "range", "list", "pow2")
        ends = self.set_ends(kind, depth)
        while self.flip(0.25):
            other = self.pick("range", "list", "pow2")
            more = self.set_ends(other, depth)
            kind, ends = (self.pick("|", "|", "&", "-"), kind, len(ends), other), ends + more
        return Node("in", BOOL, (x, *ends), kind)

    def set_ends(self, kind, depth):
        if kind == "pow2":
            low = self.between(0, 3)
            return self.int_const(low), self.int_const(low + self.between(0, 7))
        if kind == "list":
            return tuple(self.int_const(self.between(-3, 60)) for _ in range(self.between(1, 4)))
        begin = self.int_const(self.between(-4, 30)) if self.flip() else self.integer(min(depth, 1))
        end = self.try_make("+", begin, self.number(0, self.pick(4, 60)))
        if end is begin or self.flip(0.2):
            end = self.integer(min(depth, 1))
        return (begin, end) if self.flip(0.7) else (begin, end, self.int_const(self.between(1, 9)))

    def quantifier(self, op, depth):
        variable = self.name("e")
        kind = self.pick("range", "range", "list", "pow2")
        if kind == "list":
            values = [self.between(-3, 40) for _ in range(self.between(1, 4))]
            ends = tuple(self.int_const(v) for v in values)
            low, high = min(values), max(values)
            if self.flip(0.3):
                first, size = self.between(-3, 20), self.between(0, 9)
                ends += self.int_const(first), self.int_const(first + size)
                kind = self.pick("|", "&", "-"), "list", len(values), "range"
                low, high = min(low, first), max(high, first + size)
        elif kind == "pow2":
            start, count = self.between(0, 2), self.between(0, 5)
            ends = self.int_const(start), self.int_const(start + count)
            low, high = 1, 1 << (start + count)
        else:
            low, length = self.between(-3, 9), self.between(0, 9)
            high = low + length
            ends = self.int_const(low), self.int_const(high)
            if self.flip(0.3):
                ends = ends[0], self.try_make("+", ends[0], self.number(0, 6))
                high = ends[1].hi
            if self.flip(0.3):
                ends = *ends, self.int_const(self.between(1, 4))
        bound = Node("var", INT, data=variable, lo=low, hi=high)
        with self.scope(variables=self.variables + [bound]):
            body = self.test(self.pick("<", "==", ">=", "=="), self.integer(depth - 1),
                             self.try_make(self.pick("+", "*", "-"), bound, self.leaf()))
            if self.flip(0.3):
                body = self.every(self.pick("and", "or"), body, self.boolean(0))
        return Node(op, BOOL, (body, *ends), (variable, kind))

    def call(self, type, depth):
        """A function of one to three integers, with arguments inside the intervals it expects."""
        if self.arguments is not None or self.uniform_only:
            return self.integer(depth - 1) if type == INT else self.atom(0)
        fitting = [f for f in self.functions if f.body.type == type]
        if not fitting or self.flip(0.3):
            fitting = [self.function(type)]
        function = self.pick(*fitting)
        args = tuple(self.make("clamp", self.integer(depth - 1), self.int_const(-50),
                               self.int_const(200)) for _ in function.params)
        return Node("call", type, args, function, function.body.lo, function.body.hi)

    def function(self, type):
        names = tuple(self.name("a") for _ in range(self.between(1, 3)))
        arguments = [Node("arg", INT, data=n, lo=-50, hi=200) for n in names]
        with self.scope(variables=[], arguments=arguments):
            body = self.integer(2) if type == INT else self.boolean(2)
        self.functions.append(Function(self.name("f"), names, body))
        return self.functions[-1]

    def use(self, depth):
        """Another pattern of the file; what it leaves unbound has its default."""
        if not self.subs or self.flip(0.3):
            with self.scope(params=[], inputs=[], lets={INT: [], BOOL: []}, positive=set(),
                            inside_sub=True):
                keep = self.shaped()
            used = Writer()
            used.text(keep)
            self.subs.append(SubPattern(self.name("sub"), tuple(used.params), keep))
        sub = self.pick(*self.subs)
        bound = [p for p in sub.params if not p.constant and not p.per_head and self.flip(0.8)]
        args = [self.int_const(self.between(p.lo, p.hi)) if self.flip() else self.param(p.lo, p.hi)
                for p in bound]
        return Node("use", BOOL, tuple(args), (sub, tuple(bound)))

    def map_read(self, depth):
        """A small static table, read at positions that wrap around in it."""
        if not self.maps or self.flip(0.3):
            extents = tuple(self.between(1, 9) for _ in range(self.between(1, 2)))
            names = tuple(self.name("m") for _ in extents)
            variables = [Node("var", INT, data=v, lo=0, hi=n) for v, n in zip(names, extents)]
            with self.scope(variables=variables, uniform_only=True):
                body = self.test(self.pick("<", "==", ">="), self.integer(2), self.integer(1))
            self.maps.append(Map(self.name("map"), names, extents, body))
        chosen = self.pick(*self.maps)
        indices = tuple(self.make("%", self.integer(depth), self.int_const(n))
                        for n in chosen.extents)
        return Node("map", BOOL, indices, chosen)

    # -- conditions as real patterns have them --

    def shaped(self):
        q, k, axis = self.sides()
        shapes = [self.window, self.window, self.radius, self.sink, self.stride, self.band,
                  self.dilation, self.blocks, self.inward, self.heads, self.frames, self.powers]
        if len(self.axes) == 1 and not self.inside_sub:
            shapes.append(self.same_input)
        return self.pick(*shapes)(q, k, axis)

    def sides(self):
        """A coordinate, the token, or the place in the frame, of query and key."""
        axis = self.pick(*self.axes)
        if self.flip(0.2):
            return self.token("q"), self.token("k"), axis
        if len(self.axes) > 1 and self.flip(0.3):
            place = lambda side: self.make(
                "+", self.make("*", self.coordinate(side, self.axes[-2]), self.size(self.axes[-1])),
                self.coordinate(side, self.axes[-1]))
            return place("q"), place("k"), axis
        return self.coordinate("q", axis), self.coordinate("k", axis), axis

    def window(self, q, k, axis):
        distance = self.make("-", q, k)
        return self.every("and", self.test("<=", self.make("neg", self.number(0, 9)), distance),
                          self.test("<", distance, self.number(0, self.pick(5, 40, 130))))

    def radius(self, q, k, axis):
        distance = self.make("abs", self.make("-", self.pick(q, q, self.make("/", q, self.int_const(2))), k))
        return self.test(self.pick("<", "<="), distance, self.number(0, self.pick(5, 40, 130)))

    def sink(self, q, k, axis):
        if self.flip(0.7):
            return self.test("<", k, self.number(0, self.pick(3, 70)))
        return self.test(">=", self.pick(k, q), self.make("-", self.size(axis), self.number(0, 20)))

    def stride(self, q, k, axis):
        at = self.pick(k, k, self.make("-", q, k))
        if self.flip():
            at = self.make("/", at, self.number(1, self.pick(4, 64)))
        at = self.make("%", self.try_make("+", at, self.number(0, 9)), self.number(1, self.pick(3, 12, 70)))
        return self.test(self.pick("==", "<"), at, self.number(0, 3))

    def band(self, q, k, axis):
        start = self.make("-", self.make("*", q, self.int_const(self.between(0, 2))), self.number(0, 90))
        return Node("in", BOOL, (k, start, self.make("+", start, self.number(0, 40))), "range")

    def dilation(self, q, k, axis):
        step = self.number(1, self.pick(3, 8))
        return self.test("==", self.make("%", q, step), self.make("%", k, step))

    def blocks(self, q, k, axis):
        size = self.int_const(self.pick(2, 8, 16, 64)) if self.flip() else self.number(1, 40)
        qb, kb = self.make("/", q, size), self.make("/", k, size)
        if self.flip(0.3):
            return self.test("<=", self.make("abs", self.make("-", qb, kb)), self.number(0, 3))
        return self.test(self.pick("==", "<=", ">"), qb, self.try_make("+", kb, self.number(0, 3)))

    def inward(self, q, k, axis):
        """NATTEN's shape: a window that slides inward at the borders."""
        width = self.number(1, 12)
        room = self.make("max", self.make("-", self.size(axis), width), self.int_const(0))
        start = self.make("min", self.make("max", self.make(
            "-", q, self.make("/", width, self.int_const(2))), self.int_const(0)), room)
        return Node("in", BOOL, (k, start, self.make("+", start, width)), "range")

    def heads(self, q, k, axis):
        if self.flip():
            return self.test("==", self.make("%", self.head(), self.int_const(2)), self.int_const(self.between(0, 1)))
        return self.test("==", self.make("%", self.make("+", k, self.head()), self.number(1, 9)),
                         self.int_const(self.between(0, 2)))

    def frames(self, q, k, axis):
        """Radial's shape: a width that halves as the distance doubles."""
        distance = self.make("abs", self.make("-", self.coordinate("q", self.axes[0]),
                                              self.coordinate("k", self.axes[0])))
        power = self.make("<<", self.int_const(1), self.make("clamp", self.make("log2", self.make(
            "max", distance, self.int_const(1))), self.int_const(0), self.int_const(12)))
        width = self.make("/", self.number(1, 150), power)
        return self.test("<", self.make("abs", self.make("-", q, k)), width)

    def powers(self, q, k, axis):
        size = self.int_const(self.pick(1, 4, 16))
        distance = self.make("-", self.make("/", q, size), self.make("/", k, size))
        return Node("in", BOOL, (distance, self.int_const(0), self.int_const(self.pick(6, 32))), "pow2")

    def same_input(self, q, k, axis):
        read = self.input_read(INT)
        if read.data.indices != ("i",):
            return self.test("<", self.make("%", k, self.int_const(8)), read)
        self.reads_queries = True
        return self.test(self.pick("==", "==", "<="),
                         *(Node("input", INT, (self.coordinate(side, "i"),), read.data, read.lo, read.hi)
                           for side in "qk"))

    # -- whole patterns --

    def score(self):
        """Changes that leave every kept key a weight one can see."""
        s = Node("leaf", REAL, data="s")
        number = lambda: Node("const", REAL, data=round(float(self.rng.uniform(0.1, 2)), 3))
        steps = self.make("clamp", self.integer(2), self.int_const(-8), self.int_const(8))
        soft = Node("*", REAL, (number(), Node("tanh", REAL, (Node("/", REAL, (s, number())),))))
        return self.pick(
            lambda: Node("+", REAL, (s, Node("*", REAL, (number(), steps)))),
            lambda: Node("-", REAL, (soft, Node("*", REAL, (self.param(-0.5, 0.5, REAL), steps)))),
            lambda: Node("choose", REAL, (self.boolean(0), s, Node("*", REAL, (s, number())))))()

    def pattern(self):
        keeps = [self.boolean(self.between(1, 3)) for _ in range(self.pick(1, 1, 1, 2))]
        if self.flip(0.3):
            keeps = [self.every("and", Node("leaf", BOOL, data="causal"), k) for k in keeps]
        score = self.score() if self.flip(0.2) else None
        return Pattern(self.axes, keeps, score, self.positive, self.reads_queries)


def random_pattern(rng):
    while True:
        try:
            return Generator(rng).pattern()
        except TooBig:
            pass


@dataclass
class Case:
    """A problem for a generated pattern, in the terms of the oracle's Problem."""
    sizes: tuple
    queries: int
    heads: int
    kv_heads: int
    batches: int
    params: dict
    inputs: dict


def random_case(pattern, rng, tokens):
    count = len(pattern.axes)
    batches = 2 if pattern.reads_batch() else 1
    tokens = min(tokens, 250) if batches > 1 else tokens
    while True:
        largest = MAX_SIZE[count] if rng.random() < 0.7 else max(2, MAX_SIZE[count] // 8)
        sizes = tuple(int(rng.integers(1, largest + 1)) for _ in range(count))
        if prod(sizes) <= tokens:
            break
    heads = int(rng.integers(1, MAX_HEADS + 1))
    kv_heads = int(rng.choice([n for n in range(1, heads + 1) if heads % n == 0]))
    keys, roll = prod(sizes), rng.random()
    queries = keys
    if roll < 0.25:
        queries = int(rng.integers(1, sizes[0] + 1)) * prod(sizes[1:])
    elif roll < 0.35 and count == 1 and not pattern.reads_queries:
        queries = min(keys + int(rng.integers(1, 70)), MAX_SIZE[1])
    params, inputs = pattern.used()
    case = Case(sizes, queries, heads, kv_heads, batches, {}, {})
    for p in params:
        case.params[p.name] = random_value(p, heads, rng)
    for i in inputs:
        case.inputs[i.name] = random_array(i, case, rng)
    return case


def random_value(p, heads, rng):
    def one():
        if p.type == INT:
            return int(rng.integers(p.lo, p.hi + 1))
        return round(float(rng.uniform(p.lo, p.hi)), 3)
    return [one() for _ in range(heads)] if p.per_head else one()


def random_array(i, case, rng):
    extent = {"head": case.heads, "kv_head": case.kv_heads, "batch": case.batches,
              "i": case.sizes[0], "token": prod(case.sizes), "blocks(i, 16)": -(-case.sizes[0] // 16)}
    shape = tuple(extent[index] for index in i.indices)
    if i.type == REAL:
        return rng.uniform(i.lo, i.hi, shape).astype(np.float32)
    array = rng.integers(i.lo, i.hi + 1, shape)
    if rng.random() < 0.5:
        array = np.sort(array, axis=-1)
    return array.astype(np.int32 if rng.random() < 0.7 else np.int64)
