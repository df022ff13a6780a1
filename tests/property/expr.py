"""Expressions of the pattern language as trees: how each is written, and what it is worth.

A Node knows its type and, for integers, an interval [lo, hi] that holds for every problem of the
generated pattern, so that a generator can keep divisors, shifts and indices legal. text() writes a
tree with the fewest parentheses the grammar allows; value() evaluates it on NumPy arrays that
broadcast over [queries, keys]. Neither looks at the other: a precedence mistake in the program's
parser shows as a wrong mask.
"""
from dataclasses import dataclass, field

import numpy as np

INT, REAL, BOOL = "int", "real", "bool"


@dataclass(frozen=True, eq=False)
class Node:
    op: str
    type: str
    args: tuple = ()
    data: object = None
    lo: int = 0
    hi: int = 0


@dataclass(frozen=True)
class Param:
    name: str
    type: str
    per_head: bool
    lo: float
    hi: float
    constant: bool = False


@dataclass(frozen=True)
class Input:
    name: str
    type: str
    indices: tuple      # texts, as declared
    lo: float
    hi: float


@dataclass(frozen=True, eq=False)
class Function:         # fn NAME(a, b) = body, over `arg` nodes
    name: str
    params: tuple
    body: Node


@dataclass(frozen=True, eq=False)
class SubPattern:       # what `use NAME(...)` refers to
    name: str
    params: tuple
    keep: Node


@dataclass(frozen=True, eq=False)
class Map:              # map NAME[a in 0 .. n, ...] = body, over variables
    name: str
    variables: tuple
    extents: tuple
    body: Node


# ---- writing ------------------------------------------------------------------------------------

TERNARY, OR, AND, NOT, COMPARE, BITOR, BITXOR, BITAND, SHIFT, ADD, MUL, UNARY, ATOM = range(1, 14)

INFIX = {"or": OR, "and": AND, "|": BITOR, "^": BITXOR, "&": BITAND, "<<": SHIFT, ">>": SHIFT,
         "+": ADD, "-": ADD, "*": MUL, "/": MUL, "%": MUL,
         "<": COMPARE, "<=": COMPARE, ">": COMPARE, ">=": COMPARE, "==": COMPARE, "!=": COMPARE}
CALLS = {"min", "max", "clamp", "abs", "ceildiv", "log2", "bits", "sqrt", "tanh", "exp"}


