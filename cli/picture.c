#include "cli/picture.h"

#include <math.h>
#include <stdlib.h>

enum ink { INK_KEPT, INK_PARTIAL, INK_WASTE };

static const struct rgb paper = {250, 248, 243};
static const struct rgb inks[] = {
    [INK_KEPT] = {36, 76, 128}, [INK_PARTIAL] = {222, 125, 44}, [INK_WASTE] = {246, 222, 186}};

static uint8_t blend(uint8_t from, uint8_t to, double share) {
    return (uint8_t)lround(from + (to - from) * share);
}

static void fill_palette(struct picture *picture) {
    for (int ink = 0; ink < 3; ink++)
        for (int shade = 0; shade < PICTURE_SHADES; shade++) {
            // A little of something is to be seen: the ramp rises fast and does not start at 0.
            double share = (double)shade / (PICTURE_SHADES - 1);
            double strength = shade == 0 ? 0 : 0.15 + 0.85 * pow(share, 0.7);
            picture->palette[ink * PICTURE_SHADES + shade] = (struct rgb){
                blend(paper.r, inks[ink].r, strength), blend(paper.g, inks[ink].g, strength),
                blend(paper.b, inks[ink].b, strength)};
        }
    picture->border = (struct rgb){132, 124, 108};
}

static uint8_t colour(enum ink ink, float share) {
    int shade = (int)lroundf(share * (PICTURE_SHADES - 1));
    if (share > 0 && shade < 1)
        shade = 1;
    shade = shade < PICTURE_SHADES ? shade : PICTURE_SHADES - 1;
    return shade == 0 ? 0 : (uint8_t)(ink * PICTURE_SHADES + shade);
}

static uint8_t cell_colour(const struct mask *mask, size_t cell, bool tiles) {
    float kept = mask->kept[cell];
    if (!tiles)
        return colour(INK_KEPT, kept);
    float computed = mask->full[cell] + mask->partial[cell];
    if (kept <= 0)
        return colour(INK_WASTE, computed);
    return colour(mask->full[cell] >= mask->partial[cell] ? INK_KEPT : INK_PARTIAL, kept);
}

static void mark_borders(struct picture *picture, const struct mask *mask) {
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++) {
            size_t cell = (size_t)y * (size_t)mask->width + (size_t)x;
            int32_t tile = mask->tile[cell];
            int32_t left = x > 0 ? mask->tile[cell - 1] : -1;
            int32_t above = y > 0 ? mask->tile[cell - (size_t)mask->width] : -1;
            picture->borders[cell] = (uint8_t)((tile != left) | (tile != above) << 1);
        }
}

bool picture_make(struct picture *picture, const struct mask *mask, bool tiles) {
    size_t cells = (size_t)mask->width * (size_t)mask->height;
    *picture = (struct picture){.width = mask->width, .height = mask->height};
    fill_palette(picture);
    picture->cells = malloc(cells);
    if (!picture->cells)
        return false;
    for (size_t cell = 0; cell < cells; cell++)
        picture->cells[cell] = cell_colour(mask, cell, tiles);
    if (!tiles || !mask->tile)
        return true;
    picture->borders = malloc(cells);
    if (picture->borders)
        mark_borders(picture, mask);
    return picture->borders;
}

void picture_finish(struct picture *picture) {
    free(picture->cells);
    free(picture->borders);
    *picture = (struct picture){0};
}

// ---- terminal ------------------------------------------------------------------------------

static struct rgb cell_rgb(const struct picture *picture, int x, int y) {
    if (y >= picture->height)
        return paper;
    return picture->palette[picture->cells[(size_t)y * (size_t)picture->width + (size_t)x]];
}

void picture_write_term(const struct picture *picture, FILE *file) {
    for (int y = 0; y < picture->height; y += 2) {
        int shown_top = -1, shown_bottom = -1;
        for (int x = 0; x < picture->width; x++) {
            struct rgb top = cell_rgb(picture, x, y), bottom = cell_rgb(picture, x, y + 1);
            int top_code = top.r << 16 | top.g << 8 | top.b;
            int bottom_code = bottom.r << 16 | bottom.g << 8 | bottom.b;
            if (top_code != shown_top)
                fprintf(file, "\033[38;2;%d;%d;%dm", top.r, top.g, top.b);
            if (bottom_code != shown_bottom)
                fprintf(file, "\033[48;2;%d;%d;%dm", bottom.r, bottom.g, bottom.b);
            shown_top = top_code;
            shown_bottom = bottom_code;
            fputs("\u2580", file); // upper half block
        }
        fputs("\033[0m\n", file);
    }
}
