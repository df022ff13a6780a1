// Stage check: several attentions whose results are merged.
//
//   branch NAME { pool ...; keep ...; }     sources of its own
//   branch NAME weight W { ... }            its weight in `merge lse`
//   merge lse;                              by log-sum-exp: one softmax over all, so weights are
//                                           those of the sources
//   merge gate E;                           the sum of E times each one's result; in E `branch` is
//                                           the branch's number and `token` the query's
#include "dsl/checker.h"

#include <string.h>

struct branching {
    const struct ast_stmt *merge;
    const struct ast_stmt *weighted; // the first branch with a weight
    bool failed;
};

static struct branching *branching_of(struct unit *unit) {
    if (!unit->branching)
        unit->branching = ARENA_NEW(unit->place.root->checker->arena, struct branching);
    return unit->branching;
}

// ---- branch NAME { ... } ------------------------------------------------------------------------

static bool add_branch(struct unit *unit, const struct ast_stmt *stmt) {
    struct pattern *pattern = unit->place.root->pattern;
    for (int i = 0; i < pattern->branch_count; i++)
        if (pattern->branches[i].name == stmt->name.text) {
            complain(&unit->place, stmt->name.span, "branch '%s' is there twice", stmt->name.text);
            remark(&unit->place, pattern->branches[i].span, "the first is here");
            return false;
        }
    if (pattern->branch_count == MAX_BRANCHES) {
        complain(&unit->place, stmt->name.span, "a pattern has at most %d branches", MAX_BRANCHES);
        return false;
    }
    if (!pattern->branches)
        pattern->branches =
            ARENA_ARRAY(unit->place.root->checker->arena, struct pattern_branch, MAX_BRANCHES);
    pattern->branches[pattern->branch_count++] =
        (struct pattern_branch){.name = stmt->name.text, .span = stmt->name.span};
    return true;
}

static bool belongs_in_branch(const struct ast_stmt *stmt) {
    switch (stmt->kind) {
    case STMT_AXES:
    case STMT_CONST:
    case STMT_PARAM:
    case STMT_REQUIRE:
    case STMT_FN:
    case STMT_SCORE:
    case STMT_IMPORT:
    case STMT_PATTERN:
    case STMT_BRANCH:
    case STMT_MERGE:
        return false;
    default:
        return true;
    }
}

void read_branch(struct unit *unit, const struct ast_stmt *stmt) {
    struct branching *branching = branching_of(unit);
    struct unit inside = {.decl = unit->decl, .used = unit->used};
    uint32_t errors = unit->place.root->checker->diags->error_count;
    bool good = add_branch(unit, stmt);
    inside.place = unit->place;
    inside.place.scope = scope_new(unit->place.root->checker, unit->place.scope, unit->place.limit);
    inside.place.limit = 0;
    inside.branch = unit->place.root->pattern->branch_count - 1;
    if (stmt->weight && !branching->weighted)
        branching->weighted = stmt;
    if (stmt->weight)
        inside.branch_weight = read_weight(unit, stmt->weight, &good);
    for (const struct ast_stmt *inner = stmt->body; inner; inner = inner->next) {
        if (belongs_in_branch(inner)) {
            read_statement(&inside, inner);
            continue;
        }
        complain(&unit->place, inner->span, "this stands outside of branches");
        good = false;
    }
    good = good && append_sources(&inside, stmt->name.span);
    good = good && unit->place.root->checker->diags->error_count == errors;
    branching->failed |= !good;
}

// ---- merge --------------------------------------------------------------------------------------

void read_merge(struct unit *unit, const struct ast_stmt *stmt) {
    struct branching *branching = branching_of(unit);
    bool lse = strcmp(stmt->name.text, "lse") == 0, gate = strcmp(stmt->name.text, "gate") == 0;
    bool good = false;
    if (branching->merge) {
        complain(&unit->place, stmt->span, "branches are merged once");
        remark(&unit->place, branching->merge->span, "the first 'merge' is here");
    } else if (!lse && !gate) {
        complain(&unit->place, stmt->name.span,
                 "branches are merged by 'lse' or by 'gate', not '%s'", stmt->name.text);
    } else if (lse && stmt->value) {
        complain(&unit->place, stmt->value->span,
                 "'merge lse' takes nothing more; a branch has its weight before its '{'");
    } else if (gate && !stmt->value) {
        complain(&unit->place, stmt->span,
                 "'merge gate' takes a value: g[head, branch, token], say");
    } else {
        good = true;
    }
    branching->merge = branching->merge ? branching->merge : stmt;
    branching->failed |= !good;
}

static void name_value(const struct place *place, const char *name, const struct expr *value) {
    struct ast_name word = {words_text(&place->root->checker->words, name), value->span};
    struct binding *binding = scope_declare(place, place->scope, BIND_VALUE, "name", word);
    binding->value.expr = value;
}

static const struct expr *gate_of(struct unit *unit, const struct ast *node, int branch) {
    struct expr_graph *graph = unit->place.root->graph;
    struct place inside = unit->place;
    inside.scope = scope_new(unit->place.root->checker, unit->place.scope, unit->place.limit);
    name_value(&inside, "branch", expr_int(graph, node->span, branch));
    name_value(&inside, "token",
               expr_ref(graph, node->span, OP_TOKEN, TYPE_INT, 0, SIDE_QUERY, NULL, 0));
    inside.limit = inside.scope->count;
    const struct expr *gate = lower_typed(&inside, node, TYPE_REAL, "a gate");
    if (gate && gate->deps & DEP_KEY) {
        complain(&unit->place, node->span, "a gate is of the query, this depends on the key");
        return NULL;
    }
    return gate;
}

static bool read_gates(struct unit *unit, const struct ast_stmt *merge) {
    struct pattern *pattern = unit->place.root->pattern;
    bool good = true;
    for (int i = 0; i < pattern->branch_count && good; i++) {
        pattern->branches[i].gate = gate_of(unit, merge->value, i);
        good = pattern->branches[i].gate != NULL;
    }
    return good;
}

const struct expr *finish_branches(struct unit *unit) {
    struct branching *branching = unit->branching;
    struct pattern *pattern = unit->place.root->pattern;
    if (unit->keep_count > 0 || unit->pooling) {
        complain(&unit->place, unit->decl->stmt->name.span,
                 "a pattern with branches keeps and pools inside of them");
        return NULL;
    }
    if (!branching->merge && pattern->branch_count && !branching->failed)
        complain(&unit->place, pattern->branches[0].span,
                 "branches need a 'merge lse' or a 'merge gate'");
    if (branching->merge && !pattern->branch_count && !branching->failed)
        complain(&unit->place, branching->merge->span, "there is no branch to merge");
    if (branching->merge && branching->merge->value && branching->weighted) {
        complain(&unit->place, branching->weighted->weight->span,
                 "a branch has a weight in 'merge lse' only; a gate is its factor here");
        return NULL;
    }
    if (branching->failed || !branching->merge || !pattern->branch_count)
        return NULL;
    if (branching->merge->value && !read_gates(unit, branching->merge))
        return NULL;
    return pattern->sources[0].keep;
}