class Writer:
    """Writes expressions; collects the lets, functions, ... that they need, in a usable order."""

    def __init__(self):
        self.names = {}             # id of a definition -> name
        self.keepalive = []
        self.lets = []              # (name, text)
        self.functions, self.patterns, self.maps, self.params, self.inputs = [], [], [], [], []

    def once(self, found, item):
        if item not in found:
            found.append(item)

    def text(self, node, need=0):
        """The node, in parentheses if it binds looser than `need`."""
        text, binds = self.plain(node)
        return f"({text})" if binds < need else text

    def plain(self, node):
        op, args, data = node.op, node.args, node.data
        if op in INFIX:
            p = INFIX[op]
            left = p + 1 if p == COMPARE else p
            return f"{self.text(args[0], left)} {op} {self.text(args[1], p + 1)}", p
        if op in CALLS:
            return f"{op}({', '.join(self.text(a) for a in args)})", ATOM
        return getattr(self, "write_" + op)(node, args, data)

    def write_const(self, node, args, data):
        if node.type == BOOL:
            return ("true" if data else "false"), ATOM
        text = repr(abs(data))
        return ("-" + text, UNARY) if data < 0 else (text, ATOM)

    def write_neg(self, node, args, data):
        return "-" + self.text(args[0], UNARY), UNARY

    def write_not(self, node, args, data):
        return "not " + self.text(args[0], NOT), NOT

    def write_choose(self, node, args, data):
        c, a, b = args
        return f"{self.text(c, OR)} ? {self.text(a)} : {self.text(b, TERNARY)}", TERNARY

    def write_leaf(self, node, args, data):
        return data, ATOM

    def write_arg(self, node, args, data):
        return data, ATOM

    def write_var(self, node, args, data):
        return data, ATOM

    def write_param(self, node, args, data):
        self.once(self.params, data)
        return (f"{data.name}[{self.text(args[0])}]" if data.per_head else data.name), ATOM

    def write_input(self, node, args, data):
        self.once(self.inputs, data)
        return f"{data.name}[{', '.join(self.text(a) for a in args)}]", ATOM

    def write_map(self, node, args, data):
        if data not in self.maps:
            inner = Writer()
            heads = ", ".join(f"{v} in 0 .. {n}" for v, n in zip(data.variables, data.extents))
            data_text = f"map {data.name}[{heads}] = {inner.text(data.body)};"
            self.names[id(data)] = data_text
            self.params += [p for p in inner.params if p not in self.params]
            self.maps.append(data)
        return f"{data.name}[{', '.join(self.text(a) for a in args)}]", ATOM

    def write_let(self, node, args, data):
        definition = args[0]
        if id(definition) not in self.names:
            text = self.text(definition)
            name = f"let{len(self.lets)}"
            self.names[id(definition)] = name
            self.keepalive.append(definition)
            self.lets.append((name, text))
        return self.names[id(definition)], ATOM

    def write_call(self, node, args, data):
        self.once(self.functions, data)
        return f"{data.name}({', '.join(self.text(a) for a in args)})", ATOM

    def write_use(self, node, args, data):
        sub, bound = data
        self.once(self.patterns, sub)
        given = ", ".join(f"{p.name} = {self.text(a)}" for p, a in zip(bound, args))
        return f"use {sub.name}({given})", ATOM

    def write_in(self, node, args, data):
        return f"{self.text(args[0], BITOR)} in {self.set_text(data, args[1:])}", COMPARE

    def write_any(self, node, args, data):
        variable, kind = data
        body, *ends = args
        return f"{node.op} {variable} in {self.set_text(kind, ends)} : {self.text(body, NOT)}", NOT

    write_all = write_count = write_any

    def set_text(self, kind, ends):
        """A set's kind is list, pow2, range, or (operator, left kind, its number of ends, right kind)."""
        if isinstance(kind, tuple):
            op, left, count, right = kind
            loose = ("range",) if op == "-" else ()     # a .. b - c is a .. (b - c)
            texts = (self.set_text(k, e) for k, e in ((left, ends[:count]), (right, ends[count:])))
            return f" {op} ".join(f"({text})" if isinstance(k, tuple) or k in loose else text
                                  for k, text in zip((left, right), texts))
        if kind == "list":
            return "{" + ", ".join(self.text(e) for e in ends) + "}"
        if kind == "pow2":
            return f"pow2({self.text(ends[0])} .. {self.text(ends[1])})"
        ends = [self.text(e, SHIFT) for e in ends]
        return " .. ".join(ends[:2]) + (f" step {ends[2]}" if len(ends) == 3 else "")


# ---- evaluating ---------------------------------------------------------------------------------

MANY_HEADS = 64

@dataclass
class Env:
    leaves: dict                                # text of a leaf -> array
    params: dict = field(default_factory=dict)  # name -> number or list per head
    inputs: dict = field(default_factory=dict)
    variables: dict = field(default_factory=dict)
    memo: dict = field(default_factory=dict)


def floor_log2(x):
    """-1 for x < 1."""
    result = np.full(np.shape(x), -1, np.int64)
    rest = np.asarray(x).copy()
    while (rest > 0).any():
        result = np.where(rest > 0, result + 1, result)
        rest = np.where(rest > 0, rest >> 1, rest)
    return result


ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "%": np.mod, "&": np.bitwise_and,
              "|": np.bitwise_or, "^": np.bitwise_xor, "<<": np.left_shift, ">>": np.right_shift,
              "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
              "==": np.equal, "!=": np.not_equal, "and": np.logical_and, "or": np.logical_or,
              "abs": np.abs, "not": np.logical_not, "neg": np.negative,
              "sqrt": np.sqrt, "tanh": np.tanh, "exp": np.exp, "bits": lambda x: floor_log2(x) + 1,
              "ceildiv": lambda a, b: -np.floor_divide(-a, b),
              "clamp": lambda x, low, high: np.minimum(np.maximum(x, low), high),
              "choose": np.where}


