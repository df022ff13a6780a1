#include "cli/picture.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// One row of pixels. `line` counts pixel rows of the picture: cell row line / zoom.
static void fill_row(const struct picture *picture, int zoom, int line, png_byte *row) {
    size_t start = (size_t)(line / zoom) * (size_t)picture->width;
    for (int x = 0; x < picture->width; x++) {
        const uint8_t *borders = picture->borders ? &picture->borders[start + (size_t)x] : NULL;
        uint8_t border = PICTURE_COLOURS, cell = picture->cells[start + (size_t)x];
        png_byte *pixels = row + (size_t)x * (size_t)zoom;
        memset(pixels, cell, (size_t)zoom);
        if (borders && (*borders & 2) && line % zoom == 0)
            memset(pixels, border, (size_t)zoom);
        else if (borders && (*borders & 1))
            pixels[0] = border;
    }
}

static void write_image(png_structp png, png_infop info, const struct picture *picture, int zoom,
                        FILE *file, png_byte *row) {
    png_color palette[PICTURE_COLOURS + 1];
    for (int i = 0; i < PICTURE_COLOURS; i++)
        palette[i] =
            (png_color){picture->palette[i].r, picture->palette[i].g, picture->palette[i].b};
    palette[PICTURE_COLOURS] = (png_color){picture->border.r, picture->border.g, picture->border.b};
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)(picture->width * zoom),
                 (png_uint_32)(picture->height * zoom), 8, PNG_COLOR_TYPE_PALETTE,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_PLTE(png, info, palette, PICTURE_COLOURS + 1);
    png_write_info(png, info);
    for (int line = 0; line < picture->height * zoom; line++) {
        fill_row(picture, zoom, line, row);
        png_write_row(png, row);
    }
    png_write_end(png, info);
}

bool picture_write_png(const struct picture *picture, int zoom, FILE *file) {
    png_byte *row = malloc((size_t)picture->width * (size_t)zoom);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    volatile bool written = false; // libpng reports failures by longjmp
    if (row && info && setjmp(png_jmpbuf(png)) == 0) {
        write_image(png, info, picture, zoom, file, row);
        written = true;
    }
    png_destroy_write_struct(png ? &png : NULL, info ? &info : NULL);
    free(row);
    return written;
}
