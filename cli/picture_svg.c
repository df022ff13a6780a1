// Cells of one colour become one path of rectangles: runs along a row, joined with equal runs of
// the rows below.
#include "cli/picture.h"

#include <stdlib.h>

static uint8_t cell_at(const struct picture *picture, int x, int y) {
    return picture->cells[(size_t)y * (size_t)picture->width + (size_t)x];
}

static bool run_starts(const struct picture *picture, int x, int y) {
    return x == 0 || cell_at(picture, x - 1, y) != cell_at(picture, x, y);
}

static int run_end(const struct picture *picture, int x, int y) {
    uint8_t cell = cell_at(picture, x, y);
    while (x < picture->width && cell_at(picture, x, y) == cell)
        x++;
    return x;
}

// Is [begin, end) of row y a whole run of this colour?
static bool is_run(const struct picture *picture, uint8_t cell, int begin, int end, int y) {
    return y >= 0 && y < picture->height && cell_at(picture, begin, y) == cell &&
           run_starts(picture, begin, y) && run_end(picture, begin, y) == end;
}

static void write_colour(const struct picture *picture, uint8_t cell, FILE *file) {
    struct rgb rgb = picture->palette[cell];
    bool any = false;
    for (int y = 0; y < picture->height; y++)
        for (int x = 0, end; x < picture->width; x = end) {
            end = run_end(picture, x, y);
            if (cell_at(picture, x, y) != cell || is_run(picture, cell, x, end, y - 1))
                continue;
            int bottom = y + 1;
            while (is_run(picture, cell, x, end, bottom))
                bottom++;
            if (!any)
                fprintf(file, "<path fill=\"#%02x%02x%02x\" d=\"", rgb.r, rgb.g, rgb.b);
            any = true;
            fprintf(file, "M%d %dh%dv%dh%dz", x, y, end - x, bottom - y, x - end);
        }
    if (any)
        fputs("\"/>\n", file);
}

static bool has_border(const struct picture *picture, int x, int y, int bit) {
    return picture->borders[(size_t)y * (size_t)picture->width + (size_t)x] & bit;
}

static void write_borders(const struct picture *picture, int zoom, FILE *file) {
    fprintf(file, "<path fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-width=\"%g\" d=\"",
            picture->border.r, picture->border.g, picture->border.b, 1.0 / zoom);
    for (int y = 0; y < picture->height; y++)
        for (int x = 0, end; x < picture->width; x = end + 1) {
            for (end = x; end < picture->width && has_border(picture, end, y, 2);)
                end++;
            if (end > x)
                fprintf(file, "M%d %dh%d", x, y, end - x);
        }
    for (int x = 0; x < picture->width; x++)
        for (int y = 0, end; y < picture->height; y = end + 1) {
            for (end = y; end < picture->height && has_border(picture, x, end, 1);)
                end++;
            if (end > y)
                fprintf(file, "M%d %dv%d", x, y, end - y);
        }
    fputs("\"/>\n", file);
}

bool picture_write_svg(const struct picture *picture, int zoom, FILE *file) {
    struct rgb paper = picture->palette[0];
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\"/>\n",
            picture->width * zoom, picture->height * zoom, picture->width, picture->height,
            picture->width, picture->height, paper.r, paper.g, paper.b);
    bool used[PICTURE_COLOURS] = {false};
    for (size_t i = 0; i < (size_t)picture->width * (size_t)picture->height; i++)
        used[picture->cells[i]] = true;
    for (int cell = 1; cell < PICTURE_COLOURS; cell++)
        if (used[cell])
            write_colour(picture, (uint8_t)cell, file);
    if (picture->borders)
        write_borders(picture, zoom, file);
    fputs("</svg>\n", file);
    return !ferror(file);
}
