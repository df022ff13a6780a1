// An ELF object -> a block of code without relocations. What LLVM makes of our IR has code,
// constants and relative references between them, and calls nothing outside: so this is all the
// linking there is, and it is done once, when a bundle is made, not where it is run.

#include "compiler/bundle/image.h"

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, MOST_SECTIONS = 4096 };

struct linking {
    const char *object;
    size_t bytes;
    const Elf64_Ehdr *head;
    const Elf64_Shdr *sections;
    int64_t *places; // by section: its offset in the image, or -1
    const Elf64_Sym *symbols;
    size_t symbol_count;
    const char *names; // of the symbols
    size_t names_bytes;
    struct strbuf *out;
    size_t begin; // of the image in *out
    struct error *error;
};

static enum heddle_status wrong(struct linking *l, const char *what) {
    return error_set(l->error, HEDDLE_INTERNAL, "an object of compiled code cannot be linked: %s",
                     what);
}

static bool inside(const struct linking *l, uint64_t at, uint64_t length) {
    return at <= l->bytes && length <= l->bytes - at;
}

static bool section_inside(const struct linking *l, const Elf64_Shdr *section) {
    return section->sh_type == SHT_NOBITS || inside(l, section->sh_offset, section->sh_size);
}

// ---- reading ------------------------------------------------------------------------------------

static enum heddle_status find_symbols(struct linking *l) {
    for (int i = 0; i < l->head->e_shnum; i++) {
        const Elf64_Shdr *section = &l->sections[i];
        if (!section_inside(l, section))
            return wrong(l, "a section ends too late");
        if (section->sh_type != SHT_SYMTAB)
            continue;
        if (section->sh_link >= l->head->e_shnum || section->sh_offset % 8)
            return wrong(l, "its symbols have no names");
        l->symbols = (const void *)(l->object + section->sh_offset);
        l->symbol_count = section->sh_size / sizeof *l->symbols;
        l->names = l->object + l->sections[section->sh_link].sh_offset;
        l->names_bytes = l->sections[section->sh_link].sh_size;
    }
    return l->symbols ? HEDDLE_OK : wrong(l, "it has no symbols");
}

static enum heddle_status open_object(struct linking *l) {
    l->head = (const void *)l->object;
    if (l->bytes < sizeof *l->head || memcmp(l->head->e_ident, ELFMAG, SELFMAG) != 0 ||
        l->head->e_ident[EI_CLASS] != ELFCLASS64 || l->head->e_machine != EM_X86_64 ||
        l->head->e_type != ET_REL)
        return wrong(l, "it is no object of x86-64");
    uint64_t table = (uint64_t)l->head->e_shnum * sizeof *l->sections;
    if (l->head->e_shnum > MOST_SECTIONS || !inside(l, l->head->e_shoff, table) ||
        l->head->e_shoff % 8)
        return wrong(l, "its sections are out of place");
    l->sections = (const void *)(l->object + l->head->e_shoff);
    return find_symbols(l);
}

// The name of a symbol; "" where it has none.
static const char *name_of(const struct linking *l, const Elf64_Sym *symbol) {
    size_t at = symbol->st_name;
    if (at >= l->names_bytes || !memchr(l->names + at, '\0', l->names_bytes - at))
        return "";
    return l->names + at;
}

// ---- placing ------------------------------------------------------------------------------------

static bool is_kept(const Elf64_Shdr *section) { // unwinding has no use for it here
    return (section->sh_flags & SHF_ALLOC) && section->sh_type == SHT_PROGBITS &&
           section->sh_size > 0;
}

static enum heddle_status place_sections(struct linking *l) {
    static const char zeros[ALIGNMENT];
    for (int i = 0; i < l->head->e_shnum; i++) {
        const Elf64_Shdr *section = &l->sections[i];
        l->places[i] = -1;
        if (section->sh_flags & SHF_ALLOC && section->sh_flags & SHF_WRITE && section->sh_size)
            return wrong(l, "it has data that is written");
        if (!is_kept(section))
            continue;
        if (section->sh_addralign > ALIGNMENT)
            return wrong(l, "a section asks for too large an alignment");
        size_t length = l->out->length - l->begin;
        strbuf_add(l->out, zeros, (ALIGNMENT - length % ALIGNMENT) % ALIGNMENT);
        l->places[i] = (int64_t)(l->out->length - l->begin);
        strbuf_add(l->out, l->object + section->sh_offset, section->sh_size);
    }
    return l->out->failed ? error_set(l->error, HEDDLE_OUT_OF_MEMORY, "no memory for an image")
                          : HEDDLE_OK;
}