def value(node, env):
    if id(node) not in env.memo:
        env.memo[id(node)] = compute(node, env), node     # the node too, so that its id stays its own
    return env.memo[id(node)][0]


def compute(node, env):
    op, args, data = node.op, node.args, node.data
    if op == "any" or op == "all" or op == "count":
        return quantify(node, env)
    if op == "use":
        sub, bound = data
        params = {p.name: [p.lo] * MANY_HEADS if p.per_head else p.lo for p in sub.params}
        params.update((p.name, value(a, env)) for p, a in zip(bound, args))
        return value(sub.keep, Env(env.leaves, params))
    if op == "call":
        arguments = dict(zip(data.params, (value(a, env) for a in args)))
        return value(data.body, Env({**env.leaves, **arguments}, env.params, env.inputs,
                                    env.variables))
    if op == "const":
        kind = {INT: np.int64, REAL: np.float64, BOOL: np.bool_}[node.type]
        return kind(data)
    if op == "leaf" or op == "arg":
        return env.leaves[data]
    if op == "var":
        return np.int64(env.variables[data])
    values = [value(a, env) for a in args]
    if op == "let":
        return values[0]
    if op == "param":
        table = env.params[data.name]
        kind = np.int64 if data.type == INT else np.float64
        if data.per_head:
            return np.asarray(table, kind)[values[0]]
        return kind(table) if np.ndim(table) == 0 else table
    if op == "input":
        array = env.inputs[data.name]
        kind = np.int64 if data.type == INT else np.float64
        return array.astype(kind)[tuple(values)]
    if op == "map":
        return map_table(data, env)[tuple(values)]
    if op == "in":
        return member(values[0], data, values[1:])
    if op == "log2":
        return floor_log2(values[0]) if node.type == INT else np.log2(values[0])
    if op == "/":
        if node.type == INT:
            return np.floor_divide(*values)
        return np.true_divide(*values)
    if op == "min" or op == "max":
        better = np.minimum if op == "min" else np.maximum
        result = values[0]
        for other in values[1:]:
            result = better(result, other)
        return result
    return ARITHMETIC[op](*values)


def member(x, kind, ends):
    if isinstance(kind, tuple):
        op, left, count, right = kind
        a, b = member(x, left, ends[:count]), member(x, right, ends[count:])
        return a | b if op == "|" else a & b if op == "&" else a & ~b
    if kind == "list":
        return np.logical_or.reduce(np.broadcast_arrays(*[x == e for e in ends]))
    if kind == "pow2":
        return np.logical_or.reduce(np.broadcast_arrays(
            np.bool_(False) & (x == 0), *[x == 1 << t for t in range(int(ends[0]), int(ends[1]))]))
    step = ends[2] if len(ends) == 3 else 1
    return (x >= ends[0]) & (x < ends[1]) & ((x - ends[0]) % step == 0)


def quantify(node, env):
    variable, kind = node.data
    body, *ends = node.args
    ends = [value(e, env) for e in ends]
    if isinstance(kind, tuple) or kind == "list":       # constants of -99 .. 99
        elements = [(x, True) for x in range(-99, 100) if member(np.int64(x), kind, ends)]
    elif kind == "pow2":
        elements = [(1 << t, True) for t in range(int(ends[0]), int(ends[1]))]
    else:       # the ends may differ from pair to pair: go over all that occur
        step = int(ends[2]) if len(ends) == 3 else 1
        longest = max(0, int(np.max(ends[1] - ends[0])))
        elements = [(ends[0] + n, ends[0] + n < ends[1]) for n in range(0, longest, step)]
    any_, all_, count = np.bool_(False), np.bool_(True), np.int64(0)
    for element, exists in elements:
        inner = Env(env.leaves, env.params, env.inputs, {**env.variables, variable: element})
        holds = value(body, inner)
        any_ = any_ | (holds & exists)
        all_ = all_ & (holds | np.logical_not(exists))
        count = count + (holds & exists)
    return {"any": any_, "all": all_, "count": count}[node.op]


def map_table(data, env):
    table = np.zeros(data.extents, bool)
    for position in np.ndindex(*data.extents):
        variables = dict(zip(data.variables, position))
        table[position] = value(data.body, Env(env.leaves, env.params, {}, variables))
    return table
