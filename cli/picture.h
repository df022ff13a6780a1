// A mask in colours, and the ways to write it.
#ifndef HEDDLE_CLI_PICTURE_H
#define HEDDLE_CLI_PICTURE_H

#include "cli/mask.h"

#include <stdint.h>
#include <stdio.h>

enum { PICTURE_SHADES = 32, PICTURE_COLOURS = 3 * PICTURE_SHADES };

struct rgb {
    uint8_t r, g, b;
};

// Cells hold palette numbers: PICTURE_SHADES steps from paper to one of three inks. 0 is paper.
struct picture {
    int width, height;
    uint8_t *cells;
    struct rgb palette[PICTURE_COLOURS];
    // Tile borders of exact masks, else NULL: bit 0 before the cell's left edge, bit 1 above it.
    uint8_t *borders;
    struct rgb border;
};

// With `tiles`: blue in full tiles, orange in partial ones, pale where a tile computes what the
// mask drops. Otherwise one ink. False when out of memory.
bool picture_make(struct picture *picture, const struct mask *mask, bool tiles);
void picture_finish(struct picture *picture);

// Each cell becomes zoom x zoom pixels. False when the file cannot be written.
bool picture_write_png(const struct picture *picture, int zoom, FILE *file);
bool picture_write_svg(const struct picture *picture, int zoom, FILE *file);
// Two cells a character, one above the other.
void picture_write_term(const struct picture *picture, FILE *file);

#endif