// ---- references ---------------------------------------------------------------------------------

static enum heddle_status relocate(struct linking *l, const Elf64_Shdr *target, int64_t place,
                                   const Elf64_Rela *rela) {
    size_t number = ELF64_R_SYM(rela->r_info);
    uint32_t type = ELF64_R_TYPE(rela->r_info);
    if (number >= l->symbol_count)
        return wrong(l, "a reference is to no symbol");
    const Elf64_Sym *symbol = &l->symbols[number];
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= l->head->e_shnum ||
        l->places[symbol->st_shndx] < 0)
        return error_set(l->error, HEDDLE_INTERNAL,
                         "an object of compiled code cannot be linked: it imports '%s'",
                         name_of(l, symbol));
    if (type != R_X86_64_PC32 && type != R_X86_64_PLT32)
        return error_set(l->error, HEDDLE_INTERNAL,
                         "an object of compiled code cannot be linked: relocation of type %u",
                         (unsigned)type);
    if (rela->r_offset > target->sh_size || target->sh_size - rela->r_offset < 4)
        return wrong(l, "a reference lies outside of its section");
    int64_t at = place + (int64_t)rela->r_offset;
    int64_t distance =
        l->places[symbol->st_shndx] + (int64_t)symbol->st_value + rela->r_addend - at;
    int32_t stored = (int32_t)distance;
    if (stored != distance)
        return wrong(l, "a reference is too far");
    memcpy(l->out->text + l->begin + at, &stored, sizeof stored);
    return HEDDLE_OK;
}

static enum heddle_status relocate_all(struct linking *l) {
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < l->head->e_shnum && status == HEDDLE_OK; i++) {
        const Elf64_Shdr *section = &l->sections[i];
        bool of_kept = section->sh_type == SHT_RELA && section->sh_info < l->head->e_shnum &&
                       l->places[section->sh_info] >= 0;
        if (!of_kept)
            continue;
        if (section->sh_offset % 8)
            return wrong(l, "its references are out of place");
        const Elf64_Rela *all = (const void *)(l->object + section->sh_offset);
        size_t count = section->sh_size / sizeof *all;
        for (size_t r = 0; r < count && status == HEDDLE_OK; r++)
            status =
                relocate(l, &l->sections[section->sh_info], l->places[section->sh_info], &all[r]);
    }
    return status;
}

static enum heddle_status export_functions(struct linking *l, struct image_symbol *out,
                                           int *out_count) {
    *out_count = 0;
    for (size_t i = 0; i < l->symbol_count; i++) {
        const Elf64_Sym *symbol = &l->symbols[i];
        if (ELF64_ST_BIND(symbol->st_info) != STB_GLOBAL || symbol->st_shndx == SHN_UNDEF ||
            symbol->st_shndx >= l->head->e_shnum || l->places[symbol->st_shndx] < 0)
            continue;
        if (*out_count == IMAGE_MOST_SYMBOLS)
            return error_set(l->error, HEDDLE_LIMIT,
                             "a piece of a bundle's code holds at most %d functions: the pattern "
                             "has too many maps or stages for one",
                             IMAGE_MOST_SYMBOLS);
        out[(*out_count)++] = (struct image_symbol){
            name_of(l, symbol), l->places[symbol->st_shndx] + (int64_t)symbol->st_value};
    }
    return HEDDLE_OK;
}

enum heddle_status image_link(const char *object, size_t bytes, struct strbuf *out,
                              struct image_symbol *out_symbols, int *out_symbol_count,
                              struct error *error) {
    struct linking l = {.object = object, .bytes = bytes, .out = out, .error = error};
    l.begin = out->length;
    enum heddle_status status = open_object(&l);
    if (status != HEDDLE_OK)
        return status;
    l.places = calloc(l.head->e_shnum, sizeof *l.places);
    if (!l.places)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for an image");
    status = place_sections(&l);
    if (status == HEDDLE_OK)
        status = relocate_all(&l);
    if (status == HEDDLE_OK)
        status = export_functions(&l, out_symbols, out_symbol_count);
    free(l.places);
    return status;
}
